"""Time and memory of the phantom: one full subject at 1 mm (all contrasts), and a BraTS-like one at 2 mm.

Each is measured in a fresh process, three times; the median counts. "first" includes building the template's anatomy,
"next" is another subject of the same process. Both exclude importing the package.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from benchmarks.machine import environment, peak_mib, row

ROWS = (("full", 1.0), ("brats", 2.0))


def measure(profile: str, spacing_mm: float) -> None:
    from mrsynth.phantom import SubjectSettings, simulate_subject

    settings = SubjectSettings.model_validate({"profile": profile, "spacing_mm": spacing_mm, "lesion": "glioma_high"})
    seconds = []
    for seed in (0, 1):
        start = time.perf_counter()
        simulate_subject(seed, settings)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"first_s": seconds[0], "next_s": seconds[1], "peak_mib": peak_mib()}))


def main() -> None:
    place = environment("torch", "numpy")
    for profile, spacing_mm in ROWS:
        command = [sys.executable, "-m", "benchmarks.simulate", profile, str(spacing_mm)]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        wanted = "≤ 15 s" if (profile, spacing_mm) == ("full", 1.0) else ""
        what = f"a subject, profile {profile}, {spacing_mm:g} mm"
        row("simulate", f"{what}, the first of a process", median["first_s"], "s", wanted, **place)
        row("simulate", f"{what}, each further one", median["next_s"], "s", **place)
        row("simulate", f"{what}, peak memory", median["peak_mib"], "MiB", **place)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], float(sys.argv[2]))
    else:
        main()
