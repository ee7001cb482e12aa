from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.io import check_cohort, index_folder, read_image, read_mask, write_image
from mrsynth.io.layouts import find_cases
from mrsynth.types import CONTRASTS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real patients of ../shared/data are not here"),
]


def test_every_case_is_found() -> None:
    cases, ignored = find_cases(DATA)
    names = {case.case: case for case in cases}
    assert names["BraTS-GLI-00000-000"].patient == "BraTS-GLI-00000"
    assert list(names["BraTS-GLI-00000-000"].files) == ["t1", "t1ce", "t2", "flair", "lesion"]
    assert list(names["113-02"].files) == ["t1", "t2", "flair"]
    assert list(names["patient07"].files) == ["t1", "t1ce", "t2", "flair", "lesion"]
    assert names["TCGA-FG-6692-raw"].patient == names["TCGA-FG-6692-atlas_bet"].patient == "TCGA-FG-6692"
    assert list(names["sub-strokecase0009_ses-0001"].files) == ["flair", "adc", "dwi", "lesion"]
    used = {path for case in cases for path in case.files.values()}
    assert used == set(DATA.rglob("*.nii.gz"))
    assert sum("dcm" in i.reason for i in ignored) == 3


def test_images_return_to_the_bit(tmp_path: Path) -> None:
    # One file of each source: LPS, LAS, RPS, RAS; qform only; int16, uint8, float32, float64.
    cases = {case.case: case for case in find_cases(DATA)[0]}
    for case, name in (
        ("BraTS-GLI-00000-000", "lesion"),
        ("BraTS2021_01477", "t2"),
        ("113-02", "flair"),
        ("patient07", "t1ce"),
        ("TCGA-FG-6692-raw", "flair"),
        ("sub-strokecase0009_ses-0001", "adc"),
        ("ct", "ct"),
    ):
        path = cases[case].files[name]
        image = read_image(path, name) if name in CONTRASTS else read_mask(path, name)
        write_image(image, tmp_path / "out.nii.gz", dtype=np.float64)
        before, after = nib.load(path), nib.load(tmp_path / "out.nii.gz")
        assert after.affine.tobytes() == before.affine.tobytes()
        for field in ("qform_code", "sform_code", "pixdim", "srow_x", "quatern_c", "xyzt_units"):
            np.testing.assert_array_equal(after.header[field], before.header[field])
        np.testing.assert_array_equal(after.get_fdata(), before.get_fdata(dtype=np.float32))


def test_problems_of_a_real_cohort() -> None:
    cohort = index_folder(DATA / "tcga")
    errors = [problem.what for problem in check_cohort(cohort, ["t1", "t2"]) if problem.severity == "error"]
    assert errors == ["TCGA-FG-6692-raw: t2 lies on another grid than t1."]
