"""How often the truth lies inside the interval that an error map draws."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.image import Image
from mrsynth.evaluate.coverage import coverage
from mrsynth.evaluate.files import evaluate_files
from mrsynth.evaluate.run import evaluate_predictions, left_out
from mrsynth.evaluate.truth import Truth
from mrsynth.io import CaseRow, Cohort
from mrsynth.metrics import read_records
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort
from small_cases import ball
from tiny_contrasts import CONTRASTS, save_any_run, scans_of

SHAPE = (20, 20, 20)


def truth_of(data: np.ndarray, lesion: np.ndarray | None = None) -> Truth:
    row = CaseRow("p", "case", "test", {})
    return Truth(row, {}, Image(data.astype(np.float32), np.eye(4), "t2"), ball(SHAPE, 8), lesion)


def found(truth: Truth, prediction: np.ndarray, half: np.ndarray) -> dict[tuple[str, str], float | None]:
    return {(r.metric, r.region): r.value for r in coverage(truth, prediction, half, "default", 1.0)}


@given(scale=st.floats(0.01, 0.5), share=st.floats(0.5, 0.95), seed=st.integers(0, 99))
def test_of_errors_of_a_known_distribution_the_share_lies_inside_that_was_asked_for(
    scale: float, share: float, seed: int
) -> None:
    truth = np.random.default_rng(seed).laplace(0, scale, SHAPE)
    half = np.full(SHAPE, -scale * np.log(1 - share))
    values = found(truth_of(truth), np.zeros(SHAPE), half)
    assert values["coverage", "brain"] == pytest.approx(share, abs=0.06)
    assert values["half_width", "brain"] == pytest.approx(half.mean(), rel=1e-5)


def test_lesions_are_counted_by_themselves_and_what_lies_outside_the_brain_not_at_all() -> None:
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[8:12, 8:12, 8:12] = 1
    data = np.where(lesion > 0, 1.0, 0.0)
    data[~ball(SHAPE, 8)] = 9
    values = found(truth_of(data, lesion), np.zeros(SHAPE), np.full(SHAPE, 0.5))
    assert values["coverage", "lesion"] == 0
    assert values["coverage", "brain"] == pytest.approx(1 - 64 / ball(SHAPE, 8).sum())
    nothing = found(truth_of(data, np.zeros(SHAPE, np.uint8)), np.zeros(SHAPE), np.full(SHAPE, 0.5))
    assert nothing["coverage", "lesion"] is None


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Cohort]:
    """Predictions with error maps of two cases."""
    factor = {name: [3.0, 2.0] for name in CONTRASTS}
    calibration = {"coverage": 0.9, "patients": 9, "factor": factor}
    run = save_any_run(tmp_path / "run", calibration=calibration)
    rows = [CaseRow(f"p{n}", f"case-{n}", "test", scans_of(tmp_path / f"{n}", *CONTRASTS)) for n in (0, 1)]
    table = Cohort(tuple(rows))
    assert synthesize_cohort(run, table, tmp_path / "out", place=Place(error_map=True))[1] == []
    return tmp_path / "out", table


def test_an_evaluation_says_how_often_and_shows_the_map(made: tuple[Path, Cohort]) -> None:
    out, table = made
    path = evaluate_predictions(out, table, ["default"], None)
    values = {(r.case, r.metric): r for r in read_records(out / "metrics.csv") if r.region == "brain"}
    half = nib.load(out / "case-0_error.nii.gz").get_fdata()
    record = values["case-0", "half_width"]
    assert record.value == pytest.approx(half[half > 0].mean(), rel=1e-4)
    share = values["case-0", "coverage"].value
    assert share is not None
    assert 0 <= share <= 1
    assert {row["metric"] for row in json.loads(path.read_text())["summary"]} >= {"coverage", "half_width"}
    with np.load(out / "panels" / "case-0.npz") as panel:
        assert panel["error"].max() > 0
    assert '"kind": "error"' in (out / "viewer" / "case-0.js").read_text().replace('"kind":"', '"kind": "')


def test_a_map_that_is_not_the_models_is_not_judged(made: tuple[Path, Cohort]) -> None:
    out, table = made
    (out / "case-0_error.nii.gz").write_bytes((out / "case-0.nii.gz").read_bytes())
    found = left_out(evaluate_predictions(out, table, ["default"], None))
    assert [case for case, _ in found] == ["case-0"]
    assert "not the image that the model made" in found[0][1]


def test_of_a_folder_of_files_maps_are_no_predictions(made: tuple[Path, Cohort], tmp_path: Path) -> None:
    out, table = made
    truth = tmp_path / "truth"
    truth.mkdir()
    for row in table.rows:
        image = nib.load(out / f"{row.case}.nii.gz")
        scan = nib.Nifti1Image(image.get_fdata().astype(np.float32) * 0.9, image.affine)
        nib.save(scan, truth / f"{row.case}.nii.gz")
    record = json.loads(evaluate_files(out, truth, None, 1.0, ["default"], tmp_path / "m.json").read_text())
    assert record["n_cases"] == 2
