"""The b-value and the direction of a diffusion-weighted image, from the standard's tags or a vendor's own."""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from mrsynth.io.dicom.file import Tags, number, numbers, text

MAX_B_S_MM2 = 1e5

Direction = tuple[float, ...] | Literal["isotropic"] | None
"""A unit vector; "isotropic" for an image made of several directions; None where it is unknown."""

_MAPS = frozenset({"ADC", "EADC", "FA", "TENSOR", "COLFA", "RA", "VR", "AVE_DC", "TENSOR_B0", "EXP"})
_TRACES = frozenset({"TRACEW", "TRACE", "ISOTROPIC", "ISO"})
_CANON_B = re.compile(r"\bb ?= ?(\d{1,5}(?:\.\d*)?)\b", re.I)
_WORDS = re.compile(r"diff|\bdw|dti|trace|\badc|\bb ?=?\d", re.I)


def diffusion(tags: Tags, top: Dataset, image_type: str) -> tuple[float | None, Direction]:
    """Return (b-value in s/mm², direction) of one image, (None, None) for one that is not diffusion-weighted.

    Tags are looked at in order: (0018,9087) of the standard, Siemens (0019,100C) and CSA header, Philips (2001,1003),
    GE (0043,1039), UIH (0065,1009), Canon's comment (0020,4000), "b=1000(0,0,0)". A map made of several b-values (ADC,
    FA) has none.

    Args:
        tags: the frame's.
        top: the file's data set, where private tags stand.
        image_type: ImageType as the file says it, several values joined by a backslash.
    """
    kinds = {kind.upper() for kind in image_type.split("\\")}
    if text(top, "Modality") not in ("MR", "") or kinds & _MAPS:
        return None, None
    b = number(tags, "DiffusionBValue")
    b = _vendor_b(top) if b is None else b
    if b is None or not 0 <= b < MAX_B_S_MM2:
        return None, None
    if kinds & _TRACES or text(tags, "DiffusionDirectionality").upper() == "ISOTROPIC":
        return b, "isotropic"
    return b, _direction(tags, top)


def says_diffusion(tags: Tags, top: Dataset, image_type: str) -> bool:
    """Say whether the words of an image name diffusion; b = 0 alone does not: Philips writes it into all its images.

    Args:
        tags: the frame's.
        top: the file's data set, where the series' names stand.
        image_type: ImageType as the file says it, several values joined by a backslash.
    """
    if "DIFFUSION" in image_type.upper().split("\\") or text(tags, "AcquisitionContrast").upper() == "DIFFUSION":
        return True
    return any(_WORDS.search(text(top, key)) for key in ("SeriesDescription", "ProtocolName", "SequenceName"))


def _vendor_b(top: Dataset) -> float | None:
    """Return the b-value of a vendor's private tag."""
    found = _private(top, 0x0019, 0x0C, "SIEMENS MR HEADER")
    if found is None and "EP" in text(top, "ScanningSequence"):
        found = _csa_b(top)
    if found is None:
        found = _private(top, 0x2001, 0x03, "Philips Imaging DD 001")
    if found is None:
        found = _private(top, 0x0043, 0x39, "GEMS_PARM_01")
        # GE adds 1e9 to b-values of some sequences.
        found = None if found is None else found % 1e5
    if found is None:
        found = _private(top, 0x0065, 0x09, "Image Private Header")
    if found is None and (comment := _CANON_B.search(text(top, "ImageComments"))):
        found = float(comment.group(1))
    return found


def philips_scale(tags: Tags, top: Dataset) -> float | None:
    """Return Philips' private scale slope (2005,100E) of a frame, None where there is none above 0.

    Args:
        tags: the frame's; where they are `Layers`, each of these is looked at.
        top: the file's data set, which is looked at first.
    """
    value = _private(top, 0x2005, 0x0E, "Philips MR Imaging DD 001")
    if value is None:
        for layer in getattr(tags, "layers", ()):
            value = value or _private(layer, 0x2005, 0x0E, "Philips MR Imaging DD 001")
    return value if value and 0 < value < 1e12 else None


def _csa_b(top: Dataset) -> float | None:
    """Return the b-value of Siemens' CSA header, where older software keeps it."""
    try:
        from nibabel.nicom import csareader  # warns on import that it is young

        header = csareader.get_csa_header(top, "image")
        value = csareader.get_b_value(header) if header else None
        return value if value is None else float(value)
    except Exception:  # nibabel raises many kinds on damaged bytes
        return None


def _direction(tags: Tags, top: Dataset) -> Direction:
    """Return the direction of the gradient, in any frame: it only tells images apart."""
    found = numbers(tags, "DiffusionGradientOrientation", 3)
    if found is None:
        element = _private_value(top, 0x0019, 0x0E, "SIEMENS MR HEADER")
        found = _floats(element) or None
    if found is None:
        ge = [_private(top, 0x0019, part, "GEMS_ACQU_01") for part in (0xBB, 0xBC, 0xBD)]
        found = None if None in ge else tuple(float(x) for x in ge if x is not None)
    return None if found is None else tuple(round(x, 4) for x in found)


def _private(top: Dataset, group: int, part: int, creator: str) -> float | None:
    """Return a private element's first number, None where it is missing."""
    value = _private_value(top, group, part, creator)
    found = _floats(value)
    return found[0] if found else None


def _private_value(top: Dataset, group: int, part: int, creator: str) -> object:
    try:
        if top.keys().isdisjoint(_blocks(group)):
            return None
        return top.private_block(group, creator)[part].value
    except Exception:  # no such block or element; or a value that its VR cannot hold
        return None


@cache
def _blocks(group: int) -> tuple[BaseTag, ...]:
    """Return the first places where a private group names its creators; nearly all take the first."""
    return tuple(BaseTag(group << 16 | place) for place in range(0x10, 0x20))


def _floats(value: object) -> tuple[float, ...]:
    r"""Return the numbers of a private value; as UN it is text with \\ between numbers, or binary."""
    if value is None:
        return ()
    try:
        if isinstance(value, bytes):
            if re.fullmatch(rb"[-+.\deE\\ ]+\0*", value):  # a binary 0 is all zero bytes
                return tuple(float(part) for part in value.decode("ascii").strip("\0 ").split("\\"))
            kind = "d" if len(value) % 8 == 0 else "f"
            return struct.unpack(f"<{len(value) // struct.calcsize(kind)}{kind}", value)
        parts = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
        return tuple(float(part) for part in parts)
    except (TypeError, ValueError, struct.error):
        return ()
