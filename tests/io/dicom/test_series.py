from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage

import dicom_factory as factory
from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.io import read_image, write_image
from mrsynth.io.dicom.scan import scan_dicom
from mrsynth.io.dicom.series import digest_dicom, read_dicom

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


def native_voxels(image: Image) -> np.ndarray:
    """Return the voxels as (slice, row, column) and check that the image says where they come from."""
    assert image.native is not None
    back = np.linalg.inv(image.affine) @ image.native.affine
    turn = np.rint(back[:3, :3]).astype(int)
    np.testing.assert_allclose(back[:3, :3], turn, atol=1e-9)
    index = np.indices(image.native.shape).reshape(3, -1)
    there = turn @ index + np.rint(back[:3, 3:]).astype(int)
    return image.data[tuple(there)].reshape(image.native.shape).transpose(2, 1, 0)


def places(image: Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Return where the voxels (slice, row, column) of the file lie, in mm, RAS+."""
    assert image.native is not None
    assert image.native.shape == shape[::-1]
    k, j, i = np.indices(shape)
    return np.stack([i, j, k], -1) @ image.native.affine[:3, :3].T + image.native.affine[:3, 3]


def expected_places(shape: tuple[int, int, int], axes: np.ndarray, origin: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Equation C.7.6.2.1-1 of the DICOM standard, turned to RAS+."""
    k, j, i = np.indices(shape)
    lps = origin + i[..., None] * 0.8 * axes[0] + j[..., None] * 0.9 * axes[1] + k[..., None] * step
    return lps * LPS_TO_RAS


@pytest.mark.parametrize("axes", [factory.AXIAL, factory.SAGITTAL, factory.CORONAL])
@pytest.mark.parametrize("upwards", [True, False])
def test_standard_planes(tmp_path: Path, axes: np.ndarray, upwards: bool) -> None:
    values, step = factory.stored(), (3.0 if upwards else -3.0) * axes[2]
    factory.series(tmp_path, values, axes, step=step, names=["d", "a", "c", "b"])
    image = read_dicom(tmp_path, {}, "T1w")
    assert image.contrast == "t1"
    assert image.data.dtype == np.float32
    stored = values if step @ np.cross(axes[0], axes[1]) > 0 else values[::-1]
    np.testing.assert_array_equal(native_voxels(image), stored)
    where = expected_places(values.shape, axes, np.array([-10.0, -20, 30]), step)
    np.testing.assert_allclose(places(image, values.shape), where if stored is values else where[::-1], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_oblique_and_tilted_stacks_keep_their_place(data: st.DataObject) -> None:
    angle = st.floats(-np.pi, np.pi)
    number = st.floats(-200, 200)
    axes = _rotation(*(data.draw(angle) for _ in range(3)))
    origin = np.array([data.draw(number) for _ in range(3)])
    tilt = data.draw(st.floats(-0.5, 0.5))  # gantry: the slices slide along a column
    step = data.draw(st.floats(0.4, 8)) * (axes[2] + tilt * axes[1])
    values = factory.stored((5, 4, 6))
    with TemporaryDirectory() as name:
        folder = Path(name)
        names = data.draw(st.permutations([f"{k}.x" for k in range(6)]))
        factory.series(folder, values, axes, origin=origin, step=step, names=names)
        image = read_dicom(folder, {}, "t1")
    np.testing.assert_array_equal(native_voxels(image), values)
    np.testing.assert_allclose(
        places(image, values.shape), expected_places(values.shape, axes, origin, step), atol=1e-4
    )


def _rotation(a: float, b: float, c: float) -> np.ndarray:
    def turn(i: int, j: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        matrix[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        return matrix

    return turn(0, 1, a) @ turn(1, 2, b) @ turn(0, 2, c)


def test_geometry_is_that_of_another_reader(tmp_path: Path) -> None:
    axes = _rotation(0.3, -0.2, 0.4)
    factory.series(tmp_path, axes=axes)
    image = read_dicom(tmp_path, {}, "t1")
    other = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    np.testing.assert_array_equal(native_voxels(image), SimpleITK.GetArrayFromImage(other))
    assert image.native is not None
    for index in [(0, 0, 0), (5, 4, 3)]:
        mine = image.native.affine[:3, :3] @ index + image.native.affine[:3, 3]
        np.testing.assert_allclose(mine * LPS_TO_RAS, other.TransformIndexToPhysicalPoint(index), atol=1e-5)


def test_frames_of_one_file_are_the_slices_of_many(tmp_path: Path) -> None:
    values = factory.stored((7, 6, 5))
    factory.series(tmp_path / "many", values, RescaleSlope="2", RescaleIntercept="-5")
    factory.enhanced(tmp_path / "one", values, order=[3, 0, 4, 1, 2], each=lambda k: {"slope": 2.0, "intercept": -5.0})
    many, one = read_dicom(tmp_path / "many", {}, "t1"), read_dicom(tmp_path / "one", {}, "t1")
    np.testing.assert_array_equal(many.data, one.data)
    np.testing.assert_array_equal(many.affine, one.affine)
    assert scan_dicom(tmp_path / "one")[0][0].frames == (0, 1, 2, 3, 4)


def test_the_image_can_be_written_on_its_own_grid(tmp_path: Path) -> None:
    factory.series(tmp_path / "dcm", step=(0.0, 0.7, 3.0))
    image = read_dicom(tmp_path / "dcm", {}, "t1")
    write_image(image, tmp_path / "out.nii.gz")
    written = read_image(tmp_path / "out.nii.gz", "t1")
    np.testing.assert_allclose(written.affine, image.affine, atol=1e-5)
    np.testing.assert_array_equal(written.data, image.data)


def test_one_slice_is_a_volume(tmp_path: Path) -> None:
    factory.series(tmp_path, factory.stored((6, 5, 1)), SpacingBetweenSlices="4")
    assert read_dicom(tmp_path, {}, "t1").spacing_mm == pytest.approx((0.8, 0.9, 4))
    factory.series(tmp_path, factory.stored((6, 5, 1)), SliceThickness=None)
    with pytest.raises(InputError, match="one slice of unknown thickness"):
        read_dicom(tmp_path, {}, "t1")


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    paths = factory.series(tmp_path, factory.stored((6, 5, 9)))
    paths[3].unlink()
    paths[4].unlink()
    with pytest.raises(InputError) as caught:
        read_dicom(tmp_path, {}, "t1")
    assert "2 slices are missing" in caught.value.what
    assert caught.value.found == "9 mm between IM0002 (z = 36 mm) and IM0005"
    assert caught.value.expected == "a slice every 3 mm"


def test_a_distance_may_have_a_sign(tmp_path: Path) -> None:
    factory.series(tmp_path, factory.stored((6, 5, 1)), SpacingBetweenSlices="-4")
    assert read_dicom(tmp_path, {}, "t1").spacing_mm[2] == 4
    factory.series(tmp_path, factory.stored((6, 5, 1)), SpacingBetweenSlices="0")
    assert read_dicom(tmp_path, {}, "t1").spacing_mm[2] == 3


@pytest.mark.parametrize("times", [2, 3])
def test_slices_missing_everywhere_are_seen_by_the_distance_that_the_file_says(tmp_path: Path, times: int) -> None:
    paths = factory.series(tmp_path, factory.stored((6, 5, 9)), SpacingBetweenSlices="3")
    assert read_dicom(tmp_path, {}, "t1").spacing_mm[2] == 3
    for k, path in enumerate(paths):
        if k % times:
            path.unlink()
    with pytest.raises(InputError, match=f"{times - 1} of every {times} slices") as caught:
        read_dicom(tmp_path, {}, "t1")
    assert caught.value.found == f"{3 * times} mm between IM0000 (z = 30 mm) and IM000{times}, and so on"
    assert caught.value.expected == "a slice every 3 mm (SpacingBetweenSlices)"


@pytest.mark.parametrize(("between", "thickness"), [("1.5", 3), ("0.5", 3), ("3", 4), ("2", 1), ("3", None)])
def test_other_distances_than_said_are_no_missing_slices(tmp_path: Path, between: str, thickness: float | None) -> None:
    """A gap written in place of a distance, no whole number of steps, or nothing to compare with."""
    step = (0, 0, 3.0 if float(between) < 3 else 6.0)
    factory.series(tmp_path, step=step, SpacingBetweenSlices=between, SliceThickness=thickness)
    assert read_dicom(tmp_path, {}, "t1").spacing_mm[2] == step[2]


def test_slices_that_are_no_stack(tmp_path: Path) -> None:
    factory.series(tmp_path / "uneven", each=lambda k: {"ImagePositionPatient": [0, 0, 3 * k + 0.7 * (k == 2)]})
    with pytest.raises(InputError, match="lie unevenly"):
        read_dicom(tmp_path / "uneven", {}, "t1")
    factory.series(tmp_path / "shifted", each=lambda k: {"ImagePositionPatient": [2.0 * (k == 2), 0, 3 * k]})
    with pytest.raises(InputError, match="lie unevenly"):
        read_dicom(tmp_path / "shifted", {}, "t1")
    factory.series(tmp_path / "lying", step=(0, 6, 1))
    with pytest.raises(InputError, match="not lie above each other"):
        read_dicom(tmp_path / "lying", {}, "t1")
    factory.series(tmp_path / "sizes", each=lambda k: {"PixelSpacing": [1, 1]} if k == 2 else {})
    with pytest.raises(InputError, match=r"(?s)differ in pixel size.*IM0002"):
        read_dicom(tmp_path / "sizes", {}, "t1")
    factory.series(tmp_path / "matrix")
    factory.series(tmp_path / "matrix", factory.stored((7, 7, 1)), origin=(-10, -20, 42), names=["odd"])
    with pytest.raises(InputError, match=r"(?s)differ in size.*7 × 7 pixels in odd"):
        read_dicom(tmp_path / "matrix", {}, "t1")
    factory.series(tmp_path / "axes", ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    with pytest.raises(InputError, match="orientation is damaged"):
        read_dicom(tmp_path / "axes", {}, "t1")


def test_slices_in_one_place(tmp_path: Path) -> None:
    values = factory.stored()
    factory.series(tmp_path / "a", values)
    factory.series(tmp_path / "a", values, names=["copy0", "copy1", "copy2", "copy3"])
    volumes, ignored = scan_dicom(tmp_path / "a")
    assert len(volumes) == 1
    assert {item.reason for item in ignored} == {f"the same picture in the same place as IM000{k}" for k in range(4)}
    np.testing.assert_array_equal(native_voxels(read_dicom(tmp_path / "a", {}, "t1")), values)
    factory.series(tmp_path / "b", values)
    factory.series(tmp_path / "b", factory.stored(seed=1), names=["p", "q", "r", "s"])
    with pytest.raises(InputError, match="two different slices in one place"):
        read_dicom(tmp_path / "b", {}, "t1")


def test_constant_and_endless_images(tmp_path: Path) -> None:
    factory.series(tmp_path / "a", np.zeros((3, 4, 5), np.uint16))
    with pytest.raises(InputError, match="constant"):
        read_dicom(tmp_path / "a", {}, "t1")
    factory.series(tmp_path / "b", RescaleSlope="1e300")
    with pytest.raises(InputError, match="beyond all numbers"):
        read_dicom(tmp_path / "b", {}, "t1")


def test_which_volume_is_meant(tmp_path: Path) -> None:
    factory.series(tmp_path / "a", factory.stored(seed=1))
    factory.series(tmp_path / "b", factory.stored(seed=2), SeriesInstanceUID="1.9", SeriesNumber=4)
    with pytest.raises(InputError, match=r"(?s)more than one.*series=3.*series=4"):
        read_dicom(tmp_path, {}, "t1")
    with pytest.raises(InputError, match="no such DICOM volume"):
        read_dicom(tmp_path, {"series": "7"}, "t1")
    for number in ("x", "٣", "9" * 5000):
        with pytest.raises(InputError, match="cannot be selected from"):
            read_dicom(tmp_path, {"series": "3", "b": number}, "t1")
    by_number, by_uid = (read_dicom(tmp_path, {"series": key}, "t1") for key in ("4", "1.9"))
    np.testing.assert_array_equal(by_number.data, by_uid.data)
    np.testing.assert_array_equal(native_voxels(by_uid), factory.stored(seed=2))
    file = factory.enhanced(tmp_path / "one" / "file")
    assert read_dicom(file, {}, "t1").data.shape == (6, 5, 4)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no DICOM file"):
        read_dicom(tmp_path / "none", {}, "t1")


def test_a_scan_is_renewed_when_files_change(tmp_path: Path) -> None:
    factory.series(tmp_path, factory.stored((6, 5, 3)))
    assert read_dicom(tmp_path, {}, "t1").data.shape == (6, 5, 3)
    factory.series(tmp_path, factory.stored((6, 5, 4)))
    assert read_dicom(tmp_path, {}, "t1").data.shape == (6, 5, 4)


def test_digest(tmp_path: Path) -> None:
    paths = factory.series(tmp_path / "a")
    before = digest_dicom(tmp_path / "a", {})
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for k, path in enumerate(paths):
        (tmp_path / "b" / "deep" / f"{9 - k}").write_bytes(path.read_bytes())
    factory.series(tmp_path / "b", SeriesInstanceUID="1.9", SeriesNumber=8)
    assert digest_dicom(tmp_path / "b", {"series": "3"}) == before
    content = bytearray(paths[1].read_bytes())
    content[-1] ^= 1
    paths[1].write_bytes(content)
    assert digest_dicom(tmp_path / "a", {}) != before


def test_hounsfield_units(tmp_path: Path) -> None:
    values = np.full((3, 5, 6), 1000, np.int16)
    values[:, 0] = -2000
    values[:, 1] = 100  # below air
    factory.series(
        tmp_path,
        values,
        SOPClassUID=CTImageStorage,
        Modality="CT",
        RescaleSlope="1",
        RescaleIntercept="-1200",
        PixelPaddingValue=-2000,
    )
    found = native_voxels(read_dicom(tmp_path, {}, "ct"))
    assert found[:, :2].max() == found.min() == -1024
    assert np.unique(found[:, 2:]) == [-200]


@pytest.mark.real
def test_real_study(real_data: Path) -> None:
    volumes, ignored = scan_dicom(real_data / "dicom_brainix")
    assert [volume.number for volume in volumes] == [301, 401, 601]
    assert [volume.shape for volume in volumes] == [(512, 512, 22), (288, 288, 22), (512, 512, 22)]
    assert not ignored
    for volume, spacing in zip(volumes, (0.4492, 0.7986, 0.4688), strict=True):
        image = read_dicom(real_data / "dicom_brainix", {"series": str(volume.number)}, "t1")
        assert image.spacing_mm == pytest.approx((spacing, spacing, 6), abs=1e-4)
        other = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(volume.files[0].parent)))
        np.testing.assert_array_equal(native_voxels(image), SimpleITK.GetArrayFromImage(other))
        assert image.native is not None
        last = (volume.shape[0] - 1, volume.shape[1] - 1, 21)
        mine = image.native.affine[:3, :3] @ last + image.native.affine[:3, 3]
        np.testing.assert_allclose(mine * LPS_TO_RAS, other.TransformIndexToPhysicalPoint(last), atol=1e-4)
