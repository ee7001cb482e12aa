"""What the intensity steps share: on which images they act, whose numbers they take, and scaling by two numbers.

Each keeps, under "images" of its record, an entry for every image of the case: the numbers that its inverse needs (and
how many brain voxels were clipped, where a step clips), or nothing where the image was left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.core.types import CONTRASTS, image_name, is_contrast
from mrsynth.steps.step import Record

Numbers = dict[str, Any]
"""What a step measured in one image: floats, or lists of a length that is the same for all images, and counts."""

PHYSICAL: tuple[str, ...] = ("adc", "ct")
"""Contrasts in physical units: a step that is not told its contrasts leaves them alone."""


def _contrast(spelling: str) -> str:
    """Return a contrast's name; raises ValueError, which pydantic words."""
    name = image_name(spelling)
    if name is None or not is_contrast(name):
        raise ValueError(f"'{spelling}' is not a contrast ({', '.join(CONTRASTS)} or dwi_b<b-value>)")
    return name


Contrast = Annotated[str, AfterValidator(_contrast)]
"""A contrast in settings; other spellings of it become its name."""


class OnContrasts(Settings):
    """A step that acts on some images.

    Attributes:
        contrasts: the images to act on; null: all but ADC and CT, whose units mean something. An image that a case does
            not have is passed over: the target is missing when a model is used.
    """

    contrasts: Annotated[tuple[Contrast, ...], Field(min_length=1)] | None

    def acts_on(self, name: str) -> bool:
        """Say whether the step changes the image of a contrast."""
        return name not in PHYSICAL if self.contrasts is None else name in self.contrasts


class NormaliseSettings(OnContrasts):
    """A step that measures numbers in the brain and changes images by them.

    Attributes:
        like: {t1ce: t1}: t1ce is changed with the numbers measured in t1, so that the two stay comparable and only t1
            must be known when t1ce is synthesized.
    """

    like: Mapping[Contrast, Contrast]

    @model_validator(mode="after")
    def _no_chain(self) -> NormaliseSettings:
        """Refuse numbers that would have to be taken at second hand, and images that nothing is done to."""
        for name, source in self.like.items():
            if source in self.like:
                raise ValueError(f"like: {name} takes its scale from {source}, which takes its own from another image")
            if not self.acts_on(name):
                raise ValueError(f"like: {name} is not among the contrasts that this step acts on")
        return self


def brain_of(case: Case) -> np.ndarray:
    """Return the case's brain mask as bool (x, y, z); raises InputError where no step made one, or it is empty."""
    if "brain" not in case.masks:
        raise InputError(f"{case.name}: this step needs a brain mask.", do="put brain_mask before it in the recipe")
    brain: np.ndarray = case.masks["brain"].data > 0
    if not brain.any():
        raise InputError(f"{case.name}: the brain mask is empty.", do="check the mask, or leave the column out")
    return brain


def flat(case: Case, name: str, what: str, found: str) -> InputError:
    """Return the error of an image that shows nothing in the brain.

    Args:
        case: whose image it is.
        name: its contrast.
        what: what is wrong with it, in words.
        found: the numbers that show it.
    """
    return InputError(
        f"{case.name}: {name} {what}.",
        found=found,
        expected="an image with contrast",
        do="check the file and the brain mask",
    )


def require_finite(case: Case, name: str) -> None:
    """Refuse an image that holds NaN or infinite values.

    Args:
        case: whose image it is.
        name: its contrast.

    Raises:
        InputError: where it does.
    """
    finite = np.isfinite(case.images[name].data)
    if not finite.all():
        raise InputError(
            f"{case.name}: {name} holds values that are not finite.",
            found=f"{int(finite.size - np.count_nonzero(finite))} voxels with NaN or infinite values",
            expected="a number in every voxel",
            do="repair the file (mrsynth check lists such files) or leave the case out",
        )


def measure_each(
    case: Case, settings: NormaliseSettings, measure: Callable[[Case, str, np.ndarray], Numbers]
) -> dict[str, Numbers]:
    """Return the numbers of every image of a case, {} for those that the step leaves alone.

    Args:
        case: with a brain mask.
        settings: of the step.
        measure: (case, contrast, brain values (n,)) → numbers.

    Raises:
        InputError: where there is no brain mask, where an image is not finite, and where the image whose numbers
            another takes is not in the case.
    """
    brain, measured, found = brain_of(case), dict[str, Numbers](), dict[str, Numbers]()
    for name in case.images:
        if not settings.acts_on(name):
            found[name] = {}
            continue
        source = settings.like.get(name, name)
        if source not in case.images:
            raise InputError(
                f"{case.name}: {name} is to be scaled like {source}, which this case has not.",
                found=", ".join(case.images),
                expected=source,
                do=f"add {source}, or take {name} out of the step's `like`",
            )
        for image in (source, name):
            if image not in measured:
                require_finite(case, image)
        if source not in measured:
            measured[source] = measure(case, source, case.images[source].data[brain])
        found[name] = dict(measured[source])
    return found


def change_each(case: Case, found: Mapping[str, Numbers], change: Callable[[Image, Numbers], Image]) -> Case:
    """Return the case with each image changed by its numbers; those with none stay as they are.

    Args:
        case: what is changed.
        found: numbers of each contrast (`measure_each`).
        change: (image, numbers) → image.
    """
    return replace(
        case, images={name: change(image, found[name]) if found[name] else image for name, image in case.images.items()}
    )


def invert_with(undo: Callable[[Image, Numbers], Image]) -> Callable[[Image, Record, str], Image]:
    """Return a step's `invert` from what undoes it on one image; images that were left alone are returned as given."""

    def invert(image: Image, record: Record, like: str) -> Image:
        numbers = record["images"][like]
        return undo(image, numbers) if numbers else image

    return invert


def scaled(image: Image, offset: float, scale: float) -> Image:
    """Return (image − offset) / scale as float32, in one new array.

    Args:
        image: what is changed.
        offset: becomes 0.
        scale: what becomes 1 above it.
    """
    data = np.subtract(image.data, np.float32(offset), dtype=np.float32)
    np.divide(data, np.float32(scale), out=data)
    return image.with_data(data)


def unscaled(image: Image, offset: float, scale: float) -> Image:
    """Return image · scale + offset as float32, in one new array.

    Args:
        image: what is changed.
        offset: what 0 becomes.
        scale: how much 1 is.
    """
    data = np.multiply(image.data, np.float32(scale), dtype=np.float32)
    np.add(data, np.float32(offset), out=data)
    return image.with_data(data)
