"""The brain mask of a case, from the source that fits it, and zero outside the brain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.core.types import AIR_HU
from mrsynth.steps.brain_ct import LARGEST_HEAD_ML, head_mask, watershed_mask
from mrsynth.steps.brain_deepbet import deepbet_mask
from mrsynth.steps.brain_external import external_mask
from mrsynth.steps.brain_stripped import (
    LARGEST_BRAIN_ML,
    SMALL_VIEW_ML,
    SMALLEST_BRAIN_ML,
    background,
    nonzero_mask,
    not_stripped,
    signal,
    volume_ml,
)
from mrsynth.steps.intensity import Contrast
from mrsynth.steps.reorient import reorient, turned_back
from mrsynth.steps.step import Record, Step

Source = Literal["auto", "given", "nonzero", "deepbet", "watershed", "hd-bet", "synthstrip"]

HEADS: tuple[str, ...] = ("t1", "t1ce", "t1ld", "t2", "flair", "dwi_b0")
"""The contrasts in which the brain is looked for, best first: deepbet learned on T1, and does well on these."""


class BrainMaskSettings(Settings):
    """Settings of the step `brain_mask`.

    Attributes:
        source: `given` takes the case's own brain mask; `nonzero` the voxels that carry signal in every image of a
            stripped case; `deepbet` finds the brain in an MR head, `watershed` in a CT; `hd-bet` and `synthstrip` ask
            programs that the user installed. `auto` takes the given mask where there is one, nonzero where the images
            are stripped, watershed where CT is the only image, else deepbet.
        of: the contrast it is found in, null for the best there is.
        max_fraction: a nonzero mask that fills more of the volume than this is not a brain (a stripped brain cropped to
            its bounding box fills about 0.52, an ellipsoid's share of its box).
        apply: whether what is not brain is taken out of the images, or only the mask is made.
        keep: `head` makes the mask of the whole head in a CT, skull and scalp with it, which all that follows calls
            brain.
        threshold: of deepbet's probability.
        timeout_s: for the installed programs.
    """

    source: Source
    of: Contrast | None
    max_fraction: float
    apply: bool
    keep: Literal["brain", "head"]
    threshold: float = Field(gt=0, lt=1)
    timeout_s: float = Field(gt=0)

    @model_validator(mode="after")
    def _heads_are_of_a_ct(self) -> BrainMaskSettings:
        if self.keep == "head" and self.source not in ("watershed", "given"):
            raise ValueError("keep: head is for source: watershed (a CT), or given")
        return self


MIN_SIGNAL = 0.5
"""A mask of the brain lies where the image shows something: at least this share of it."""


def require_brain(case: Case, largest_ml: float = LARGEST_BRAIN_ML) -> None:
    """Raise InputError if a case's own brain mask cannot be one: by its volume, or because it lies beside the head.

    In a field of view smaller than SMALL_VIEW_ML the volume says nothing.

    Args:
        case: whose mask it is.
        largest_ml: that it may have.
    """
    mask, image = case.masks["brain"], next(iter(case.images.values()))
    inside = mask.data > 0
    volume, view = volume_ml(inside, mask), volume_ml(np.ones(inside.shape, bool), mask)
    if inside.any() and view > SMALL_VIEW_ML and not SMALLEST_BRAIN_ML <= volume <= largest_ml:
        raise InputError(
            f"{case.name}: the given brain mask is none.",
            found=f"{volume:.0f} mL",
            expected=f"{SMALLEST_BRAIN_ML:.0f} to {largest_ml:.0f} mL",
            do="give the mask of the brain, not of a lesion or of the head; or leave the column out",
        )
    share = float(_tissue(image)[inside].mean()) if inside.any() else 1.0
    if share < MIN_SIGNAL:
        raise InputError(
            f"{case.name}: the given brain mask does not lie on the brain.",
            found=f"{image.contrast} shows something in {100 * share:.0f} % of it",
            expected=f"at least {100 * MIN_SIGNAL:.0f} %",
            do="check that mask and image belong together (mrsynth check), or leave the column out",
        )


def _tissue(image: Image) -> np.ndarray:
    """Return where an image shows more than air or noise, bool (x, y, z)."""
    if image.contrast == "ct" or background(image) is not None:
        return signal(image)
    return image.data > 0.1 * float(np.quantile(image.data[::2, ::2, ::2], 0.99))


def choose_source(case: Case, settings: BrainMaskSettings) -> tuple[Source, str]:
    """Return the source of a case's mask, and why it was chosen.

    Args:
        case: whose mask is wanted.
        settings: of the step.
    """
    if settings.source != "auto":
        return settings.source, "as set"
    if "brain" in case.masks:
        return "given", "the case has a brain mask"
    why = not_stripped(case, settings.max_fraction)
    if why is None:
        return "nonzero", "the images are skull-stripped"
    return ("watershed", f"{why}, and there is no MR image") if set(case.images) == {"ct"} else ("deepbet", why)


def make_mask(case: Case, source: Source, settings: BrainMaskSettings) -> tuple[np.ndarray, str | None]:
    """Return a brain mask, and the contrast that it was found in.

    Args:
        case: whose mask is wanted.
        source: where it comes from.
        settings: of the step.

    Returns:
        bool (x, y, z), and the contrast (None: in all, or given).
    """
    if source == "given":
        if "brain" not in case.masks:
            raise InputError(
                f"{case.name}: no brain mask.", expected="a `brain` mask", do="add one, or set source to auto"
            )
        require_brain(case, LARGEST_HEAD_ML if settings.keep == "head" else LARGEST_BRAIN_ML)
        return case.masks["brain"].data > 0, None
    if source == "nonzero":
        mask = nonzero_mask(case)
        if mask.mean() > settings.max_fraction:
            raise InputError(
                f"{case.name}: the images are not skull-stripped.",
                found=f"signal in {100 * mask.mean():.0f} % of the volume",
                expected=f"at most {100 * settings.max_fraction:.0f} % (a brain on a background of zeros)",
                do="set source to auto or deepbet, or give a brain mask (column or input `brain`)",
            )
        return mask, None
    if source == "watershed":
        find = head_mask if settings.keep == "head" else watershed_mask
        return find(case.name, case.image("ct")), "ct"
    head = case.image(settings.of or best_head(case))
    upright, how = reorient(head, "RAS")  # as the networks learned heads
    if source == "deepbet":
        mask = deepbet_mask(case.name, upright, settings.threshold)
    else:
        mask = external_mask(case.name, upright, source, settings.timeout_s)
    return turned_back(upright.with_data(mask), how).data, head.contrast


def best_head(case: Case) -> str:
    """Return the contrast in which a brain is best found; raises InputError where there is none for it."""
    for name in HEADS:
        if name in case.images:
            return name
    raise InputError(
        f"{case.name}: the images are not skull-stripped, and none shows the head well enough to find the brain.",
        found=", ".join(case.images),
        expected="one of " + ", ".join(HEADS),
        do="add such an image, name one (`of`), or give a brain mask (column or input `brain`)",
    )


def apply(case: Case, settings: BrainMaskSettings) -> tuple[Case, dict[str, Any]]:
    """Make the case's brain mask, and take out of every image what is not brain (`outside_brain`).

    Negative values inside the brain become 0 too: they are interpolation overshoot, except in CT and in images that
    were normalised before.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.
    """
    source, why = choose_source(case, settings)
    mask, of = make_mask(case, source, settings)
    if not mask.any():
        raise InputError(f"{case.name}: the brain mask is empty.", do="check the mask, or leave the column out")
    like = next(iter(case.images.values()))
    record: dict[str, Any] = {"source": source, "why": why, "of": of, "voxels": int(np.count_nonzero(mask))}
    record |= {"volume_ml": volume_ml(mask, like), "negative": {}}
    images = dict(case.images)
    for name, image in case.images.items() if settings.apply else ():
        outside, signed = outside_brain(image)
        record["negative"][name] = 0 if signed else int(np.count_nonzero(image.data[mask] < 0))
        inside = image.data if signed else np.maximum(image.data, 0)
        images[name] = image.with_data(np.where(mask, inside, np.float32(outside)).astype(np.float32))
    masks = {**case.masks, "brain": Image(mask.astype(np.uint8), like.affine, "brain", like.native)}
    return replace(case, images=images, masks=masks), record


def outside_brain(image: Image) -> tuple[float, bool]:
    """Return the value of what is not brain, and whether values below 0 mean something.

    The value is 0; in CT air, but no less than the image holds (it may be windowed already); in an image that was
    normalised before, its own background.
    """
    if image.contrast == "ct":
        return max(float(image.data.min()), AIR_HU), True
    found = background(image)
    return (found.value, True) if found is not None and found.signed else (0.0, False)


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image unchanged: what lay outside the brain is not known any more.

    Args:
        image: after the step.
        record: of the step.
        like: the contrast whose place it gets.
    """
    return image


BRAIN_MASK = Step(BrainMaskSettings, "intensity", apply, invert)
