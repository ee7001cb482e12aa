"""The viewer in a browser without a window: seconds from the address to linked volumes of a head at 1 mm."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import environment, row, sized
from mrsynth.drawing.viewer import Shown, write_case, write_viewer

SHAPE = sized((181, 217, 181), (12, 12, 12))
REPEATS = sized(3, 1)


def write_page(folder: Path) -> Path:
    """Write a case of four noisy volumes, input, synthetic, truth and error, and return its page.

    Args:
        folder: where.
    """
    draw = np.random.default_rng(0)
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in axes) < 0.8
    kinds = (("input", "T1"), ("synthetic", "T2"), ("truth", "T2"), ("error", "error"))
    volumes = [
        Shown(
            kind,  # type: ignore[arg-type]
            label,
            np.where(inside, draw.normal(0.5, 0.05, SHAPE), 0).astype(np.float32),
            np.diag([1.0, 1.0, 1.0, 1.0]),
            (0.0, 1.0),
            (0.0, 1.0),
        )
        for kind, label in kinds
    ]
    write_case(folder, "head", volumes)
    return folder / write_viewer(folder, "benchmark", ["head"])["head"].partition("?")[0]


def ready_s(page: Path, profile: Path) -> float:
    """Return the seconds until a fresh browser shows the page's volumes; its own start does not count.

    Args:
        page: the file.
        profile: an empty folder for the browser.
    """
    from tests.browser import browsing  # brings pytest

    with browsing(profile) as browser:
        began = time.perf_counter()
        browser.open(page)
        browser.wait("document.body.dataset.ready", 300)
        return time.perf_counter() - began


def main() -> None:
    place = environment()
    seconds = None
    if any(map(shutil.which, ("chromium", "google-chrome"))):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            page = write_page(Path(temporary))
            seconds = min(ready_s(page, Path(temporary) / f"profile{turn}") for turn in range(REPEATS))
    row("viewer", f"four volumes of {'×'.join(map(str, SHAPE))} ready", seconds, "s", "≤ 5 s", **place)


if __name__ == "__main__":
    main()
