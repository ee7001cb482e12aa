from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.check import cohort as check_module
from mrsynth.check.cohort import check_cohort
from mrsynth.check.image import image_problems
from mrsynth.check.problem import Problem
from mrsynth.core.image import Case, Image
from mrsynth.index.find import index_folder
from mrsynth.io import Cohort, read_cohort, read_image, write_image
from nifti_factory import LPS, brats, ramp, save

NAMES = ["P1", "P2", "P3", "P4"]
SPLIT = ["train", "train", "val", "test"]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return index_folder(brats(tmp_path, NAMES))


def summary(cohort: Cohort, needs: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    return [(p.case, p.severity, p.what.split(": ", 1)[-1]) for p in check_cohort(cohort, needs)]


def test_a_sound_cohort_has_no_problem(cohort: Cohort) -> None:
    assert [row.case for row in cohort.rows] == NAMES
    assert check_cohort(cohort, ["t1", "t2"]) == []


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


def test_a_synthetic_image_is_no_truth_and_a_phantom_is_a_scan(cohort: Cohort, tmp_path: Path) -> None:
    image = read_image(tmp_path / "P1" / "P1_t2.nii.gz", "t2")
    for case, said in (
        ("P1", "SYNTHETIC t2 mrsynth 0.6.0, not for diagnosis"),
        ("P2", "SYNTHETIC t2 0.17 3 T EXTRAPOLATED mrsynth 0.6.0, not for diagnosis"),
        ("P3", "SYNTHETIC t2 by mrsynth simulate"),
    ):
        moved = image.with_data(image.data[:: -1 if case == "P2" else 1] + len(case + said))
        write_image(moved, tmp_path / case / f"{case}_t2.nii.gz", description=said)
    (tmp_path / "P4" / "P4_flair.json").write_text('{"synthetic": true}')
    assert summary(cohort) == [
        ("P1", "error", "is a synthetic image, not a scan."),
        ("P2", "error", "is a synthetic image, not a scan."),
        ("P4", "error", "is a synthetic image, not a scan."),
    ]
    told = [problem.found for problem in check_cohort(cohort)]
    assert told[1] == "its header says 'SYNTHETIC t2 0.17 3 T EXTRAPOLATED mrsynth 0.6.0, not for diagnosis'"
    assert str(told[2]).startswith("P4_flair.json beside it says so")


def test_the_odd_grid_is_named(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp(seed=77), LPS + 0.1)
    assert summary(cohort) == [("P1", "warning", "t1 lies on another grid than t1ce.")]
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp(seed=77), LPS + 1e-8)
    assert summary(cohort) == []


def test_voxels_that_are_odd(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz", ramp() - 20, LPS)
    save(tmp_path / "P1" / "P1_brain.nii.gz", np.zeros((5, 6, 7), np.uint8), LPS)
    save(tmp_path / "P2" / "P2_ct.nii.gz", ramp().astype(np.int16) * 10 - 1024, LPS)
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


def test_a_column_of_images_that_is_no_contrast_is_named(tmp_path: Path) -> None:
    brats(tmp_path, NAMES, ("t1",))
    lines = [f"{name},{split},{name}/{name}_t1.nii.gz,scan.nii.gz,12" for name, split in zip(NAMES, SPLIT, strict=True)]
    (tmp_path / "cohort.csv").write_text("\n".join(["case,split,t1,flaire,age", *lines]))
    (problem,) = check_cohort(read_cohort(tmp_path / "cohort.csv"))
    assert problem.what == "The column flaire names images, but is no contrast: it is not read."
    assert "flair" in str(problem.do)


def test_names_that_no_folder_can_have_and_files_that_no_system_can(tmp_path: Path) -> None:
    save(tmp_path / "t1.nii.gz", ramp(), LPS)
    rows = ['p,"a\n\x1b[2Jb",train,t1.nii.gz', f"q,q,val,{'x' * 300}", f"r,r,test,{'y' * 300}.nii", "s,s,test,pipe"]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "c.csv").write_text("patient,case,split,t1\n" + "\n".join(rows))
    problems = check_cohort(read_cohort(tmp_path / "c.csv", allow_unsound=True))
    assert [(p.case, p.found) for p in problems] == [
        ("a\n\x1b[2Jb", 'a path separator, a control character or one of : * ? " < > |'),
        ("q", "file name too long"),
        ("r", "File name too long"),
        ("s", "a pipe or device"),
    ]
    assert "is no file that can be read" in problems[3].what
    assert str(problems[0]).splitlines()[0] == r"error: a\n\x1b[2Jb: cannot be the name of a case."
    assert all(line.isprintable() for p in problems for line in str(p).splitlines())


def odd(path: Path, data: np.ndarray, affine: np.ndarray = LPS, contrast: str = "t1", **header: object) -> list[str]:
    """Return what `image_problems` says of one file."""
    save(path, data, affine, **header)
    return [p.what.split(": ", 1)[-1] for p in image_problems("c", read_image(path, contrast), path)]


def test_places_that_a_header_leaves_open_or_says_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.nii"
    assert odd(path, ramp()) == []
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    path.write_bytes(content)
    (problem,) = image_problems("c", read_image(path, "t1"), path)
    assert "orientation is unknown" in problem.what
    moved = LPS.copy()
    moved[0, 3] = 0.4
    for shift, told in ((0.4, []), (3.0, ["qform and sform place the image differently."])):
        image = nib.Nifti1Image(ramp(), LPS)
        image.set_sform(LPS, 1)
        moved[0, 3] = shift
        image.set_qform(moved, 1)
        nib.save(image, path)
        assert [p.what.split(": ", 1)[-1] for p in image_problems("c", read_image(path, "t1"), path)] == told
    image.set_qform(np.diag([1.0, -1.0, 1.0, 1.0]), 1)
    nib.save(image, path)
    (problem,) = image_problems("c", read_image(path, "t1"), path)
    assert problem.severity == "error"
    assert problem.what.endswith("disagree on left and right.")


@pytest.mark.parametrize(("edge", "told"), [(0.1, 1), (0.25, 0), (9.0, 0), (12.0, 1)])
def test_outlandish_spacing(tmp_path: Path, edge: float, told: int) -> None:
    found = odd(tmp_path / "x.nii", ramp(), np.diag([edge, edge, 1, 1]))
    assert found == ["the voxels' size is unusual."] * told


def head(scale: float, offset: float = 0.0) -> np.ndarray:
    """Return a smooth head-like image: 0 outside, up to `scale` inside."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij")
    rng = np.random.default_rng(0)
    inside = x**2 + y**2 + z**2 < 0.8
    return (inside * scale * (0.5 + 0.4 * x * y + 0.05 * rng.random(x.shape)) + offset).astype(np.float32)


@pytest.mark.parametrize(
    ("contrast", "data", "told"),
    [
        ("t1", head(800), []),
        ("t1", np.rint(head(200)).astype(np.uint8), ["the image has 256 grey values."]),
        ("t1", np.minimum(head(800), 500), ["the image is clipped."]),
        ("ct", head(1100, -1000), []),
        ("ct", head(200), ["the CT is not in Hounsfield units, or has no air."]),
        ("adc", head(0.002), []),
        ("adc", head(2), ["the ADC is not in mm²/s."]),
        ("adc", head(2000), ["the ADC is not in mm²/s."]),
    ],
)
def test_ranges(tmp_path: Path, contrast: str, data: np.ndarray, told: list[str]) -> None:
    assert odd(tmp_path / "x.nii", data, contrast=contrast) == told


def test_a_4d_image_is_told_what_to_do(cohort: Cohort, tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz", np.stack([ramp(), ramp()], axis=-1), LPS)
    (problem,) = check_cohort(cohort)
    assert "4 dimensions" in problem.what
    assert "P1_t1.nii.gz#volume=0" in str(problem)


def test_images_of_a_case_are_compared_once(cohort: Cohort) -> None:
    met: list[tuple[str, list[str]]] = []

    def compare(case: Case) -> Iterator[Problem]:
        met.append((case.name, sorted({*case.images, *case.masks})))
        yield Problem(case.name, "warning", "seen")

    problems = check_cohort(cohort, compare=compare)
    assert [p.what for p in problems] == ["seen"] * 4
    assert met == [(name, ["flair", "lesion", "t1", "t1ce", "t2"]) for name in NAMES]


def test_a_tilted_stack_is_written_with_the_place_that_a_quaternion_cannot_say(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[1, 2] = -1.3  # a gantry tilt of 15 degrees
    write_image(Image(ramp().astype(np.float32), affine, "ct"), tmp_path / "x.nii")
    image = read_image(tmp_path / "x.nii", "t1")
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert list(image_problems("c", image, tmp_path / "x.nii")) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({(76, "<4f"): (1, -2, 2, 2), (252, "<2h"): (1, 0)}, "the NIfTI header had to be repaired."),
        ({(76, "<f"): (3,), (252, "<2h"): (1, 0)}, "the NIfTI header had to be repaired."),
        ({(76, "<f"): (3,), (252, "<2h"): (0, 1)}, None),
        ({(256, "<3f"): (5, 5, 5), (252, "<2h"): (1, 1)}, "the qform is damaged."),
    ],
)
def test_a_header_that_is_repaired_or_half_damaged_is_told(
    tmp_path: Path, changes: dict[tuple[int, str], tuple[float, ...]], told: str | None
) -> None:
    path = tmp_path / "t1.nii"
    save(path, ramp(), LPS)
    raw = bytearray(path.read_bytes())
    for (offset, form), values in changes.items():
        struct.pack_into(form, raw, offset, *values)
    path.write_bytes(bytes(raw))
    whats = [problem.what for problem in image_problems("P1", read_image(path, "t1"), path)]
    assert whats == ([] if told is None else [f"{path}: {told}"])
