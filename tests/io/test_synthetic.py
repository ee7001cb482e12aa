"""A model's image is told from a scan by its DICOM tags, whatever the series is called; its values are real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

import dicom_factory as factory
from mrsynth.core.errors import InputError
from mrsynth.index.layouts import find_images
from mrsynth.io.dicom.series import read_dicom
from mrsynth.io.synthetic import why_synthetic


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"SyntheticData": "YES"}, "SyntheticData (0008,001C) is YES"),
        (
            {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]},
            "ImageType DERIVED\\SECONDARY\\OTHER\\SYNTHETIC",
        ),
        ({"SyntheticData": "NO"}, None),
        ({}, None),
    ],
)
def test_dicom_says_that_it_is_synthetic(tmp_path: Path, tags: dict[str, Any], told: str | None) -> None:
    factory.series(tmp_path / "classic", SeriesDescription="T1 SE tra", **tags)
    factory.enhanced(tmp_path / "enhanced" / "E.dcm", SeriesDescription="T1 SE tra", **tags)
    for place in (tmp_path / "classic", tmp_path / "enhanced"):
        assert why_synthetic(place) == told
        (image,) = find_images(place).found
        assert (image.contrast == "t1") == (told is None)
        assert told is None or image.reason == f"a synthetic image, not a scan: {told}"


def test_a_place_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert why_synthetic(tmp_path / "nothing.dcm") is None
    factory.series(tmp_path / "dcm", SyntheticData="YES")
    assert why_synthetic(Path(f"{tmp_path / 'dcm'}#series=99")) is None


@pytest.mark.parametrize("slope", [0.25, -2.0])
def test_values_come_in_real_world_units(tmp_path: Path, slope: float) -> None:
    values = factory.stored()
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, 0.5
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 4095
    factory.series(tmp_path, values, RealWorldValueMappingSequence=[mapping], RescaleSlope=7, RescaleIntercept=3)
    image = read_dicom(tmp_path, {}, "t2")
    assert image.native is not None
    np.testing.assert_allclose(np.sort(image.data.ravel()), np.sort((slope * values + 0.5).ravel()), rtol=1e-6)


def test_a_mapping_without_a_slope_leaves_the_rescale(tmp_path: Path) -> None:
    values = factory.stored()
    factory.series(tmp_path, values, RealWorldValueMappingSequence=[Dataset()], RescaleSlope=7, RescaleIntercept=3)
    np.testing.assert_allclose(read_dicom(tmp_path, {}, "t2").data.max(), 7.0 * values.max() + 3)
    with pytest.raises(InputError):
        read_dicom(tmp_path / "nothing", {}, "t2")
