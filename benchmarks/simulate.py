"""Time and memory of the phantom: one full subject at 1 mm (all contrasts), a BraTS-like one, and one at 2 mm.

Usage: python benchmarks/simulate.py. Each row is measured in a fresh process, three times; the median counts. "first"
includes building the template's anatomy, "next" is another subject of the same process; neither counts imports.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

ROWS = (("full", 1.0), ("brats", 1.0), ("full", 2.0), ("brats", 2.0))


def measure(profile: str, spacing_mm: float) -> None:
    from mrsynth.simulate import SubjectSettings, simulate_subject

    settings = SubjectSettings.model_validate({"profile": profile, "spacing_mm": spacing_mm, "lesion": "glioma_high"})
    seconds, processor = [], []
    for seed in (0, 1):
        wall, cpu = time.perf_counter(), time.process_time()
        simulate_subject(seed, settings)
        seconds.append(time.perf_counter() - wall)
        processor.append(time.process_time() - cpu)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first_s": seconds[0], "next_s": seconds[1], "first_cpu_s": processor[0], "peak_mib": peak_mib}))


def main() -> None:
    import numpy
    import torch

    import mrsynth

    print(
        f"mrsynth {getattr(mrsynth, '__version__', '?')}, torch {torch.__version__}, numpy {numpy.__version__}, ",
        end="",
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'profile':8} {'mm':>4} {'first s':>8} {'next s':>8} {'first cpu s':>12} {'peak MiB':>9}")
    for profile, spacing_mm in ROWS:
        command = [sys.executable, __file__, profile, str(spacing_mm)]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{profile:8} {spacing_mm:4.1f} {median['first_s']:8.1f} {median['next_s']:8.1f} "
            f"{median['first_cpu_s']:12.1f} {median['peak_mib']:9.0f}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], float(sys.argv[2]))
    else:
        main()
