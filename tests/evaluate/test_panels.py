"""The slice of a case that the report shows: whatever the case, it can be drawn, and says the range of its values."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mrsynth.core.image import Image
from mrsynth.evaluate.panels import write_panel
from mrsynth.evaluate.truth import Truth
from mrsynth.io import CaseRow
from mrsynth.report.panels import read_panel

SHAPE = (20, 20, 6)
MADE = np.random.default_rng(1).random(SHAPE).astype(np.float32)


def panel(
    folder: Path, target: np.ndarray, lesion: np.ndarray | None = None, data_range: float = 1.0
) -> dict[str, Any]:
    """Write the panel of a case whose brain lies in slices 1 to 3, and return its entry; what it wrote can be read."""
    brain = np.zeros(SHAPE, bool)
    brain[5:15, 5:15, 1:4] = True
    images = {name: Image(data, np.diag([2.0, 1, 1, 1]), name) for name, data in (("t1", MADE), ("t2", target))}
    truth = Truth(CaseRow("p", "c", "test", {}), {"t1": images["t1"]}, images["t2"], brain, lesion)
    contract: Any = SimpleNamespace(range=(0.0, 3.0), target="t2")
    entry = write_panel(truth, {"model": MADE}, folder, contract, data_range)
    read_panel(folder / entry.file, entry.model_dump())
    return entry.model_dump()


def test_a_scan_that_does_not_reach_the_slice_leaves_a_usable_window(tmp_path: Path):
    assert panel(tmp_path, np.zeros(SHAPE, np.float32))["window"] == (0.0, 3.0)
    entry = panel(tmp_path, MADE)
    assert 0.9 < entry["window"][1] <= 1.0
    assert entry["pixel_mm"] == (2.0, 1.0)


def test_a_lesion_outside_of_the_brain_chooses_no_slice_without_brain(tmp_path: Path):
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[5:9, 5:9, 5] = 1
    assert panel(tmp_path, MADE, lesion)["slice_index"] in (1, 2, 3)
    lesion[5:7, 5:7, 3] = 1
    assert panel(tmp_path, MADE, lesion)["slice_index"] == 3


def test_values_of_the_slice_have_the_data_range_of_the_metrics(tmp_path: Path):
    target = np.clip(MADE + 0.1, 0, None)
    one, three = (panel(tmp_path, target, data_range=width) for width in (1.0, 3.0))
    assert one["psnr"] == pytest.approx(20, abs=1e-3)
    assert three["psnr"] - one["psnr"] == pytest.approx(20 * math.log10(3))
    assert one["ssim"] < three["ssim"]
