"""The values of DICOM slices: decoded by pydicom and imagecodecs, checked before anything is allocated."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from mrsynth.core.errors import InputError
from mrsynth.io.dicom.file import Damaged, number, opened, quiet, text
from mrsynth.io.dicom.frames import Frame

LEAST_HU = -1024.0
"""Air and less: what lies outside the scanner's circle has values that mean nothing."""

_BY_PYDICOM = frozenset({"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"})
"""Not compressed (implicit, explicit, big-endian; deflated files are unpacked when opened), and run-length coded."""

_JPEG, _JPEG_LS, _JPEG_2000 = "jpeg8_decode", "jpegls_decode", "jpeg2k_decode"

# GDCM and CharLS through pydicom's plugins end the whole process, or hang, on a damaged stream; imagecodecs' libraries
# (libjpeg-turbo 3, OpenJPEG, CharLS) do not, once size and end of the stream have been checked here.
CODECS: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": _JPEG,  # baseline, 8 bit
    "1.2.840.10008.1.2.4.51": _JPEG,  # extended, 12 bit
    "1.2.840.10008.1.2.4.57": _JPEG,  # lossless
    "1.2.840.10008.1.2.4.70": _JPEG,  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": _JPEG_LS,  # lossless
    "1.2.840.10008.1.2.4.81": _JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": _JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _JPEG_2000,  # high throughput, lossless
    "1.2.840.10008.1.2.4.202": _JPEG_2000,
    "1.2.840.10008.1.2.4.203": _JPEG_2000,
}
"""Transfer syntax → function of imagecodecs."""


def read_slices(path: Path, frames: Sequence[Frame]) -> list[np.ndarray]:
    """Return the values of some slices of one file: (rows, columns) float32 each, slope · stored + intercept.

    MR and PET padding becomes 0. CT padding and all below LEAST_HU becomes LEAST_HU. MONOCHROME1 (large is black) is
    turned round for MR, whose values mean nothing but bright and dark; HU stay.

    Args:
        path: the file.
        frames: its slices that are wanted, by rising index.

    Raises:
        InputError: where the file cannot be read or decoded, or has changed since the slices were found.
    """
    try:
        with quiet():
            with opened(path) as file:
                tags = pydicom.dcmread(file, force=True)
            _require_as_scanned(tags, frames)
            with np.errstate(all="ignore"):
                return [_values(stored, frame, tags) for stored, frame in _stored(tags, frames)]
    except Damaged as error:
        raise InputError(f"{path}: the file cannot be used.", found=str(error), do="copy or export it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read.", found=error.strerror or str(error)) from error
    except InputError:
        raise
    except Exception as error:  # the decoders raise many kinds; whatever it is, the pixels are damaged
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path}: the pixels cannot be decoded.", found=found, do="copy or export the file again"
        ) from error


def _require_as_scanned(tags: Dataset, frames: Sequence[Frame]) -> None:
    """Raise Damaged if the file is no longer what its header said when it was found."""
    if "PixelData" not in tags:
        raise Damaged("its pixels are cut off")  # its header promised some
    for frame in frames:
        if (number(tags, "Rows"), number(tags, "Columns")) != (frame.rows, frame.columns):
            raise Damaged("it changed while it was read")
    bits, stored, high = (number(tags, key) for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if bits is None or stored is None or not 1 <= stored <= bits or (high is not None and high != stored - 1):
        said = ("unknown" if value is None else f"{value:g}" for value in (bits, stored, high))
        raise Damaged("its bits make no sense (allocated {}, stored {}, highest {})".format(*said))
    if (signed := number(tags, "PixelRepresentation")) not in (0, 1):
        said_signed = "" if signed is None else f" {signed:g}"
        raise Damaged(f"whether its values are signed is not said (PixelRepresentation{said_signed})")


def _stored(tags: Dataset, frames: Sequence[Frame]) -> Iterator[tuple[np.ndarray, Frame]]:
    """Yield the stored values of slices, (rows, columns) integers each."""
    meta = getattr(tags, "file_meta", Dataset())
    syntax = text(meta, "TransferSyntaxUID")
    if syntax in CODECS:
        yield from _decompressed(tags, frames, CODECS[syntax])
        return
    if syntax not in _BY_PYDICOM:
        raise InputError(
            f"{frames[0].path}: its compression is not supported.",
            found=UID(syntax).name,
            expected="uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000",
            do="export the series uncompressed",
        )
    implicit = tags.original_encoding[0]
    decoder = get_decoder(UID(syntax or ("1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1")))
    options: dict[str, Any] = {
        "rows": frames[0].rows,
        "columns": frames[0].columns,
        "number_of_frames": int(number(tags, "NumberOfFrames") or 1),
        "samples_per_pixel": 1,
        "photometric_interpretation": text(tags, "PhotometricInterpretation"),
        "bits_allocated": int(number(tags, "BitsAllocated") or 0),
        "bits_stored": int(number(tags, "BitsStored") or 0),
        "pixel_representation": int(number(tags, "PixelRepresentation") or 0),
        "pixel_keyword": "PixelData",
        "pixel_vr": tags["PixelData"].VR,
    }
    if syntax.endswith(".5"):
        options["decoding_plugin"] = "pydicom"
    buffer = tags.PixelData
    for frame in frames:
        values, _ = decoder.as_array(buffer, index=frame.index, raw=True, **options)
        yield values, frame


def _decompressed(tags: Dataset, frames: Sequence[Frame], codec: str) -> Iterator[tuple[np.ndarray, Frame]]:
    """Yield the stored values of compressed slices."""
    decode = getattr(importlib.import_module("imagecodecs"), codec)
    wanted = {frame.index: frame for frame in frames}
    bits, signed = int(number(tags, "BitsStored") or 0), number(tags, "PixelRepresentation") == 1
    found = 0
    count = int(number(tags, "NumberOfFrames") or 1)
    for index, stream in enumerate(generate_frames(tags.PixelData, number_of_frames=count)):
        if index not in wanted:
            continue
        frame = wanted[index]
        stream = stream.rstrip(b"\0") if codec == _JPEG_LS else stream
        size = stream_size(stream)
        if size != (frame.rows, frame.columns, 1):
            raise Damaged(
                f"its compressed picture has {size} rows, columns, colours; {frame.rows, frame.columns, 1} said"
            )
        if codec == _JPEG_LS and not stream.endswith(b"\xff\xd9"):
            raise Damaged("its compressed picture is cut off")  # CharLS would look for the end for very long
        values = decode(stream)
        if values.shape != (frame.rows, frame.columns):
            raise Damaged(f"its compressed picture has the shape {values.shape}")
        # Codecs know the number of bits, some not their sign: keep those that are stored, then give them theirs.
        values = values.astype(np.int32 if bits <= 16 else np.int64) & ((1 << bits) - 1)
        yield (values - ((values >> (bits - 1)) << bits) if signed else values), frame
        found += 1
    if found != len(frames):
        raise Damaged(f"{found} of {len(frames)} pictures in it")


def stream_size(stream: bytes) -> tuple[int, int, int]:
    """Return (rows, columns, colours) that a JPEG, JPEG-LS or JPEG 2000 stream declares; raises Damaged if it does not.

    From the frame header SOFn (ITU-T T.81 B.2.2, T.87 C.2.2) or the SIZ marker (T.800 A.5.1).
    """
    if stream[:4] == b"\xff\x4f\xff\x51" and len(stream) >= 42:
        right, bottom, left, top = struct.unpack(">4I", stream[8:24])
        return bottom - top, right - left, int.from_bytes(stream[40:42], "big")
    at = 2
    while stream[:2] == b"\xff\xd8" and at + 10 <= len(stream) and stream[at] == 0xFF:
        mark = stream[at + 1]
        if mark == 0xFF:  # filling
            at += 1
        elif mark == 0xF7 or (0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC)):
            rows, columns, colours = struct.unpack(">HHB", stream[at + 5 : at + 10])
            return rows, columns, colours
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    raise Damaged("its compressed picture has no header")


def _values(stored: np.ndarray, frame: Frame, tags: Dataset) -> np.ndarray:
    """Return slope · stored + intercept with padding and MONOCHROME1 seen to, float32."""
    modality = text(tags, "Modality")
    bits, signed = int(number(tags, "BitsStored") or 0), number(tags, "PixelRepresentation") == 1
    outside = _padding(stored, tags, signed)
    if modality == "MR" and text(tags, "PhotometricInterpretation") == "MONOCHROME1":
        stored = (-1 if signed else (1 << bits) - 1) - stored.astype(np.int64)
    values = stored * float(frame.slope) + frame.intercept
    values[outside] = LEAST_HU if modality == "CT" else 0.0
    if modality == "CT":
        values = np.maximum(values, LEAST_HU)
    return values.astype(np.float32)


def _padding(stored: np.ndarray, tags: Dataset, signed: bool) -> np.ndarray:
    """Return where a slice holds PixelPaddingValue (to PixelPaddingRangeLimit), (rows, columns) bool."""
    ends = [number(tags, key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(stored.shape, bool)
    # Some scanners write the unsigned reading of a negative value.
    half = 1 << (int(number(tags, "BitsAllocated") or 16) - 1)
    values = [end - 2 * half if signed and end >= half else end for end in ends if end is not None]
    return (stored >= min(values)) & (stored <= max(values))
