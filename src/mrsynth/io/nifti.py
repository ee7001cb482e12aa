"""NIfTI in and out: images are read with their axes nearest to RAS+ and written back onto the patient's own grid."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.files import atomic_file
from mrsynth.core.image import Image, Native, same_grid
from mrsynth.core.types import MASKS, contrast_name
from mrsynth.io.nifti_header import Layout, without_identity
from mrsynth.io.nifti_stream import Stream, is_nifti, read_labels, read_values

GZIP_LEVEL = 1
"""Measured on a float32 head of 36 MB: level 1 takes 0.14 s and 5.2 MB, level 6 0.19–0.43 s and 5.0 MB."""

DESCRIPTION_BYTES = 79
"""NIfTI's `descrip` holds 80 bytes, the last of them zero."""


def read_image(path: Path, contrast: str, volumes: Sequence[int] | None = None, *, constant: bool = False) -> Image:
    """Read a NIfTI volume as an image of a contrast: float32, axes nearest to RAS+, voxels only flipped and permuted.

    Trailing axes of length 1 are dropped. A 2-D image becomes one slice.

    Args:
        path: a file named .nii or .nii.gz.
        contrast: any spelling that `types` knows.
        volumes: indices into a 4-D file, from 0 on. Of several the geometric mean is taken (of the directions of one
            b-value: close to the trace-weighted image).
        constant: whether all voxels may be equal.

    Raises:
        InputError: where the file is missing, empty, damaged or no NIfTI; where it has more than three dimensions and
            `volumes` is None, complex or colour voxels, or no usable geometry; where the image is constant; or where a
            voxel is NaN or infinite.
    """
    name = contrast_name(contrast)
    data, layout = read_values(path, volumes)
    _refuse_bad_voxels(data, path, constant)
    return _as_ras(data, layout, name)


def read_mask(path: Path, name: str = "brain") -> Image:
    """Read a NIfTI volume as a mask: uint8, axes nearest to RAS+.

    Args:
        path: a file named .nii or .nii.gz; the mask in it may be empty.
        name: of MASKS. `lesion` keeps its integer labels; `brain` and `enhancing` may hold 0 and one other value, which
            becomes 1.

    Raises:
        InputError: as `read_image` does; where there is no such mask; or where values are no labels.
    """
    if name not in MASKS:
        raise InputError(f"'{name}' is not a mask.", expected="one of " + ", ".join(MASKS))
    labels, layout, odd = read_labels(path)
    if odd is not None:
        raise InputError(
            f"{path}: is not a mask.",
            found=f"{odd:g} among its values",
            expected="whole numbers from 0 to 255",
            do="threshold it, or name it as the image that it is",
        )
    if name != "lesion":
        found = np.unique(labels)
        if np.count_nonzero(found) > 1:
            raise InputError(
                f"{path}: is not a {name} mask.",
                found="labels " + ", ".join(f"{v:g}" for v in found[:8]),
                expected="0 and 1",
                do="keep one label, or name the file as a lesion mask",
            )
        np.minimum(labels, 1, out=labels)
    return _as_ras(labels, layout, name)


def write_image(
    image: Image, path: Path, *, description: str | None = None, dtype: type[np.generic] | None = None
) -> None:
    """Write an image to .nii or .nii.gz, on the patient's own grid where the image knows it (`native`).

    Then voxels are flipped and permuted back, and the affine is the file's to the bit. The header keeps its fields
    (qform and sform codes, units, timing), except scaling and display range, which are reset. Extensions and free text
    are dropped: they may hold the patient's identity. Without a native grid the image is written in RAS+ with
    `image.affine`. The same image gives the same bytes.

    Args:
        image: an image or mask, (x, y, z).
        path: the file; one that is there is replaced.
        description: the header's `descrip`, cut at 79 bytes; without one it is empty, unless that of the image that was
            read says SYNTHETIC.
        dtype: of the voxels, float32 by default, uint8 for masks; voxels are rounded for integer types.

    Raises:
        OutputError: where voxels are not finite or do not fit dtype, the image left its native grid, or the file cannot
            be written.
    """
    if not is_nifti(path):
        raise OutputError(f"{path}: cannot be written.", found=f"suffix '{path.suffix}'", expected=".nii or .nii.gz")
    kind = np.dtype(dtype or (np.uint8 if image.contrast in MASKS else np.float32))
    data = _as_dtype(image.data, kind, path)
    if image.native is None:
        affine, header = np.asarray(image.affine, float), None
    else:
        data, affine, header = on_native_grid(image, data, path), image.native.affine, image.native.header
    head = _header_for(data.shape, affine, header, kind, description)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            # No name and no time in the gzip header: equal images give equal bytes.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                _put(packed, head, data)
        else:
            _put(file, head, data)


def _refuse_bad_voxels(data: np.ndarray, path: Path, constant: bool) -> None:
    """Raise InputError if any voxel is not finite or, unless they may be, if all are equal."""
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        raise InputError(
            f"{path}: the image has voxels that are not numbers.",
            found=f"{'all' if bad == data.size else bad} of {data.size} voxels are NaN or infinite",
            expected="finite voxels",
            do="export the image again, or set these voxels to a value that you choose",
        )
    if low == high and not constant:
        raise InputError(
            f"{path}: the image is constant.",
            found=f"every voxel is {low:g}",
            expected="an image",
            do="export the image again, or leave it out",
        )


def _as_ras(data: np.ndarray, layout: Layout, name: str) -> Image:
    """Return the image with its axes flipped and permuted to those nearest to RAS+ (x fastest in memory)."""
    turn = orientations.io_orientation(layout.affine)
    native = Native(data.shape, layout.affine, nib.aff2axcodes(layout.affine), layout.header)
    affine = layout.affine @ orientations.inv_ornt_aff(turn, data.shape)
    return Image(np.asfortranarray(orientations.apply_orientation(data, turn)), affine, name, native)


def on_native_grid(image: Image, data: np.ndarray, path: Path) -> np.ndarray:
    """Return voxels as they lie in the file that the image was read from (`Image.native`).

    Args:
        image: an image with its native grid.
        data: (x, y, z), axes nearest to RAS+.
        path: where it is to be written, for the message.

    Returns:
        The voxels flipped and permuted back.

    Raises:
        OutputError: if the image no longer lies on its native grid.
    """
    native = image.native
    assert native is not None
    turn = orientations.io_orientation(native.affine)
    affine = native.affine @ orientations.inv_ornt_aff(turn, native.shape)
    # Axis r of the RAS+ image is axis i of the file with turn[i, 0] == r.
    shape = tuple(int(native.shape[i]) for i in np.argsort(turn[:, 0]))
    if data.shape != shape or not same_grid(image, Image(data, affine, image.contrast)):
        raise OutputError(
            f"{path}: the image does not lie on the patient's grid.",
            found=f"shape {data.shape}, spacing {_spacing(image)} mm",
            expected=f"shape {shape} at the place of the original",
            do="undo the preparation (resize, crop) before writing",
        )
    back = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), turn)
    return orientations.apply_orientation(data, back)


def _spacing(image: Image) -> str:
    return " × ".join(f"{edge:.4g}" for edge in image.spacing_mm)


def _as_dtype(data: np.ndarray, kind: np.dtype[Any], path: Path) -> np.ndarray:
    """Return the voxels in a type; integers are rounded. Raises OutputError if a voxel does not fit."""
    low, high = float(data.min()), float(data.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise OutputError(f"{path}: not written, the image holds voxels that are NaN or infinite.")
    if kind.kind not in "iu":
        return data.astype(kind, copy=False)
    bounds = np.iinfo(kind)
    if round(low) < bounds.min or round(high) > bounds.max:
        raise OutputError(
            f"{path}: voxels do not fit {kind.name}.",
            found=f"{low:g} to {high:g}",
            expected=f"{bounds.min} to {bounds.max}",
            do="write float32",
        )
    return np.rint(data).astype(kind)


def _header_for(
    shape: tuple[int, ...], affine: np.ndarray, native: Any, kind: np.dtype[Any], description: str | None
) -> Any:
    """Return the header to write: the native one with new voxels, or a new one with `affine` as its sform."""
    header = nib.Nifti1Header() if native is None else without_identity(native).as_byteswapped("<")
    if header.get_data_shape() != shape:  # setting it would also reset what the file says of time
        header.set_data_shape(shape)
    header.set_data_dtype(kind)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["cal_min"], header["cal_max"] = 0, 0
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    if native is None:
        header.set_xyzt_units("mm")
        header.set_sform(affine, code="scanner")
        # A quaternion cannot say a gantry tilt: only the sform holds where such an image lies.
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        tilted = np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4
        header.set_qform(affine, code="unknown" if tilted else "scanner")
    if description is not None:
        header["descrip"] = description.encode("ascii", "replace")[:DESCRIPTION_BYTES]
    return header


def _put(stream: Stream, header: Any, data: np.ndarray) -> None:
    """Write header, the empty extension flag and the voxels, first axis fastest."""
    stream.write(header.binaryblock + b"\0\0\0\0")
    stream.write(np.asfortranarray(data).T.data)
