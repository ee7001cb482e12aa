from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.check.cohort import check_cohort
from mrsynth.core.types import CONTRASTS
from mrsynth.index.find import index_folder
from mrsynth.index.layouts import find_cases
from mrsynth.io import read_case, read_cohort, read_image, read_mask, write_cohort, write_image
from mrsynth.io.locator import split_locator
from mrsynth.io.read import file_digest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real patients of ../shared/data are not here"),
]


FOUND = {
    # folder indexed: case → (patient, contrasts and masks)
    "brats": {
        **{f"BraTS2021_0{n}": (f"BraTS2021_0{n}", "t1 t1ce t2 flair lesion") for n in range(1476, 1483)},
        "BraTS-GLI-00000-000": ("BraTS-GLI-00000", "t1 t1ce t2 flair lesion"),
        "BraTS-GLI-00001-000": ("BraTS-GLI-00001", "t1 t1ce t2 flair"),
    },
    "tcga": {
        "TCGA-FG-6692-raw": ("TCGA-FG-6692", "t1 t1ce t2 flair"),
        "TCGA-FG-6692-atlas_bet": ("TCGA-FG-6692", "t1 t1ce t2 flair"),
    },
    "openms": {f"patient{n}": (f"patient{n}", "t1 t1ce t2 flair lesion") for n in ("07", "26")},
    "openms_raw": {f"patient{n}": (f"patient{n}", "t1 t2 flair") for n in ("01", "03", "04")},
    "isles22": {"sub-strokecase0009_ses-0001": ("sub-strokecase0009", "flair adc dwi lesion")},
    "kirby21": {"113-02": ("113", "t1 t2 flair")},
    "dicom_brainix": {"5Yp0E": ("5Yp0E", "t1 t2 flair")},
    "ct": {"ct": ("ct", "ct")},
}


@pytest.mark.parametrize("folder", [".", *FOUND, "tcga/TCGA-FG-6692", "openms/patient07", "dicom_brainix/T1"])
def test_every_case_is_found(folder: str) -> None:
    """Indexed all at once, a source alone, or the folder of a single patient: the same cases of the same patients."""
    cases, ignored = find_cases(DATA / folder)
    found = {case.case: (case.patient, " ".join(case.files)) for case in cases}
    expected = {
        name: known for source, named in FOUND.items() if folder in (".", source) for name, known in named.items()
    }
    expected |= FOUND["tcga"] if folder.startswith("tcga/") else {}
    expected |= {"patient07": FOUND["openms"]["patient07"]} if folder.startswith("openms/") else {}
    expected |= {"5Yp0E": ("5Yp0E", "t1")} if folder.startswith("dicom_brainix/") else {}
    assert found == expected
    assert {split_locator(path)[0] for case in cases for path in case.files.values()} >= set(
        (DATA / folder).rglob("*.nii.gz")
    )
    assert all(item.reason.endswith("no image") for item in ignored)


def test_two_grids_in_one_study(tmp_path: Path) -> None:
    cohort = index_folder(DATA / "dicom_brainix")
    write_cohort(cohort, tmp_path / "c.csv")
    (row,) = read_cohort(tmp_path / "c.csv").rows
    assert row.b0_tesla == 1.5
    case = read_case(row)
    assert {name: image.data.shape for name, image in case.images.items()} == {
        "t1": (512, 512, 22),
        "t2": (512, 512, 22),
        "flair": (288, 288, 22),
    }
    assert {image.data.dtype for image in case.images.values()} == {np.dtype(np.float32)}
    assert len({file_digest(path) for path in row.files.values()}) == 3
    problems = [p for p in check_cohort(cohort) if p.case != "cohort"]
    assert [p.severity for p in problems] == ["warning"] * len(problems)
    assert any("another grid" in p.what and "resample" in (p.do or "") for p in problems)


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
    problems = check_cohort(cohort, ["t1", "t2"])
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert [problem.what for problem in problems if problem.case.endswith("raw")] == [
        "TCGA-FG-6692-raw: t2 lies on another grid than t1."
    ]


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("isles22", ["the ADC is not in mm²/s"]),
        ("ct", ["256 grey values", "not in Hounsfield units"]),
        ("kirby21", ["negative voxels"]),
        ("brats/BraTS-GLI-00000-000", []),
        ("openms/patient07", ["negative voxels"]),
    ],
)
def test_values_of_real_images(folder: str, told: list[str]) -> None:
    whats = [p.what for p in check_cohort(index_folder(DATA / folder)) if p.case != "cohort" and "grid" not in p.what]
    for words in told:
        assert any(words in what for what in whats)
    assert told or not whats
