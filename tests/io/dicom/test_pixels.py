from __future__ import annotations

import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate

import dicom_factory as factory
from mrsynth.core.errors import InputError
from mrsynth.io.dicom import file as dicom_file
from mrsynth.io.dicom.pixels import CODECS, stream_size
from mrsynth.io.dicom.scan import scan_dicom
from mrsynth.io.dicom.series import read_dicom


def first_slice(folder: Path) -> np.ndarray:
    """Return the pixels of a one-slice axial series, (row, column)."""
    return read_dicom(folder, {}, "t1").data[::-1, ::-1, 0].T


@pytest.mark.parametrize("syntax", list(factory.SYNTAXES))
@pytest.mark.parametrize("low", [0, -2000])
def test_every_syntax_gives_the_stored_values(tmp_path: Path, syntax: str, low: int) -> None:
    values = factory.stored((17, 13, 3), low=low, high=2000)
    factory.series(tmp_path, values, syntax=syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_dicom(tmp_path, {}, "t1").data
    np.testing.assert_array_equal(found, values.T[::-1, ::-1])


@pytest.mark.parametrize("syntax", ["explicit", "deflated", "rle", "jpeg", "jpeg_ls", "jpeg_2000"])
def test_every_syntax_in_a_multi_frame_file(tmp_path: Path, syntax: str) -> None:
    values = factory.stored((17, 13, 5))
    factory.enhanced(tmp_path / "x", values, order=[4, 2, 0, 1, 3], syntax=syntax)
    np.testing.assert_array_equal(read_dicom(tmp_path, {}, "t1").data, values.T[::-1, ::-1])


def test_lossy_jpeg_is_near(tmp_path: Path) -> None:
    frame = np.add.outer(np.arange(32) * 3, np.arange(32) * 4).astype(np.uint8)
    data = factory.slice_file(frame, (0, 0, 0))
    factory.save(data, tmp_path / "x")
    data.PixelData = encapsulate([imagecodecs.jpeg8_encode(frame, level=95)])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    data.save_as(tmp_path / "x")
    np.testing.assert_allclose(first_slice(tmp_path), frame, atol=4)


def test_every_codec_exists() -> None:
    assert all(callable(getattr(imagecodecs, name)) for name in CODECS.values())


def test_slopes_differ_from_slice_to_slice(tmp_path: Path) -> None:
    values = factory.stored()
    each = lambda k: {"RescaleSlope": str(0.5 * (k + 1)), "RescaleIntercept": str(k)}  # noqa: E731
    factory.series(tmp_path, values, each=each)
    expected = values * (0.5 * np.arange(1, 5)[:, None, None]) + np.arange(4)[:, None, None]
    np.testing.assert_array_equal(read_dicom(tmp_path, {}, "t1").data, expected.T[::-1, ::-1])


def test_bits_above_those_stored_do_not_count(tmp_path: Path) -> None:
    values = factory.stored((6, 5, 1), high=2048)
    factory.series(tmp_path, values | 0x8000, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(first_slice(tmp_path), values[0])


def test_signed_values_in_twelve_bits(tmp_path: Path) -> None:
    values = factory.stored((6, 5, 1), low=-2048, high=2048)
    factory.series(tmp_path, values.view(np.uint16) & 0x0FFF, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(first_slice(tmp_path), values[0])


def test_eight_and_thirty_two_bits(tmp_path: Path) -> None:
    values = factory.stored((6, 5, 1), high=256)
    factory.series(tmp_path / "8", values.astype(np.uint8), BitsStored=8, HighBit=7)
    factory.series(tmp_path / "32", values.astype(np.uint32), BitsStored=32, HighBit=31)
    for name in ("8", "32"):
        np.testing.assert_array_equal(first_slice(tmp_path / name), values[0])


def test_inverted_display_of_mr_is_turned_round(tmp_path: Path) -> None:
    values = factory.stored((6, 5, 1))
    factory.series(tmp_path, values, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(first_slice(tmp_path), 4095 - values[0])


@pytest.mark.parametrize("padding", [-2000, 63536])
def test_padding_of_mr_becomes_nothing(tmp_path: Path, padding: int) -> None:
    values = factory.stored((6, 5, 1), low=-100, high=2000)
    values[0, 0] = -2000
    kind = "SS" if padding < 0 else "US"
    factory.series(tmp_path, values, PixelPaddingValue=DataElement(0x00280120, kind, padding))
    found = first_slice(tmp_path)
    assert not found[0].any()
    np.testing.assert_array_equal(found[1:], values[0, 1:])


@pytest.mark.parametrize("encode", list(factory.ENCODERS.values()))
def test_a_picture_larger_than_declared_is_not_decoded(tmp_path: Path, encode: object) -> None:
    assert callable(encode)
    stream = encode(np.zeros((40, 30), np.uint16))
    assert stream_size(stream) == (40, 30, 1)
    for name, picture in (("large", stream), ("cut", stream[:30]), ("none", b"\0" * 40)):
        data = factory.slice_file(factory.stored()[0], (0, 0, 0))
        factory.save(data, tmp_path / name / "x", "jpeg")
        data.PixelData = encapsulate([picture])
        data["PixelData"].is_undefined_length = True
        data.save_as(tmp_path / name / "x")
        with pytest.raises(InputError, match="compressed picture"):
            read_dicom(tmp_path / name, {}, "t1")


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_file, "INFLATED_BYTES", 1000)
    monkeypatch.setattr(dicom_file, "INFLATED_RATIO", 1)
    factory.series(tmp_path, np.zeros((1, 400, 400), np.uint16), syntax="deflated")
    assert [item.reason for item in scan_dicom(tmp_path)[1]] == ["its deflated part unpacks to more than 0 MiB"]


def test_bits_that_make_no_sense(tmp_path: Path) -> None:
    factory.series(tmp_path / "a", HighBit=15, BitsStored=12)
    factory.series(tmp_path / "b", PixelRepresentation=None)
    factory.series(tmp_path / "c", PixelRepresentation=7)
    factory.series(tmp_path / "d", BitsStored=17, HighBit=None)
    factory.series(tmp_path / "e", BitsStored=0)
    for name, words in (
        ("a", r"bits make no sense \(allocated 16, stored 12, highest 15\)"),
        ("b", r"signed is not said \(PixelRepresentation\)"),
        ("c", r"signed is not said \(PixelRepresentation 7\)"),
        ("d", r"\(allocated 16, stored 17, highest unknown\)"),
        ("e", r"\(allocated 16, stored 0, highest 11\)"),
    ):
        with pytest.raises(InputError, match=words):
            read_dicom(tmp_path / name, {}, "t1")


def test_an_unknown_compression(tmp_path: Path) -> None:
    (path,) = factory.series(tmp_path, factory.stored((6, 5, 1)), syntax="rle")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.9\0")
    path.write_bytes(content)
    with pytest.raises(InputError, match="compression is not supported"):
        read_dicom(tmp_path, {}, "t1")
