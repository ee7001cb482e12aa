"""A NIfTI header, judged before any voxel is read: what it says must be possible, small enough and usable."""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from mrsynth.core.errors import InputError

MAX_VOXELS = 2**29
"""Larger volumes are refused before memory is asked for: a few MB of .nii.gz can declare them. A head at 0.25 mm
(880 × 880 × 640) and a CT of a whole body (512 × 512 × 2000) have fewer."""

MOST_VOXELS = f"at most {MAX_VOXELS >> 20} Mi voxels ({MAX_VOXELS >> 28} GiB as float32)"
"""The same in words."""

MAX_OFFSET = 2**28
"""Most bytes between header and voxels (extensions live there)."""

EDGE_MM = (1e-3, 1e3)
"""Voxel edges outside this are no image of a head, whatever the unit."""

SYNTHETIC = "SYNTHETIC"
"""The word with which the description of every image begins that was not acquired."""

FREE_TEXT = ("descrip", "aux_file", "intent_name", "db_name", "data_type", "unused_str")
"""Fields of NIfTI-1 and -2 that hold any text: converters put names, numbers and birth dates of patients there."""


class _Repairs(logging.Handler):
    """Keeps what nibabel repairs in a header, in its words."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.told.append(record.getMessage())


@dataclass(frozen=True, eq=False)
class Layout:
    """What a header says of its voxels.

    Attributes:
        header: nibabel's.
        shape: three axes.
        volumes: how many of these follow one another.
        dtype: of the voxels as they are stored.
        offset: bytes from the file's start to the voxels.
        slope, inter: value = slope · voxel + inter, slope None where values are stored as they are.
        affine: 4×4, mm.
        repairs: what was wrong in the header and how it was taken, in nibabel's words.
    """

    header: Any
    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    offset: int
    slope: float | None
    inter: float
    affine: np.ndarray
    repairs: tuple[str, ...] = ()


def parse_header(stream: BinaryIO | gzip.GzipFile, path: Path) -> tuple[int, Any, tuple[str, ...]]:
    """Read the header (NIfTI-1 or -2, either byte order) off a stream.

    Args:
        stream: The file, at its beginning.
        path: Its name, for messages.

    Returns:
        The bytes read, nibabel's header, and what nibabel repaired in it.

    Raises:
        InputError: The file does not begin with a single-file NIfTI header.
    """
    block = stream.read(348)
    kind = nib.Nifti1Header
    if block[4:8] == b"n+2\0":
        block += stream.read(540 - 348)
        kind = nib.Nifti2Header
    elif block[344:348] != b"n+1\0":
        raise InputError(
            f"{path}: is not a NIfTI file.",
            found=_describe(block),
            expected="a NIfTI header (.nii or .nii.gz)",
            do="convert the image to NIfTI",
        )
    repairs, logger = _Repairs(), logging.Logger("mrsynth.io.nifti")
    logger.addHandler(repairs)
    try:
        header = kind(block, check=False)
        header.check_fix(logger=logger)
    except Exception as error:  # nibabel raises many kinds; whatever it is, the header is damaged
        raise InputError(f"{path}: the NIfTI header is damaged.", found=str(error) or type(error).__name__) from error
    return len(block), header, tuple(repairs.told)


def header_from_block(block: bytes) -> Any:
    """Return nibabel's header of the bytes that `header.binaryblock` gave."""
    return (nib.Nifti1Header if len(block) == 348 else nib.Nifti2Header)(block, check=False)


def description_of(header: Any) -> str:
    """Return a header's `descrip` as text."""
    return bytes(header["descrip"].item()).decode("ascii", "replace").strip("\0 ")


def without_identity(header: Any) -> Any:
    """Return a copy of a header without extensions and free text, which may hold the patient's identity; a description
    that says SYNTHETIC stays, for it must not be lost."""
    clean = header.copy()
    clean.extensions = type(clean.extensions)()
    for field in FREE_TEXT:
        if field in clean and not (field == "descrip" and description_of(clean).startswith(SYNTHETIC)):
            clean[field] = b""
    return clean


def read_layout(header: Any, path: Path) -> Layout:
    """Return what a header says of its voxels, judged before any of them is read.

    Args:
        header: nibabel's header, as `parse_header` returns it.
        path: The file's name, for messages.

    Raises:
        InputError: The header is damaged, or its voxels are no plain numbers, too many, or no volumes with a place in
            space.
    """
    shape, volumes = _shape(header, path)
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(
            f"{path}: voxels are not plain numbers.",
            found="complex numbers" if dtype.kind == "c" else "colours",
            expected="integers or floating point",
            do="export the magnitude image" if dtype.kind == "c" else "export the grey-scale image",
        )
    offset = float(header["vox_offset"])
    if not header.single_vox_offset <= offset <= MAX_OFFSET:
        raise InputError(
            f"{path}: the NIfTI header is damaged.",
            found=f"voxels from byte {offset:g} on",
            expected=f"from byte {header.single_vox_offset} to {MAX_OFFSET}",
            do="export the image again",
        )
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):  # the standard's way to say: not scaled
        return Layout(header, shape, volumes, dtype, int(offset), None, 0.0, _affine(header, path))
    if not np.isfinite(inter):
        raise InputError(f"{path}: the NIfTI header is damaged.", found=f"scl_slope {slope:g}, scl_inter {inter:g}")
    scale = None if (slope, inter) == (1.0, 0.0) else slope
    return Layout(header, shape, volumes, dtype, int(offset), scale, inter, _affine(header, path))


def _shape(header: Any, path: Path) -> tuple[tuple[int, int, int], int]:
    """Return the three axes' lengths and how many volumes there are; trailing axes of length 1 are dropped."""
    shape = [int(n) for n in header.get_data_shape()]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) > 4:
        raise InputError(
            f"{path}: the image has {len(shape)} dimensions.",
            found="shape " + " × ".join(map(str, shape)),
            expected="one 3-D volume, or a 4-D series of them",
            do="split it and give one volume of it",
        )
    volumes = shape.pop() if len(shape) == 4 else 1
    shape += [1] * (3 - len(shape))
    if min(shape) < 1 or sum(n > 1 for n in shape) < 2:
        raise InputError(
            f"{path}: the image is not a volume.", found="shape " + " × ".join(map(str, shape)), expected="2-D or 3-D"
        )
    count = shape[0] * shape[1] * shape[2]
    if count > MAX_VOXELS:
        raise InputError(
            f"{path}: the image is too large.",
            found=f"shape {' × '.join(map(str, shape))}: {count:.3g} voxels",
            expected=MOST_VOXELS,
            do="check the header; if it is right, resample the image first",
        )
    if volumes < 1:
        raise InputError(f"{path}: the series holds no volume.", found=f"{volumes} volumes", expected="at least one")
    return (shape[0], shape[1], shape[2]), volumes


def _affine(header: Any, path: Path) -> np.ndarray:
    """Return the 4×4 affine (sform, else qform, else the spacing alone), in mm."""
    unit = {1: "metre", 3: "micrometre"}.get(int(header["xyzt_units"]) & 7)
    if unit:
        raise InputError(
            f"{path}: positions are not in mm.", found=unit, expected="mm", do="rewrite the header's affine and unit"
        )
    try:
        affine = np.asarray(header.get_best_affine(), float)
    except Exception as error:  # a quaternion that is none
        raise InputError(f"{path}: the image's geometry is damaged.", found=str(error)) from error
    with np.errstate(all="ignore"):
        edges = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        # The volume of a voxel over that of a box with its edges: 1 for right angles, 0 for a flat voxel.
        skew = abs(np.linalg.det(affine[:3, :3] / edges)) if np.isfinite(affine).all() and edges.all() else 0.0
    if not (np.isfinite(affine).all() and skew > 1e-3):
        raise InputError(
            f"{path}: the image's geometry is damaged.",
            found="affine " + np.array2string(affine[:3], precision=3, separator=" ").replace("\n", ""),
            expected="finite numbers and three independent axes",
            do="export the image again",
        )
    if edges.min() < EDGE_MM[0] or edges.max() > EDGE_MM[1]:
        raise InputError(
            f"{path}: the voxels' size is impossible.",
            found=" × ".join(f"{edge:.4g}" for edge in edges) + " mm",
            expected=f"edges from {EDGE_MM[0]:g} to {EDGE_MM[1]:g} mm",
            do="export the image again",
        )
    return affine


def _describe(block: bytes) -> str:
    """Say in words what a file's first bytes look like."""
    if block[128:132] == b"DICM":
        return "a DICOM file"
    if block[344:348] == b"ni1\0":
        return "a NIfTI header of a .hdr/.img pair"
    if block.startswith(b"\x1f\x8b"):
        return "a file compressed twice"
    if block and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in block):
        return f"text beginning with {block[:30].decode('ascii')!r}"
    return f"{len(block)} bytes" if len(block) < 348 else f"bytes beginning with {block[:4].hex(' ')}"
