"""What is odd about one readable image: where its header says it lies, and what its voxels are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mrsynth.check.problem import Problem
from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.core.types import is_contrast
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_stream import read_header
from mrsynth.io.synthetic import why_synthetic

USUAL_MM = (0.2, 10.0)
"""Voxel edges outside this are no head scan that the recipes expect."""

DISAGREE_MM = 0.5
"""qform and sform may differ by this at the volume's corners: quaternions are rounded, half a voxel is not."""

CLIPPED = (20, 2e-4)
"""More voxels than these at the maximum, as a number and as a share of those above the minimum, are a pile."""

BRAIN_ML = (100.0, 2500.0)
"""No brain is smaller (a few thick slices of one) or larger."""

SMALL_VIEW_ML = 500.0
"""In a field of view smaller than this the volume of a mask says nothing."""

ADC_MM2_S = 0.05
"""No tissue has an ADC above this in mm²/s (water at 37 °C: 0.003); a median above it is in another unit."""


def image_problems(case: str, image: Image, path: Path) -> Iterator[Problem]:
    """Yield what is odd about an image or mask.

    Args:
        case: The case's name.
        image: The image as it was read.
        path: Its place in the cohort table.
    """
    if why := why_synthetic(path):
        yield Problem(
            case,
            "error",
            f"{path}: is a synthetic image, not a scan.",
            found=why,
            expected="an acquired image",
            do="take it out of the table; mrsynth index leaves such images out",
        )
    yield from _header_problems(case, image, path)
    edges = image.spacing_mm
    if min(edges) < USUAL_MM[0] or max(edges) > USUAL_MM[1]:
        yield Problem(
            case,
            "warning",
            f"{path}: the voxels' size is unusual.",
            found=" × ".join(f"{edge:.4g}" for edge in edges) + " mm",
            expected=f"edges from {USUAL_MM[0]:g} to {USUAL_MM[1]:g} mm",
            do="compare with the scanner's protocol; if it is wrong, convert the image again",
        )
    if not is_contrast(image.contrast):
        if image.contrast == "brain":
            yield from _brain_problems(case, image, path)
        return
    yield from _range_problems(case, image, path)


def _brain_problems(case: str, image: Image, path: Path) -> Iterator[Problem]:
    """Yield what is wrong with a brain mask: nothing in it, or too little or too much for a brain."""
    if not image.data.any():
        yield Problem(case, "error", f"{path}: the brain mask is empty.", expected="a brain", do="make the mask again")
        return
    voxel_ml = abs(float(np.linalg.det(np.asarray(image.affine, float)[:3, :3]))) / 1000.0
    volume, view = float(np.count_nonzero(image.data)) * voxel_ml, image.data.size * voxel_ml
    if view > SMALL_VIEW_ML and not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        yield Problem(
            case,
            "error",
            f"{path}: the brain mask is none.",
            found=f"{volume:.0f} mL",
            expected=f"{BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} mL",
            do="give the mask of the brain, not of a lesion or of the head; or leave the column out",
        )


def _header_problems(case: str, image: Image, path: Path) -> Iterator[Problem]:
    """Yield what a NIfTI header says twice, or not at all, about the image's place."""
    header = None if image.native is None else image.native.header
    if header is None:
        return
    qform_code, sform_code = int(header["qform_code"]), int(header["sform_code"])
    if qform_code == 0 and sform_code == 0:
        yield Problem(
            case,
            "warning",
            f"{path}: the image's orientation is unknown.",
            found="qform_code 0 and sform_code 0",
            expected="one of them above 0",
            do="convert it again from DICOM; left and right cannot be told here",
        )
    if qform_code > 0 and sform_code > 0:
        yield from _two_places(case, header, image, path)
    yield from _repairs(case, path, uses_qform=sform_code == 0 and qform_code > 0)
    kind = header.get_data_dtype()
    if kind.itemsize == 1 and is_contrast(image.contrast):
        yield Problem(
            case,
            "warning",
            f"{path}: the image has 256 grey values.",
            found=f"{kind.name} voxels",
            expected="more than 8 bits",
            do="export the original; 8-bit images are mostly windowed for display",
        )


def _repairs(case: str, path: Path, uses_qform: bool) -> Iterator[Problem]:
    """Yield what was repaired in a NIfTI file's header while it was read."""
    try:
        repairs = read_header(split_locator(path)[0]).repairs
    except InputError:
        return
    for repair in repairs:
        if repair.startswith("pixdim[0]") and not uses_qform:
            continue  # the sign of the quaternion's third axis, which nobody asks for here
        sides = "left and right are not certain, " if uses_qform and repair.startswith("pixdim") else ""
        yield Problem(
            case,
            "warning",
            f"{path}: the NIfTI header had to be repaired.",
            found=repair,
            expected="a header that every program reads alike",
            do=f"{sides}convert it again from DICOM, or compare it with an image of the same head",
        )


def _two_places(case: str, header: Any, image: Image, path: Path) -> Iterator[Problem]:
    """Yield a problem if qform and sform place the image differently."""
    sform = header.get_sform()
    try:
        qform = header.get_qform()
    except ValueError as error:  # a quaternion that is none
        yield Problem(
            case,
            "warning",
            f"{path}: the qform is damaged.",
            found=" ".join(str(error).split()),
            expected="a quaternion",
            do="nothing, if the sform is right: it is the one that is used",
        )
        return
    mirrored = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
    shape = image.native.shape if image.native is not None else image.data.shape
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array(shape) - 1
    apart = float(np.sqrt((((qform - sform) @ corners.T)[:3] ** 2).sum(axis=0)).max())
    if mirrored:
        yield Problem(
            case,
            "error",
            f"{path}: qform and sform disagree on left and right.",
            found=f"opposite handedness, {apart:.3g} mm apart",
            expected="the same place",
            do="convert it again from DICOM; programs that read the other one see it mirrored",
        )
    elif apart > DISAGREE_MM:
        yield Problem(
            case,
            "warning",
            f"{path}: qform and sform place the image differently.",
            found=f"up to {apart:.3g} mm apart",
            expected=f"at most {DISAGREE_MM:g} mm",
            do="nothing, if the sform is right: it is the one that is used",
        )


def _range_problems(case: str, image: Image, path: Path) -> Iterator[Problem]:
    """Yield what is odd about an image's values."""
    data, low, high = image.data, float(image.data.min()), float(image.data.max())
    if image.contrast == "ct":
        if low > -900:
            yield Problem(
                case,
                "warning",
                f"{path}: the CT is not in Hounsfield units, or has no air.",
                found=f"{low:g} to {high:g}",
                expected="air at -1000, water at 0",
                do="convert it again from DICOM, with slope and intercept; set what was stripped to -1000",
            )
    elif low < 0:
        negative = int(np.count_nonzero(data < 0))
        yield Problem(
            case,
            "warning",
            f"{path}: the image has negative voxels.",
            found=f"{negative} ({100 * negative / data.size:.2g} %), down to {low:.4g}",
            expected="magnitudes (negative ones mostly come from interpolation)",
            do="nothing, if the recipe clips at 0",
        )
    if image.contrast == "adc":
        median = float(np.median(data[data > 0])) if high > 0 else 0.0
        if median > ADC_MM2_S:
            factor = 1e-6 if median > 50 else 1e-3
            yield Problem(
                case,
                "warning",
                f"{path}: the ADC is not in mm²/s.",
                found=f"a median of {median:.3g}",
                expected=f"about 0.0008 mm²/s in brain ({median * factor:.2g} after × {factor:g})",
                do=f"multiply it by {factor:g}; steps that normalise each image alone do not need it",
            )
    piled, above = int(np.count_nonzero(data == high)), int(np.count_nonzero(data > low))
    if piled > CLIPPED[0] and piled > CLIPPED[1] * above:
        yield Problem(
            case,
            "warning",
            f"{path}: the image is clipped.",
            found=f"{piled} voxels at the maximum {high:g}",
            expected="a few",
            do="export it again without windowing; what was brighter is lost",
        )
