"""The second scan of a phantom as a predictor: nearly the truth, and none of a real patient."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from mrsynth.evaluate.second_scan import second_scan
from mrsynth.evaluate.truth import read_truth
from mrsynth.phantom import SubjectSettings, simulate_subject
from mrsynth.simulate import read_case_folder, write_case_folder
from mrsynth.steps import complete_steps

STEPS = complete_steps([{"brain_mask": {"source": "auto"}}, {"zscore": {}}, {"unit": {"upper_percentile": 100}}])


def contract(target: str) -> Any:
    return cast(Any, SimpleNamespace(inputs=["t1"], target=target, steps=STEPS))


def test_a_second_scan_lies_on_the_truths_scale_and_differs_by_noise(tmp_path: Path) -> None:
    settings = SubjectSettings(profile="brats", lesion="none", site="site-A", spacing_mm=4.0)
    write_case_folder(simulate_subject(3, settings), tmp_path / "p")
    row = read_case_folder(tmp_path / "p")
    truth = read_truth(row, contract("t2"), "t1")
    again = second_scan(truth, contract("t2"), "t1")
    assert again is not None
    inside = truth.brain
    error = (again - truth.target.data)[inside]
    assert 0 < np.std(error) < 0.2 * np.std(truth.target.data[inside])
    assert not again[~inside].any()
    # Without the draws beside the scan, or of what is computed from other images, there is none.
    assert second_scan(truth, contract("adc"), "t1") is None
    (tmp_path / "p" / "case.json").unlink()
    assert second_scan(truth, contract("t2"), "t1") is None
