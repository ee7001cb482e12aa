from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrsynth.io import Cohort, check_cohort, index_folder, read_cohort
from mrsynth.io import check as check_module
from nifti_factory import LPS, brats, ramp, save

NAMES = ["P1", "P2", "P3", "P4"]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return index_folder(brats(tmp_path, NAMES))


def summary(cohort: Cohort, needs: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    return [(p.case, p.severity, p.what.split(": ", 1)[-1]) for p in check_cohort(cohort, needs)]


def test_a_sound_cohort_has_no_problem(cohort: Cohort) -> None:
    seen: list[str] = []
    assert check_cohort(cohort, ["t1", "t2"], seen.append) == []
    assert seen == NAMES


def test_each_file_is_read_once(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path] = []
    read = check_module.read_image
    monkeypatch.setattr(check_module, "read_image", lambda path, name: (paths.append(path), read(path, name))[1])
    check_cohort(cohort)
    assert len(paths) == len(set(paths)) == 16


def test_every_problem_of_a_case_is_reported(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "P1" / "P1_t1.nii.gz").write_bytes(b"")
    (tmp_path / "P1" / "P1_t2.nii.gz").write_text("hello " * 100)
    (tmp_path / "P1" / "P1_flair.nii.gz").unlink()
    content = (tmp_path / "P2" / "P2_t1.nii.gz").read_bytes()
    (tmp_path / "P2" / "P2_t1.nii.gz").write_bytes(content[:-40])
    save(tmp_path / "P3" / "P3_t1.nii.gz", np.full((5, 6, 7), 2, np.int16), LPS)
    save(tmp_path / "P4" / "P4_t1.nii.gz", np.full((5, 6, 7), np.nan, np.float32), LPS)
    assert summary(cohort) == [
        ("P1", "error", "the file is empty."),
        ("P1", "error", "is not a NIfTI file."),
        ("P1", "error", "there is no such file."),
        ("P2", "error", "the compressed file is damaged or cut off."),
        ("P3", "error", "the image is constant."),
        ("P4", "error", "the image has voxels that are not numbers."),
    ]


def test_missing_contrast_counts_where_it_is_needed(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "P1" / "P1_t1.nii.gz").unlink()
    cohort = index_folder(tmp_path)
    assert summary(cohort, ("t2",)) == []
    assert summary(cohort, ("T1w", "t2")) == [("P1", "error", "no t1 image.")]


def test_the_odd_grid_is_named(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp(seed=77), LPS + 0.1)
    assert summary(cohort) == [("P1", "error", "t1 lies on another grid than t1ce.")]
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp(seed=77), LPS + 1e-8)
    assert summary(cohort) == []


def test_voxels_that_are_odd(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp() - 20, LPS)
    save(tmp_path / "P1" / "P1_brain.nii.gz", np.zeros((5, 6, 7), np.uint8), LPS)
    save(tmp_path / "P2" / "P2_ct.nii.gz", ramp() - 200, LPS)
    assert summary(index_folder(tmp_path)) == [
        ("P1", "warning", "the image has negative voxels."),
        ("P1", "error", "the brain mask is empty."),
    ]


def test_one_image_under_two_names(cohort: Cohort, tmp_path: Path) -> None:
    splits = dict(zip(NAMES, ("train", "train", "val", "test"), strict=True))
    cohort = replace(cohort, rows=tuple(replace(row, split=splits[row.case]) for row in cohort.rows))
    shutil.copy(tmp_path / "P1" / "P1_t1.nii.gz", tmp_path / "P4" / "P4_t1.nii.gz")
    save(tmp_path / "P2" / "P2_t2.nii.gz", ramp(seed=100), LPS)  # the voxels of P2's t1, compressed anew
    assert summary(cohort) == [
        ("P2", "error", "t2 has the same voxels as t1 of P2."),
        ("P4", "error", "t1 has the same voxels as t1 of P1, train and test."),
    ]


def test_the_table_as_a_whole(tmp_path: Path) -> None:
    brats(tmp_path, ["P1", "P2"], ("t1",))
    lines = ["p,a,train,P1/P1_t1.nii.gz", "p,b,val,P2/P2_t1.nii.gz", "p,b,val,P2/P2_t1.nii.gz"]
    (tmp_path / "c.csv").write_text("patient,case,split,t1\n" + "\n".join(lines))
    problems = check_cohort(read_cohort(tmp_path / "c.csv", allow_unsound=True))
    assert [p.what for p in problems] == [
        "b: the case stands in more than one row.",
        "Patient p stands in more than one split.",
        "The split test is empty.",
    ]
    assert str(problems[0]).startswith("error: b: the case")
    assert "do:" in str(problems[0])
