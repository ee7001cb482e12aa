from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.index.find import find_case
from mrsynth.io import CaseRow, read_case
from mrsynth.io.case import read_case_file, write_case_file
from mrsynth.steps import run_steps
from nifti_factory import LPS, RAS, ramp, save


def folder(root: Path) -> Path:
    for i, name in enumerate(("t1", "t2", "flair")):
        save(root / f"{name}.nii.gz", ramp(seed=i), LPS)
    save(root / "brain_mask.nii.gz", (ramp() > 100).astype(np.uint8), LPS)
    (root / "case.json").write_text(json.dumps({"patient": "p", "case": "c", "b0_tesla": 3, "draws": {"seed": 1}}))
    return root


def test_folder(tmp_path: Path) -> None:
    case = read_case(find_case(folder(tmp_path)))
    assert list(case.images) == ["t1", "t2", "flair"]
    assert list(case.masks) == ["brain"]
    assert case.metadata == {"patient": "p", "case": "c", "b0_tesla": 3, "draws": {"seed": 1}}
    np.testing.assert_array_equal(case.images["t2"].data[::-1, ::-1], ramp(seed=1))


def test_row(tmp_path: Path) -> None:
    files = {name: folder(tmp_path) / f"{name}.nii.gz" for name in ("t1", "t2")}
    row = CaseRow("p", "c", "val", files, b0_tesla=1.5, metadata={"site": "07", "empty": ""})
    case = read_case(row, ["T2w"], masks=())
    assert list(case.images) == ["t2"]
    assert case.masks == {}
    # The table's word counts more than that of case.json.
    assert case.metadata == {
        "patient": "p",
        "case": "c",
        "split": "val",
        "b0_tesla": 1.5,
        "site": "07",
        "draws": {"seed": 1},
    }


def test_missing_contrast_and_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no t1ce image") as caught:
        read_case(find_case(folder(tmp_path)), ["t1", "t1ce"])
    assert "t1, t2, flair" in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_case(CaseRow("p", "c", "val", {"t1": tmp_path / "no.nii"}))


def test_grids_may_differ_until_a_step_needs_one(tmp_path: Path) -> None:
    folder(tmp_path)
    shifted = LPS.copy()
    shifted[2, 3] = 0.5
    save(tmp_path / "t2.nii.gz", affine=shifted)
    save(tmp_path / "brain_mask.nii.gz", np.ones((5, 6, 8), np.uint8), LPS)
    case = read_case(find_case(tmp_path))
    assert case.images["t2"].affine[2, 3] == 0.5
    assert case.masks["brain"].data.shape == (5, 6, 8)
    # The step that needs one grid says so.
    with pytest.raises(InputError, match="t2 lies on another grid than t1"):
        run_steps(case, [{"zscore": {}}])


def test_same_grid_in_another_orientation_or_with_noise_in_the_cosines(tmp_path: Path) -> None:
    save(tmp_path / "t1.nii", affine=RAS)
    flipped = RAS.copy()
    flipped[0, 0], flipped[0, 3] = -1, 4
    save(tmp_path / "t2.nii", affine=flipped)
    save(tmp_path / "flair.nii", affine=RAS + 1e-8)
    case = read_case(find_case(tmp_path))
    np.testing.assert_array_equal(case.images["t2"].data, case.images["t1"].data[::-1])


def test_several_cases_in_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "a" / "t1.nii")
    save(tmp_path / "b" / "t1.nii")
    with pytest.raises(InputError, match="more than one case"):
        read_case(find_case(tmp_path))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"dose": 5}, "dose: "),
        ({"b0_tesla": "three"}, "b0_tesla: "),
        ({"patient": ["p"]}, "patient: "),
        ({"draws": 3}, "draws: "),
        ({str(number): 1 for number in range(2000)}, "more than 1000 keys"),
        ({"mrsynth": {"record": "run", "version": 1}}, "a record of another kind"),
        ({"mrsynth": {"record": "case", "version": 99}}, "version 99"),
    ],
)
def test_a_case_file_that_cannot_be_used_is_told_with_what_to_do(tmp_path: Path, content: dict, told: str) -> None:
    (tmp_path / "case.json").write_text(json.dumps(content))
    known, problem = read_case_file(tmp_path)
    assert known == {}
    assert problem is not None
    assert told in problem.reason
    assert "correct" in problem.reason or "update" in problem.reason


def test_a_case_file_without_a_header_says_the_same_as_one_with_it(tmp_path: Path) -> None:
    said = {"patient": 7, "case": "c", "dose": "0.1", "site": "07", "draws": {"seed": 1}}
    (tmp_path / "case.json").write_text(json.dumps(said))
    by_hand = read_case_file(tmp_path)
    write_case_file(tmp_path, {**said, "patient": "7", "dose": 0.1})
    assert json.loads((tmp_path / "case.json").read_text())["mrsynth"] == {"record": "case", "version": 1}
    assert read_case_file(tmp_path) == by_hand == ({**said, "patient": "7", "dose": 0.1}, None)
