"""One DICOM file, opened safely: its header without the pixels, what it is, and why it may be no image for us."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from mrsynth.io.nifti_header import MAX_VOXELS, MOST_VOXELS

INFLATED_BYTES, INFLATED_RATIO = 1 << 25, 64
"""What a deflated file may unpack to: so many bytes, or so many times its own size. A blank slice has half a MiB."""

MANY_PIXELS, PACKED_RATIO = 1 << 22, 2000
"""A compressed file that claims more than so many pixels holds a byte at least for so many of theirs."""

SOON = 1 << 15
"""Bytes of a file within which most headers end."""

MODALITIES = ("MR", "CT", "PT", "")
"""What may be a volume of a head; "" where an anonymiser took the tag away."""

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PIXELS = {b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"}
_FLOAT_PIXELS = {b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09"}
_PLAIN = re.compile(r"1\.2\.840\.10008\.1\.2(\.[12])?")
_SECONDARY_CAPTURE = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.7(\.\d+)?")
_DIRECTORY = "1.2.840.10008.1.3.10"
_SEVERAL = (list, tuple, MultiValue)
_WORDS = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UI"})
_DIGITS = {
    "IS": re.compile(rb" *[-+]?\d{1,9} *(\\ *[-+]?\d{1,9} *)*"),
    "DS": re.compile(rb" *[-+]?\d+(\.\d*)?(e[-+]?\d+)? *(\\ *[-+]?\d+(\.\d*)?(e[-+]?\d+)? *)*", re.I),
}
"""How numbers are written that pydicom keeps as they stand."""


class Tags(Protocol):
    """What values are read from: a data set, or several on top of each other."""

    def get(self, key: str, default: object = None, /) -> object:
        """Return the value of a keyword.

        Args:
            key: a keyword of the standard.
            default: what is returned where the keyword is missing.
        """


class Damaged(Exception):
    """A DICOM file that cannot be used; the text says why and becomes part of an InputError or of an Ignored."""


@dataclass(frozen=True)
class Header:
    """What a file says before its pixels.

    Attributes:
        tags: everything before the pixels.
        syntax: the transfer syntax.
        pixels: "plain", "float" or "" for none.
        stored_bytes: how many bytes the file holds from the pixels' element on.
    """

    tags: Dataset
    syntax: str
    pixels: str
    stored_bytes: int


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks on odd values from the user's terminal; what matters is judged here."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Yield the file; a deflated one is unpacked in memory, as far as its size allows. Raises OSError, Damaged."""
    with path.open("rb") as file:
        head = file.read(2048)
        file.seek(0)
        place = head.find(_DEFLATED)
        if head[128:132] != b"DICM" or place < 0:
            yield file
            return
        # The file's meta information is never deflated; (0002,0000) says where it ends.
        start = 144 + int.from_bytes(head[140:144], "little")
        if not place < start <= len(head):
            raise Damaged("its meta information is damaged")
        file.seek(start)
        most = max(INFLATED_BYTES, INFLATED_RATIO * path.stat().st_size)
        unpack = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            body = unpack.decompress(file.read(), most)
        except zlib.error as error:
            raise Damaged(f"its deflated part is damaged ({error})") from error
        if not unpack.eof:
            cut = "is cut off" if len(body) < most else f"unpacks to more than {most >> 20} MiB"
            raise Damaged(f"its deflated part {cut}")
        plain = ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")
        yield io.BytesIO(head[:start].replace(_DEFLATED, plain, 1) + body)


def read_header(path: Path) -> Header:
    """Read a file up to its pixels; call it inside `quiet`. Raises Damaged, whatever is wrong with the file."""
    try:
        with opened(path) as file:
            tags, place, mark = _read(file)
            stored = file.seek(0, io.SEEK_END) - place
    except Damaged:
        raise
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror or error})") from error
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise Damaged(f"damaged ({_short(error)})") from error
    meta = getattr(tags, "file_meta", None)
    syntax = text(meta, "TransferSyntaxUID") if meta is not None else ""
    pixels = "plain" if mark in _PIXELS else "float" if mark in _FLOAT_PIXELS else ""
    if not len(tags):
        raise Damaged("damaged (no element can be read)")
    return Header(tags, syntax, pixels, stored)


def _read(file: BinaryIO) -> tuple[Dataset, int, bytes]:
    """Return what stands before the pixels, where these begin, and the bytes there. Most files say so in the first
    bytes, which are read from memory: pydicom asks for its place in the file at every element."""
    start = io.BytesIO(file.read(SOON))
    try:
        tags = pydicom.dcmread(start, stop_before_pixels=True, force=True)
        place, mark = start.tell(), start.read(4)
        if len(mark) == 4:
            return tags, place, mark
    except Exception:  # whatever cut bytes do to pydicom
        pass
    file.seek(0)
    tags = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    return tags, file.tell(), file.read(4)


def not_an_image(header: Header) -> str | None:
    """Return why a file is no slice or volume of a head, None where it may be one."""
    tags = header.tags
    kind = text(tags, "SOPClassUID") or text(getattr(tags, "file_meta", Dataset()), "MediaStorageSOPClassUID")
    name = UID(kind).name if kind else "unknown object"
    kinds = {word.upper() for word in text(tags, "ImageType").split("\\")}
    modality, colours = text(tags, "Modality"), text(tags, "PhotometricInterpretation")
    bits = number(tags, "BitsAllocated")
    if kind == _DIRECTORY or "DirectoryRecordSequence" in tags:
        return "a DICOMDIR: the files it lists are read themselves"
    if not header.pixels:
        return f"no pixel data ({name})"
    if _SECONDARY_CAPTURE.fullmatch(kind):
        return "a secondary capture, no acquired image"
    if modality not in MODALITIES:
        return f"modality {modality}: neither MR nor CT"
    if header.pixels == "float":
        return f"floating-point pixels ({name})"
    if number(tags, "SamplesPerPixel") not in (1, None) or colours not in ("MONOCHROME1", "MONOCHROME2"):
        return f"no grey-scale image ({colours or 'no photometric interpretation'})"
    if "LOCALIZER" in kinds:
        return "a localizer"
    if "MOSAIC" in kinds and "PerFrameFunctionalGroupsSequence" not in tags:
        return "a Siemens mosaic (all slices in one picture): convert it to NIfTI, e.g. with dcm2niix"
    if kinds & {"SCREEN SAVE", "SCREENSHOT"}:
        return "a screen shot"
    if bits not in (8, 16, 32):
        return f"{'no' if bits is None else f'{bits:g}'} bits a pixel, 8, 16 or 32 can be read"
    return _size_problem(header)


def _size_problem(header: Header) -> str | None:
    """Return what is wrong with the declared size, judged before anything is allocated."""
    tags = header.tags
    rows, columns, bits = (number(tags, key) or 0 for key in ("Rows", "Columns", "BitsAllocated"))
    frames = number(tags, "NumberOfFrames")
    count = rows * columns * (1 if frames is None else frames)
    if count < 1:
        return "its rows and columns are missing"
    if count > MAX_VOXELS:
        return f"too large ({columns:g} × {rows:g} × {1 if frames is None else frames:g} voxels): {MOST_VOXELS}"
    if (not header.syntax or _PLAIN.fullmatch(header.syntax)) and header.stored_bytes < count * bits / 8:
        return f"cut off ({header.stored_bytes} bytes of pixels, {count * bits / 8:.0f} declared)"
    if count > MANY_PIXELS and header.stored_bytes * PACKED_RATIO < count * (bits or 8) / 8:
        return f"its {header.stored_bytes} bytes of pixels are too few for {columns:g} × {rows:g} × {frames or 1:g}"
    # Run-length coding gives 2 bytes at least for 128 pixels, the others far more: a frame has some bytes at least.
    return "no pixels behind its header" if header.stored_bytes < 16 else None


def text(tags: Tags, keyword: str) -> str:
    r"""Return a value as text, several joined by \\ , "" where it is missing or unreadable.

    Args:
        tags: what is read from.
        keyword: a keyword of the standard.
    """
    value = _value(tags, keyword)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\0", "").strip()
    parts = value if isinstance(value, _SEVERAL) else [value]
    return "\\".join("" if part is None else str(part).replace("\0", "").strip() for part in parts)


def numbers(tags: Tags, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return a value of so many finite numbers, None where it is not that.

    Args:
        tags: what is read from.
        keyword: a keyword of the standard.
        count: how many numbers it must have.
    """
    value = _value(tags, keyword)
    parts = list(value) if isinstance(value, _SEVERAL) else [value]
    try:
        found = tuple(float(cast(str, part)) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and all(map(isfinite, found)) else None


def number(tags: Tags, keyword: str) -> float | None:
    """Return a value's first number, None where there is none or it is not finite.

    Args:
        tags: what is read from.
        keyword: a keyword of the standard.
    """
    value = _value(tags, keyword)
    if value is None:
        return None
    if not isinstance(value, str) and isinstance(value, _SEVERAL):
        value = value[0] if len(value) else None
    try:
        found = float(cast(str, value))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def _value(tags: Tags, keyword: str) -> object:
    try:
        return value_of(tags, keyword) if isinstance(tags, Dataset) else tags.get(keyword)
    except Exception:  # a value that its VR cannot hold is converted, and fails, only here
        return None


def value_of(tags: Dataset, keyword: str) -> object:
    """Return a data set's value of a keyword, None where it is missing; several times as fast as `Dataset.get`.

    What pydicom has not converted yet is plain text here, several values a list, where that says the same.

    Args:
        tags: The data set.
        keyword: A keyword of the standard.
    """
    tag, kind = _tag(keyword)
    element = None if tag is None else tags.get_item(tag, keep_deferred=True)
    if element is None:
        return None
    if not isinstance(element, RawDataElement):
        return element.value
    plain = _plain(element.value, element.VR or kind, element.is_little_endian) if element.value else None
    return tags[element.tag].value if plain is None else plain


def _plain(value: bytes, kind: str, little_endian: bool) -> object:
    """Return a stored value of a kind (VR) that needs no knowledge of character sets; None for all others."""
    if kind == "US" and len(value) == 2:
        return int.from_bytes(value, "little" if little_endian else "big")
    if not (kind in _WORDS or (kind in _DIGITS and _DIGITS[kind].fullmatch(value))):
        return None
    if not value.isascii() or b"\x1b" in value:
        return None
    said = value.decode("ascii").rstrip("\0 ")
    return said if "\\" not in said else said.split("\\")


@cache
def _tag(keyword: str) -> tuple[BaseTag | None, str]:
    """Return a keyword's tag and its kind of value (VR), None and "" where the standard has no such keyword."""
    number = tag_for_keyword(keyword)
    return (None, "") if number is None else (BaseTag(number), dictionary_VR(number))


def _short(error: Exception) -> str:
    """Return an error's first line, cut: damaged bytes may make it long."""
    line = (str(error) or type(error).__name__).splitlines()[0]
    return "".join(c if c.isprintable() else "?" for c in line)[:100]
