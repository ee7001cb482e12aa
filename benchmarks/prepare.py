"""Preparation as a user runs it: a study of four unregistered contrasts at 1 mm, and a cohort of 200 tiny cases."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.machine import alone, environment, peak_mib, row, run_as_told, sized
from mrsynth.core.jobs import Workers
from mrsynth.io import read_cohort, write_image
from mrsynth.phantom import simulate_subject
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import prepare

BEHIND = sized("brain_mask, n4, zscore", "n4: {mask: otsu, iterations: [1]}")
STUDY = f"register: {{to: t1}}, resample: {{to: t1}}, {BEHIND}"
TINY = "register: {to: t1}, resample: {to: t1}, brain_mask: {source: given}, zscore"
CASES, SUBJECTS, SPACINGS_MM = sized((200, 4, (1.0, 4.0)), (2, 1, (4.0, 4.0)))


def write_scans(folder: Path, spacing_mm: float, subjects: int, rows: int) -> Path:
    """Write phantoms that moved between their scans and a table whose rows take turns among them; returns the table."""
    names = ("t1", "t1ce", "t2", "flair") if rows == 1 else ("t1", "t2")
    lines = [",".join(["patient,case,split", *names, "brain"])]
    for seed in range(subjects):
        settings = SubjectSettings(stripped=False, registered=False, spacing_mm=spacing_mm)
        case = simulate_subject(seed, settings)
        for name in names:
            write_image(case.images[name], folder / f"{seed}_{name}.nii.gz")
        write_image(case.masks["brain"], folder / f"{seed}_brain.nii.gz")
    for number in range(rows):
        seed = number % subjects
        files = [f"{seed}_{name}.nii.gz" for name in names] + ([f"{seed}_brain.nii.gz"] if rows > 1 else [""])
        lines.append(",".join([f"p{number:03d}", f"case-{number:03d}", "train", *files]))
    table = folder / "cohort.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


class Watch(threading.Thread):
    """The resident memory of this process and all its workers, every quarter of a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.gib: list[float] = []
        self.going = True

    def run(self) -> None:
        """Look until told to stop."""
        me = psutil.Process()
        while self.going:
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.gib.append(total / 2**30)
            time.sleep(0.25)


def measure(table: str, steps: str, out: str, workers: str) -> dict[str, float]:
    """Prepare a cohort; seconds and memory."""
    cohort = read_cohort(Path(table))
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    done = prepare(cohort, Plan.of_steps(steps, cohort), Path(out), workers=Workers(int(workers)))
    seconds = time.perf_counter() - start
    watch.going = False
    assert not done.failed, done.failed
    quarter = max(1, len(watch.gib) // 4)
    second = watch.gib[quarter : 2 * quarter] or watch.gib
    growth = statistics.mean(watch.gib[-quarter:]) / statistics.mean(second)
    return {"seconds": seconds, "peak_gib": peak_mib() / 1024, "growth": growth}


def main() -> None:
    place = environment("torch", "SimpleITK", "distributed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "study").mkdir()
        (folder / "tiny").mkdir()
        study = alone("prepare", write_scans(folder / "study", SPACINGS_MM[0], 1, 1), STUDY, folder / "study-out", 1)
        row("prepare", "study of 4 unregistered contrasts, 1 mm", study["seconds"], "s", "≤ 90 s", **place)
        row("prepare", "  peak memory", study["peak_gib"], "GiB", "≤ 3 GiB", **place)
        table = write_scans(folder / "tiny", SPACINGS_MM[1], SUBJECTS, CASES)
        one, two = (
            alone("prepare", table, TINY, folder / f"tiny-{turn}", n) for turn, n in enumerate(sized((1, 2), (1, 1)))
        )
        row("prepare", f"{CASES} tiny cases, 1 worker", one["seconds"], "s", **place)
        row("prepare", f"{CASES} tiny cases, 2 workers", two["seconds"], "s", **place)
        row("prepare", "  2 workers against 1", one["seconds"] / two["seconds"], "×", "≥ 1.7", **place)
        row("prepare", "  memory, last quarter against second", two["growth"], "×", "flat", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
