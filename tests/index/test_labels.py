"""Which convention lesion labels follow, and whether a bare mask may be a brain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.index.find import index_folder
from mrsynth.io import read_case
from mrsynth.io.labels import read_lesion
from nifti_factory import ramp, save


def mask(*labels: int) -> np.ndarray:
    data = np.zeros((5, 6, 7), np.uint8)
    for i, label in enumerate(labels):
        data[i] = label
    return data


def cohort(root: Path, names: dict[str, tuple[int, ...]]) -> Path:
    for i, (name, labels) in enumerate(names.items()):
        save(root / name / f"{name}-t1n.nii.gz", ramp(seed=i))
        save(root / name / f"{name}-seg.nii.gz", mask(*labels))
    return root


@pytest.mark.parametrize(
    ("names", "convention"),
    [
        ({"BraTS2021_00001": (1, 2, 4)}, "brats2021"),
        ({"Brats18_CBICA_AAB_1": (1, 2)}, "brats2021"),
        ({"BraTS-GLI-00001-000": (1, 2, 3)}, "brats2023"),
        ({"BraTS-GLI-02001-100": (1, 2, 3)}, "brats2024"),
        ({"BraTS-GLI-00001-000": (2, 3), "BraTS-GLI-00002-000": (4, 3)}, "brats2024"),
        ({"BraTS-PED-00001-000": (1, 2, 3, 4)}, "brats-ped"),
        ({"BraTS-MET-00001-000": (1, 2, 3)}, "brats-met"),
        ({"P1": (1,), "P2": (1,)}, "binary"),
        ({"P1": (1, 2, 4), "P2": (1,)}, "brats2021"),
    ],
)
def test_conventions_are_told_by_names_and_labels(
    tmp_path: Path, names: dict[str, tuple[int, ...]], convention: str
) -> None:
    table = index_folder(cohort(tmp_path, names))
    assert {row.metadata["labels"] for row in table.rows} == {convention}
    assert any(convention in line for line in table.told)


def test_labels_that_mean_different_things_are_asked_about(tmp_path: Path) -> None:
    table = index_folder(cohort(tmp_path, {"P1": (3, 4), "P2": (1, 2)}))
    assert all("labels" not in row.metadata for row in table.rows)
    assert any("--labels" in line for line in table.told)
    with pytest.raises(InputError, match="what its labels mean is not known"):
        read_case(next(row for row in table.rows if row.case == "P1"))
    given = index_folder(tmp_path, labels="brats2024")
    case = read_case(next(row for row in given.rows if row.case == "P1"))
    assert np.unique(case.masks["lesion"].data).tolist() == [0, 3, 7]
    with pytest.raises(InputError, match="did you mean 'brats2024'"):
        index_folder(tmp_path, labels="brats204")


def test_labels_are_brought_to_ours(tmp_path: Path) -> None:
    path = save(tmp_path / "seg.nii.gz", mask(1, 2, 3, 4))
    assert np.unique(read_lesion(path, "brats-ped").data).tolist() == [0, 2, 3, 5, 8]
    assert np.unique(read_lesion(path, "BRATS2024").data).tolist() == [0, 2, 3, 5, 7]
    with pytest.raises(InputError, match="do not belong to the convention ms"):
        read_lesion(path, "ms")


def test_a_bare_mask_of_an_impossible_volume_is_no_brain(tmp_path: Path) -> None:
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    for name, size in (("P1", 2), ("P2", 8)):
        data = np.zeros((12, 12, 12), np.uint8)
        data[:size, :size, :size] = 1  # 8 and 512 mL
        save(tmp_path / name / "T1.nii.gz", ramp((12, 12, 12), seed=size), affine)
        save(tmp_path / name / "mask.nii.gz", data, affine)
    table = index_folder(tmp_path)
    assert {row.case: list(row.files) for row in table.rows} == {"P1": ["t1"], "P2": ["t1", "brain"]}
    assert any("it holds 8 mL" in item.reason for item in table.ignored)
