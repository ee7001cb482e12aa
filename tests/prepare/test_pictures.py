"""The small pictures and facts that the page of a prepared cohort shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mrsynth.prepare.pictures import Snapshots, pictures_of
from mrsynth.steps import run_steps
from small_cases import brain_case


@pytest.fixture
def seen(tmp_path: Path):
    """Return a function: axis codes → the pictures of a case whose axes were turned to them, and its flags."""

    def look(axes: str) -> tuple[dict[str, np.ndarray], list[str]]:
        case = brain_case(seed=1, spacing_mm=(6.0, 6.0, 6.0))
        taken = Snapshots(case)
        steps = [{"brain_mask": {}}, {"reorient": {"axes": axes}}, {"pad_or_crop": {"margin_mm": 0}}]
        prepared, records = run_steps(case, steps, watch=taken.after)
        taken.write(tmp_path / axes, prepared, records)
        facts = json.loads((pictures_of(tmp_path / axes, case.name) / "facts.json").read_text(encoding="utf-8"))
        return taken.pictures, facts["flags"]

    return look


@pytest.mark.parametrize("axes", ["LPS", "PIR"])
def test_pictures_and_flags_are_the_same_however_the_axes_were_turned(seen, axes: str):
    (straight, told), (turned, said) = seen("RAS"), seen(axes)
    assert said == told
    assert any("cut off" in flag for flag in said)
    assert set(turned) == set(straight)
    for name, picture in straight.items():
        assert turned[name].shape == picture.shape, name
        assert np.abs(turned[name].astype(float) - picture).max() <= 1, name
