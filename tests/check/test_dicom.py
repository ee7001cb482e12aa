"""Slices that a series lacks by its own tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dicom_factory as factory
from mrsynth.check.dicom import dicom_problems


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"ImagesInAcquisition": 9}, "5 slices at its end may be missing."),
        ({"ImagesInAcquisition": 4}, None),
        ({}, None),
        ({"ImagesInAcquisition": 9, "ImageType": ["DERIVED", "SECONDARY", "MPR"]}, None),
    ],
)
def test_slices_that_never_came(tmp_path: Path, tags: dict[str, Any], told: str | None) -> None:
    factory.series(tmp_path, **tags)
    problems = [problem.what for problem in dicom_problems("P1", tmp_path)]
    assert problems == ([] if told is None else [f"{tmp_path}: {told}"])


def test_other_files_have_none(tmp_path: Path) -> None:
    assert list(dicom_problems("P1", tmp_path / "t1.nii.gz")) == []
    assert list(dicom_problems("P1", tmp_path / "gone")) == []
