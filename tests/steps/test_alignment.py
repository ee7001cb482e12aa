"""The quick test for images that do not lie where they claim to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.phantom import SubjectSettings, simulate_subject
from mrsynth.steps.alignment import misalignment
from mrsynth.steps.transform import Grid, bring, crop_or_pad

SLAB_MM = 90.0
"""How much of a head is compared, about its middle: as little as still shows it well."""


def slab(case: Case) -> Case:
    """The middle of a head, from below to above."""
    width, depth, height = case.images["t1"].data.shape
    kept = round(SLAB_MM / case.images["t1"].spacing_mm[2])
    box = (0, 0, (height - kept) // 2), (width, depth, kept)
    images, masks = ({name: crop_or_pad(one, *box) for name, one in part.items()} for part in (case.images, case.masks))
    return replace(case, images=images, masks=masks)


@pytest.fixture(scope="module", params=[False, True], ids=["head", "stripped"])
def case(request) -> Case:
    settings = SubjectSettings(profile="full", spacing_mm=2.0, lesion="glioma_high", stripped=request.param)
    return slab(simulate_subject(5, settings))


def shifted(image: Image, shift_mm: tuple[float, float, float]) -> Image:
    """The image of a head that moved by shift_mm, on the same grid."""
    moved = np.array(image.affine)
    moved[:3, 3] += shift_mm
    return bring(replace(image, affine=moved), Grid.of(image), "linear", False)


@pytest.mark.parametrize("name", ["t1ce", "t2", "flair", "adc", "ct"])
def test_a_shift_from_2_mm_on_is_flagged_and_measured(case: Case, name: str):
    t1, image = case.images["t1"], case.images[name]
    for shift_mm in ((0, 0, 0), (0, 0.8, -0.6)):
        assert not misalignment(t1, shifted(image, shift_mm)).shifted
    for shift_mm in ((0, 0, 2), (2, 0, 0), (1.5, -2.0, 1.6), (-3, 0, 4)):
        found = misalignment(t1, shifted(image, shift_mm))
        assert found.shifted
        assert not found.mirrored
        np.testing.assert_allclose(found.shift_mm, shift_mm, atol=0.8)


@pytest.mark.parametrize("name", ["t1ce", "t2", "adc"])
def test_a_mirrored_image_is_flagged(case: Case, name: str):
    image = case.images[name]
    assert misalignment(case.images["t1"], image.with_data(image.data[::-1])).mirrored
    off_centre = np.roll(image.data[::-1], 4, axis=0)
    assert misalignment(case.images["t1"], image.with_data(off_centre)).mirrored


def test_the_outline_of_a_common_mask_does_not_hide_a_shift():
    """Stripped with one mask after the shift, as a data set in atlas space is."""
    case = slab(simulate_subject(5, SubjectSettings(profile="full", spacing_mm=2.0, stripped=False)))
    t1, brain = case.images["t1"], case.masks["brain"].data
    t2 = shifted(case.images["t2"], (0, 0, 3))
    found = misalignment(t1.with_data(t1.data * brain), t2.with_data(t2.data * brain))
    np.testing.assert_allclose(found.shift_mm, (0, 0, 3), atol=0.8)


def test_images_on_different_grids_are_compared_in_mm(case: Case):
    t2 = case.images["t2"]
    affine = np.array(t2.affine) @ np.diag([1, 1, 2, 1])
    thick = bring(t2, Grid((*t2.data.shape[:2], t2.data.shape[2] // 2), affine), "linear", True)
    assert not misalignment(case.images["t1"], thick).shifted


def test_too_little_in_common_is_said():
    t1 = Image(np.ones((20, 20, 20), np.float32), np.eye(4), "t1")
    with pytest.raises(InputError, match="too little in common"):
        misalignment(t1, replace(t1, contrast="t2"))
    with pytest.raises(InputError, match="empty"):
        misalignment(t1.with_data(np.zeros_like(t1.data)), t1)
