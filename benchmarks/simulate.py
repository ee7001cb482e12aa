"""Time and memory of the phantom: one full subject at 1 mm (all contrasts), and a BraTS-like one at 2 mm.

Each is measured in a fresh process, three times; the median counts. "first" includes building the template's anatomy,
"next" is another subject of the same process. Both exclude importing the package.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.machine import alone, environment, peak_mib, row, run_as_told, sized

ROWS = sized((("full", 1.0), ("brats", 2.0)), (("full", 4.0),))


def measure(profile: str, spacing_mm: str) -> dict[str, float]:
    """Simulate two subjects."""
    from mrsynth.phantom import SubjectSettings, simulate_subject

    settings = SubjectSettings.model_validate({"profile": profile, "spacing_mm": spacing_mm, "lesion": "glioma_high"})
    seconds = []
    for seed in (0, 1):
        start = time.perf_counter()
        simulate_subject(seed, settings)
        seconds.append(time.perf_counter() - start)
    return {"first_s": seconds[0], "next_s": seconds[1], "peak_mib": peak_mib()}


def main() -> None:
    place = environment("torch", "numpy")
    for profile, spacing_mm in ROWS:
        runs = [alone("simulate", profile, spacing_mm) for _ in range(sized(3, 1))]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        wanted = "≤ 15 s" if (profile, spacing_mm) == ("full", 1.0) else ""
        what = f"a subject, profile {profile}, {spacing_mm:g} mm"
        row("simulate", f"{what}, the first of a process", median["first_s"], "s", wanted, **place)
        row("simulate", f"{what}, each further one", median["next_s"], "s", **place)
        row("simulate", f"{what}, peak memory", median["peak_mib"], "MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
