from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel import orientations
from scipy.spatial.transform import Rotation

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.image import Image
from mrsynth.io import nifti_stream, read_image, read_mask, write_image
from nifti_factory import LPS, RAS, ramp, save

SAME_FOLDER = [HealthCheck.function_scoped_fixture]


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any order and direction of axes, oblique by up to 40°, any spacing and origin, as float32 holds them."""
    order = draw(st.permutations(range(3)))
    signs = [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    edges = [draw(st.floats(0.3, 6)) for _ in range(3)]
    angles = [draw(st.one_of(st.just(0.0), st.floats(-40, 40))) for _ in range(3)]
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.eye(3)[:, order] * signs * np.array(edges)
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return affine.astype(np.float32).astype(float)


@given(
    affine=affines(), codes=st.sampled_from([(1, 1), (2, 1), (1, 0), (0, 2), (0, 0), (4, 4)]), seed=st.integers(0, 9)
)
def test_writing_what_was_read_restores_grid_and_voxels(
    tmp_path: Path, affine: np.ndarray, codes: tuple[int, int], seed: int
) -> None:
    source = save(tmp_path / "a.nii", ramp(seed=seed), affine, qform_code=codes[0], sform_code=codes[1])
    image = read_image(source, "t1")
    write_image(image, tmp_path / "b.nii")
    before, after = nib.load(source), nib.load(tmp_path / "b.nii")
    assert after.affine.tobytes() == before.affine.tobytes()
    np.testing.assert_array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))
    for field in ("qform_code", "sform_code", "pixdim", "quatern_b", "qoffset_x", "srow_x", "xyzt_units"):
        np.testing.assert_array_equal(after.header[field], before.header[field])


@given(affine=affines())
def test_reading_moves_no_voxel(tmp_path: Path, affine: np.ndarray) -> None:
    image = read_image(save(tmp_path / "a.nii", affine=affine), "t1")
    assert image.native is not None
    # Each voxel keeps its position in mm: compare position-sorted with nibabel's own canonical image.
    reference = nib.as_closest_canonical(nib.load(tmp_path / "a.nii"))
    np.testing.assert_allclose(image.affine, reference.affine, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(image.data, reference.get_fdata(dtype=np.float32))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.native.orientation == nib.aff2axcodes(affine)
    assert image.native.shape == (5, 6, 7)
    assert image.data.flags.f_contiguous


def test_a_prediction_in_ras_lands_where_it_belongs(tmp_path: Path) -> None:
    affine = orientations.inv_ornt_aff(orientations.axcodes2ornt("SPL"), (5, 6, 7))
    image = read_image(save(tmp_path / "a.nii.gz", affine=affine), "t1")
    write_image(image.with_data(image.data * 2 + 0.5, "t2"), tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii.gz").get_fdata(), ramp() * 2.0 + 0.5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_same_image_same_bytes(tmp_path: Path, suffix: str) -> None:
    image = read_image(save(tmp_path / "a.nii.gz"), "t1")
    for name in ("b", "other-name"):
        write_image(image, tmp_path / f"{name}{suffix}", description="SYNTHETIC by mrsynth")
    content = (tmp_path / f"b{suffix}").read_bytes()
    assert content == (tmp_path / f"other-name{suffix}").read_bytes()
    if suffix == ".nii.gz":
        assert content[4:8] == b"\0\0\0\0"  # no time in the gzip header
        assert content[3] == 0  # no name either


def test_header_of_an_output(tmp_path: Path) -> None:
    source = save(tmp_path / "a.nii", cal_max=100, slice_code=1, descrip=b"TE=12", toffset=2.5)
    write_image(read_image(source, "t1"), tmp_path / "b.nii", description="SYNTHETIC t2 " + "ü" + "x" * 200)
    header = nib.load(tmp_path / "b.nii").header
    assert header["descrip"].item().startswith(b"SYNTHETIC t2 ?xxx")
    assert len(header["descrip"].item()) == 79
    assert header.get_data_dtype() == np.float32
    assert (header["scl_slope"], header["scl_inter"], header["cal_max"]) == (1, 0, 0) or np.isnan(header["scl_slope"])
    assert (header["slice_code"], header["toffset"]) == (1, 2.5)
    write_image(read_image(tmp_path / "b.nii", "t1"), tmp_path / "c.nii")
    assert nib.load(tmp_path / "c.nii").header["descrip"].item().startswith(b"SYNTHETIC t2")  # never lost


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_no_text_of_the_input_travels(tmp_path: Path, kind: type[nib.Nifti1Image]) -> None:
    image = kind(ramp(), LPS)
    fields = [name for name in ("data_type", "db_name", "descrip", "aux_file", "intent_name") if name in image.header]
    for name in fields:
        image.header[name] = b"Jane Doe 1970"
    image.header["intent_code"] = 1007
    nib.save(image, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes().count(b"Jane Doe") == len(fields)
    read = read_image(tmp_path / "a.nii", "t1")
    for name, description in (("b.nii", None), ("c.nii", "SYNTHETIC t2")):
        write_image(read, tmp_path / name, description=description)
        assert b"Jane" not in (tmp_path / name).read_bytes()
        assert nib.load(tmp_path / name).header["intent_code"] == 1007
    assert read.native is not None
    assert read.native.header["aux_file"].item()  # what was read is left as it is


def test_extensions_do_not_travel(tmp_path: Path) -> None:
    image = nib.Nifti1Image(ramp(), RAS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe, born 1970"))
    nib.save(image, tmp_path / "a.nii")
    read = read_image(tmp_path / "a.nii", "t1")
    np.testing.assert_array_equal(read.data, ramp())
    write_image(read, tmp_path / "b.nii")
    assert b"Jane" not in (tmp_path / "b.nii").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii", "t1").data, ramp())


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i2", ">f4"])
def test_voxel_types_and_byte_orders(tmp_path: Path, dtype: str) -> None:
    data = ramp((4, 5, 6)).astype(dtype)
    header = nib.Nifti1Header(endianness=np.dtype(dtype).byteorder if dtype[0] == ">" else "<")
    header.set_data_dtype(data.dtype)
    nib.save(nib.Nifti1Image(data, LPS, header, dtype=data.dtype), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii", "t1")
    assert image.data.dtype == np.float32
    np.testing.assert_array_equal(image.data[::-1, ::-1], data)
    write_image(image, tmp_path / "b.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii").get_fdata(), data)


@given(slope=st.floats(1e-3, 1e3), inter=st.floats(-1e3, 1e3))
@settings(max_examples=20, deadline=None, suppress_health_check=SAME_FOLDER)
def test_scaling_as_nibabel(tmp_path: Path, slope: float, inter: float) -> None:
    raw = bytearray(save(tmp_path / "a.nii").read_bytes())
    raw[112:120] = struct.pack("<ff", slope, inter)
    (tmp_path / "a.nii").write_bytes(raw)
    expected = nib.load(tmp_path / "a.nii").get_fdata()
    np.testing.assert_allclose(read_image(tmp_path / "a.nii", "t1").data, expected, rtol=2e-7, atol=1e-3)


def test_scaling_beyond_float32(tmp_path: Path) -> None:
    raw = bytearray(save(tmp_path / "a.nii").read_bytes())
    raw[112:116] = struct.pack("<f", 3e38)
    (tmp_path / "a.nii").write_bytes(raw)
    with pytest.raises(InputError, match="NaN or infinite"):
        read_image(tmp_path / "a.nii", "t1")


def test_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(ramp(), LPS), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz", "flair")
    write_image(image, tmp_path / "b.nii.gz")
    after = nib.load(tmp_path / "b.nii.gz")
    assert isinstance(after, nib.Nifti2Image)
    np.testing.assert_array_equal(after.get_fdata(), ramp())


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii")
    (tmp_path / "b.nii.gz").write_bytes(plain.read_bytes())
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii.gz", "T1w").data, ramp())


def test_trailing_axis_and_single_slice(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.nii", ramp((5, 6, 7, 1))), "t1").data.shape == (5, 6, 7)
    assert read_image(save(tmp_path / "b.nii", ramp((5, 6))), "t1").data.shape == (5, 6, 1)


def text_file(path: Path) -> None:
    path.write_text("patient,case\n" * 40)


def html_in_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"<html>" * 100))


def cut(path: Path) -> None:
    save(path, ramp((20, 20, 20)))
    path.write_bytes(path.read_bytes()[:-3000])


def bad_crc(path: Path) -> None:
    content = bytearray(save(path).read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)


def huge(path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((30000, 30000, 30000))
    path.write_bytes(gzip.compress(header.binaryblock + bytes(100)))


def metres(path: Path) -> None:
    save(path, xyzt_units=1)


def with_voxel(value: float) -> np.ndarray:
    data = ramp().astype(np.float32)
    data[1, 2, 3] = value
    return data


def with_srow_x(path: Path, *row: float) -> None:
    content = bytearray(save(path.with_name("plain.nii")).read_bytes())
    content[280:296] = struct.pack("<4f", *row)
    path.write_bytes(content)


BAD = {
    "no such file": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "0 bytes": lambda path: path.touch(),
    "text beginning with 'patient,case": text_file,
    "text beginning with '<html>": html_in_gzip,
    "damaged or cut off": cut,
    "CRC check failed": bad_crc,
    "shape 5 × 6 × 7 × 2": lambda path: save(path, ramp((5, 6, 7, 2))),
    "shape 5 × 1 × 1": lambda path: save(path, ramp((5,))),
    "all of 210 voxels": lambda path: save(path, np.full((5, 6, 7), np.nan, np.float32)),
    "1 of 210 voxels": lambda path: save(path, with_voxel(np.nan)),
    "are NaN or infinite": lambda path: save(path, with_voxel(np.inf)),
    "every voxel is 3": lambda path: save(path, np.full((5, 6, 7), 3, np.int16)),
    "three independent axes": lambda path: with_srow_x(path, 0, 1, 0, 0),
    "at most 512 Mi voxels": huge,
    "complex numbers": lambda path: save(path, ramp().astype(np.complex64)),
    "colours": lambda path: save(path, np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    "metre": metres,
    "edges from": lambda path: save(path, affine=np.diag([1e6, 1.0, 1.0, 1.0])),
    "affine.*nan": lambda path: with_srow_x(path, np.nan, 0, 0, 0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_named_with_what_was_found(tmp_path: Path, message: str) -> None:
    path = tmp_path / "scan.nii.gz"
    BAD[message](path)
    with pytest.raises(InputError, match=message) as caught:
        read_image(path, "t1")
    assert str(path) in caught.value.what


def test_other_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.mgz").write_bytes(b"x")
    with pytest.raises(InputError, match="a\\.mgz"):
        read_image(tmp_path / "a.mgz", "t1")


def test_pipes_devices_and_paths_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    (tmp_path / "z.nii").symlink_to("/dev/zero")
    for name, message in (
        ("a.nii.gz", "pipe or device"),
        ("z.nii", "pipe or device"),
        ("n" * 300 + ".nii", "name too long"),
        ("a\0b.nii", "is no path"),
        ("a.nii.gz/b.nii", "[Nn]ot a directory"),
    ):
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / name, "t1")


def test_memory_is_that_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ramp((100, 100, 120))
    raw = bytearray(save(tmp_path / "a.nii", data).read_bytes())
    raw[112:120] = struct.pack("<ff", 0.5, -3)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw))
    monkeypatch.setattr(nifti_stream, "READ_BYTES", 1 << 12)
    tracemalloc.start()
    image = read_image(tmp_path / "a.nii.gz", "t1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(image.data, data.astype(np.float32) * 0.5 - 3)
    assert peak < 1.5 * image.data.nbytes


def test_a_size_that_no_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(nifti_stream, "_read_volume", none_left)
    with pytest.raises(InputError, match="does not fit into memory"):
        read_image(save(tmp_path / "a.nii"), "t1")


@given(
    data=st.data(),
    packed=st.booleans(),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=4),
)
def test_damaged_bytes_give_an_image_or_an_input_error(
    tmp_path: Path, data: st.DataObject, packed: bool, flips: list[tuple[int, int]]
) -> None:
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    content = bytearray(save(path, affine=LPS).read_bytes())
    # Most of the interest lies in the header.
    for place, value in flips:
        content[place % (len(content) if packed else 360)] ^= value
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    for reader in (read_image, read_mask):
        try:
            image = reader(path, "t1" if reader is read_image else "lesion")
        except InputError:
            continue
        assert np.isfinite(image.data).all()
        assert image.data.ndim == 3
        assert np.isfinite(image.affine).all()


@given(block=st.binary(max_size=400))
def test_any_bytes_after_a_magic_number(tmp_path: Path, block: bytes) -> None:
    content = bytearray(block.ljust(800, b"\0"))
    content[344:348] = b"n+1\0"
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError):
        read_image(tmp_path / "a.nii", "t1")


def test_masks(tmp_path: Path) -> None:
    labels = (ramp() % 5).astype(np.float32)
    mask = read_mask(save(tmp_path / "seg.nii.gz", labels), "lesion")
    assert mask.data.dtype == np.uint8
    np.testing.assert_array_equal(mask.data, labels)
    brain = read_mask(save(tmp_path / "b.nii.gz", ((ramp() % 2) * 255).astype(np.uint8)))
    np.testing.assert_array_equal(brain.data, ramp() % 2)
    assert not read_mask(save(tmp_path / "e.nii.gz", np.zeros((5, 6, 7), np.uint8))).data.any()
    write_image(mask, tmp_path / "out.nii.gz")
    assert nib.load(tmp_path / "out.nii.gz").get_data_dtype() == np.uint8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ramp() % 3, "labels 0, 1, 2"),
        (ramp() / np.float32(300), "whole numbers"),
        (-ramp(), "0 to 255"),
        (with_voxel(np.nan), "whole numbers"),
    ],
)
def test_bad_masks(tmp_path: Path, data: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_mask(save(tmp_path / "m.nii", data), "brain")
    with pytest.raises(InputError, match="not a mask"):
        read_mask(tmp_path / "m.nii", "t1")


def test_without_native_grid(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -90, -126, -72
    write_image(Image(ramp().astype(np.float32), affine, "t1"), tmp_path / "a.nii.gz", dtype=np.int16)
    after = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(after.affine, affine)
    np.testing.assert_array_equal(after.header.get_qform(), affine)
    assert after.get_data_dtype() == np.int16
    assert after.header.get_xyzt_units()[0] == "mm"


def test_what_is_not_written(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "in" / "a.nii.gz", affine=LPS), "t1")
    out = tmp_path / "out"
    bad = Image(with_voxel(np.nan), image.affine, "t1", image.native)
    for wrong, message, kind in (
        (bad, "NaN", None),
        (image.with_data(image.data - 200), "do not fit uint8", np.uint8),
        (Image(image.data[1:], image.affine, "t1", image.native), "patient's grid", None),
        (Image(image.data, image.affine + 0.01, "t1", image.native), "patient's grid", None),
    ):
        with pytest.raises(OutputError, match=message):
            write_image(wrong, out / "b.nii.gz", dtype=kind)
    with pytest.raises(OutputError, match=r"\.nii\.gz"):
        write_image(image, out / "b.png")
    assert not out.exists()
