"""A cohort of 200 small cases predicted by one and by two workers: wall time and the peak of memory here."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import environment, peak_mib, row, sized
from benchmarks.synthesize import untrained_run
from mrsynth.core.jobs import Workers
from mrsynth.io import CaseRow, Cohort, read_cohort
from mrsynth.simulate import simulate
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort

CASES, DRAWN, TWO = sized((200, 10, 2), (1, 1, 1))
"""DRAWN phantoms of 4 mm stand in CASES rows, so that most of the time is not the phantoms'."""


def main() -> None:
    place = environment("torch", "distributed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = untrained_run(folder / "run")
        drawn = read_cohort(simulate(folder / "phantoms", DRAWN, 0, spacing_mm=4.0)).rows
        rows = [_renamed(drawn[number % DRAWN], number) for number in range(CASES)]
        seconds, peaks = [], []
        for workers in (1, TWO):
            for part in (rows[: -(-CASES // 2)], rows):  # memory after half of the cases, and after all
                start = time.perf_counter()
                out = folder / f"out-{workers}-{len(part)}"
                _, failed = synthesize_cohort(run, Cohort(tuple(part)), out, place=Place(workers=Workers(workers)))
                assert not failed, failed[0]
                taken = time.perf_counter() - start
                peaks.append(peak_mib())
            seconds.append(taken)
    row("many_cases", f"{CASES} cases predicted by one worker", seconds[0], "s", **place)
    row("many_cases", f"{CASES} cases: {TWO} workers faster by", seconds[0] / seconds[1], "×", "≥ 1.8", **place)
    row("many_cases", f"memory grown from {CASES // 2} to {CASES} cases", peaks[1] - peaks[0], "MiB", "≤ 50", **place)


def _renamed(row: CaseRow, number: int) -> CaseRow:
    return replace(row, case=f"case-{number:04d}", patient=f"p{number:04d}")


if __name__ == "__main__":
    main()
