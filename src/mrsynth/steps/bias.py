"""N4 bias field correction (Tustison et al., IEEE TMI 29:1310, 2010), by SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image, describe_grid
from mrsynth.steps.bias_field import LogField, fit_lattice
from mrsynth.steps.intensity import Numbers, OnContrasts, invert_with, require_finite
from mrsynth.steps.step import Step
from mrsynth.steps.transform import Grid, bring

FEWEST_VOXELS = 100


class N4Settings(OnContrasts):
    """Settings of the step `n4`.

    Attributes:
        shrink_mm: the field is estimated on every n-th voxel, about this far apart (axes that are coarser are left).
        spline_mm: distance of the spline's knots at the first level, halved at each further one.
        iterations: at most so many a level.
        mask: where intensities are looked at: `brain` the case's mask, `otsu` the foreground by Otsu's threshold,
            `whole` all positive voxels; `auto` brain where there is a mask, else otsu.
    """

    shrink_mm: float = Field(gt=0)
    spline_mm: float = Field(gt=0)
    iterations: tuple[int, ...] = Field(min_length=1, max_length=6)
    mask: Literal["auto", "brain", "otsu", "whole"]


def apply_n4(case: Case, settings: N4Settings) -> tuple[Case, dict[str, Any]]:
    """Divide each image by its estimated bias field, whose mean in the mask is 1: the image keeps its scale.

    Args:
        case: with images in scanner units.
        settings: of the step.

    Returns:
        The case, and a record that holds the field of each image as the control points of its spline: what `invert`
            multiplies with.

    Raises:
        InputError: where an image has too few positive voxels in the mask, or was normalised before.
    """
    images, found = dict(case.images), dict[str, Numbers]()
    for name, image in case.images.items():
        found[name] = {}
        if settings.acts_on(name):
            require_finite(case, name)
            images[name], found[name] = _correct(case, image, settings)
    return replace(case, images=images), {"images": found}


def _correct(case: Case, image: Image, settings: N4Settings) -> tuple[Image, Numbers]:
    """Return the corrected image and its record."""
    mask, source = field_mask(case, image, settings)
    field = estimate(case.name, image, mask, settings)
    whole = field.on_grid()
    mean = float(whole[mask].mean(dtype=np.float64))
    field, whole = field.divided_by(mean), whole / np.float32(mean)
    inside = whole[mask]
    numbers = field.record() | {
        "mask": source,
        "lowest": float(inside.min()),
        "highest": float(inside.max()),
        "sd_of_log": float(np.log(inside, dtype=np.float64).std()),
    }
    return image.with_data((image.data / whole).astype(np.float32)), numbers


def field_mask(case: Case, image: Image, settings: N4Settings) -> tuple[np.ndarray, str]:
    """Return where the image's intensities are looked at, and by which rule.

    Args:
        case: whose brain mask is taken; one on another grid is brought to the image's.
        image: the image to be corrected.
        settings: of the step.

    Returns:
        bool (x, y, z), and the rule's name.

    Raises:
        InputError: where there is no mask and one is asked for, or too few voxels are left.
    """
    rule = settings.mask
    if rule == "auto":
        rule = "brain" if "brain" in case.masks else "otsu"
    positive = image.data > 0
    mask, expected = positive, FEWEST_VOXELS
    if rule == "brain":
        if "brain" not in case.masks:
            raise InputError(f"{case.name}: n4 needs a brain mask.", do="put brain_mask before n4, or set mask to auto")
        brain = replace(case.masks["brain"], data=(case.masks["brain"].data > 0).astype(np.uint8))
        inside = bring(brain, Grid.of(image), "linear", False).data > 0
        # half of a brain at or below 0 is no scanner's image
        mask, expected = inside & positive, max(FEWEST_VOXELS, int(np.count_nonzero(inside)) // 2)
    elif rule == "otsu" and positive.any():
        mask = image.data > max(0.0, _otsu(image.data[::2, ::2, ::2]))
    if np.count_nonzero(mask) < expected:
        raise InputError(
            f"{case.name}: {image.contrast} has too little signal for a bias field.",
            found=f"{np.count_nonzero(mask)} positive voxels (mask: {rule})",
            expected=f"at least {expected}, and intensities as the scanner gave them",
            do="put n4 before the steps that normalise, and check file and mask",
        )
    return mask, rule


def _otsu(values: np.ndarray) -> float:
    """Return the threshold between air and tissue (Otsu, IEEE Trans Syst Man Cybern 9:62, 1979)."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(values))


def estimate(case: str, image: Image, mask: np.ndarray, settings: N4Settings) -> LogField:
    """Return the bias field of an image.

    The spline lies about the mask, so that the width of the margin plays no role; beyond it the field stays constant.
    Voxels are skipped, not averaged: averages mix tissues, which blurs the histogram that N4 sharpens.

    Args:
        case: its name, for messages.
        image: the image to be corrected.
        mask: where it is looked at, bool, its grid, positive voxels only.
        settings: of the step.

    Raises:
        InputError: where no field can be estimated.
    """
    import SimpleITK as sitk

    spacing = np.array(image.spacing_mm)
    steps = np.maximum(1, np.rint(settings.shrink_mm / spacing)).astype(int)
    filled = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    low, high = (np.array([voxels[end] for voxels in filled]) for end in (0, -1))
    first = low + (high - low) % steps // 2
    taken = tuple(slice(int(f), int(h) + 1, int(s)) for f, h, s in zip(first, high, steps, strict=True))
    small, inside = image.data[taken], mask[taken]
    if np.count_nonzero(inside) < FEWEST_VOXELS or np.ptp(small[inside]) == 0:
        raise InputError(
            f"{case}: no bias field can be estimated in {image.contrast}.",
            found=f"{describe_grid(image)}, {np.count_nonzero(inside)} voxels of the mask at {settings.shrink_mm:g} mm",
            expected=f"{FEWEST_VOXELS} voxels of different values in the mask",
            do="set a smaller shrink_mm, or leave this contrast out of n4 (contrasts)",
        )
    # As many voxels as whole spans of the spline need: its knots are as far apart as the settings say.
    step_mm = steps * spacing
    spans = np.maximum(1, np.ceil((np.array(small.shape) - 1) * step_mm / settings.spline_mm - 1e-6)).astype(int)
    count = np.maximum(small.shape, np.rint(spans * settings.spline_mm / step_mm).astype(int) + 1)
    before = (count - small.shape) // 2
    around = [(int(b), int(n - b - m)) for b, n, m in zip(before, count, small.shape, strict=True)]
    first = first - before * steps
    inside = np.pad(inside, around)
    scan = _volume(np.where(inside, np.pad(small, around), 1.0).astype(np.float32), step_mm)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(settings.iterations))
    n4.SetNumberOfControlPoints((spans + 3).tolist())
    n4.Execute(scan, _volume(inside.astype(np.uint8), step_mm))
    log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)).T
    lattice = fit_lattice(log_field, _three(spans * 2 ** (len(settings.iterations) - 1)))
    return LogField(lattice, _three(np.array(image.data.shape)), _three(first), _three(first + (count - 1) * steps))


def _volume(data: np.ndarray, spacing_mm: Sequence[float] | np.ndarray) -> Any:
    """Return an array (x, y, z) as SimpleITK's image."""
    import SimpleITK as sitk

    volume = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    volume.SetSpacing([float(s) for s in spacing_mm])
    return volume


def _three(numbers: np.ndarray) -> tuple[int, int, int]:
    x, y, z = (int(n) for n in numbers)
    return x, y, z


def _with_field(image: Image, numbers: Numbers) -> Image:
    """Return a corrected image with its bias field again; raises InputError where it lies on another grid."""
    field = LogField.recorded(numbers)
    if image.data.shape != field.shape:
        raise InputError(
            f"The bias field of {image.contrast} was recorded on another grid.",
            found=image.data.shape,
            expected=field.shape,
            do="undo the steps that change the grid too",
        )
    return image.with_data((image.data * field.on_grid()).astype(np.float32))


N4 = Step(N4Settings, "intensity", apply_n4, invert_with(_with_field), any_grid=True)
