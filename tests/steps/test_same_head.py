"""Images of one head share its fine structure, whatever their contrast; those of two heads of one outline do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.steps.same_head import REFUSED, TOLD, doubts, require_same_head, shared_detail

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def head(anatomy: int, contrast: str, noise: int = 0) -> Image:
    """A ball of 160 mm whose inside is drawn by `anatomy`; other contrasts are other functions of it."""
    shape = (88, 88, 88)
    radius = np.linalg.norm(np.indices(shape) - 43.5, axis=0) * 2.0
    inside = ndimage.gaussian_filter(np.random.default_rng(anatomy).normal(size=shape), 1.5)
    inside = 1 / (1 + np.exp(-2 * inside / inside.std()))
    value = {"t1": 300 + 400 * inside, "t2": 800 - 500 * inside**2}[contrast]
    data = value + np.random.default_rng(100 + noise).normal(size=shape) * 15
    return Image(np.where(radius < 80, data, 0).astype(np.float32), AFFINE, contrast)


def test_one_head_shares_detail_in_another_contrast_and_two_heads_share_none():
    t1 = head(1, "t1")
    same, other = shared_detail(t1, head(1, "t2", noise=1)), shared_detail(t1, head(2, "t2", noise=1))
    assert same is not None
    assert other is not None
    assert same > 2 * TOLD
    assert other < REFUSED
    assert require_same_head(t1, head(1, "t2", noise=1)) == same
    with pytest.raises(InputError, match=r"t2 and t1 show two heads(.|\n)*of one person"):
        require_same_head(t1, head(2, "t2", noise=1))


def test_it_counts_where_the_affine_says_that_the_head_lies():
    t1, t2 = head(1, "t1"), head(1, "t2", noise=1)
    moved = AFFINE.copy()
    moved[:3, 3] += 8.0
    assert (shared_detail(t1, replace(t2, affine=moved)) or 0) < REFUSED


def test_a_scan_that_shows_little_shares_less_detail_and_is_still_of_one_head():
    """As FLAIR of 5 mm that was resliced to 1 mm."""
    t1, t2 = head(1, "t1"), head(1, "t2", noise=1)
    noise = np.random.default_rng(7).normal(size=t2.data.shape) * 100
    poor = replace(t2, data=np.where(t2.data > 0, ndimage.gaussian_filter1d(t2.data, 1.5, axis=2) + noise, 0))
    good, found, other = (shared_detail(t1, image) for image in (t2, poor, head(2, "t2")))
    assert None not in (good, found, other)
    assert TOLD < found < good / 3  # type: ignore[operator]
    assert other < REFUSED  # type: ignore[operator]


@pytest.mark.parametrize("contrast", ["ct", "adc", "dwi_b1000"])
def test_images_that_show_little_of_the_structure_are_not_judged(contrast: str):
    assert shared_detail(head(1, "t1"), replace(head(2, "t2"), contrast=contrast)) is None


def test_thick_voxels_and_small_common_parts_are_not_judged():
    t1, t2 = head(1, "t1"), head(2, "t2")
    assert shared_detail(t1, replace(t2, affine=np.diag([3.0, 3.0, 3.0, 1.0]))) is None
    assert shared_detail(t1, replace(t2, data=t2.data[:, :, :12])) is None


def test_a_doubtful_match_is_a_sentence():
    grids = {
        "t1": {"left": True},
        "t2": {"detail": TOLD - 0.01},
        "flair": {"detail": TOLD + 0.01},
        "ct": {"detail": None},
    }
    (told,) = doubts([{"step": "zscore", "images": {}}, {"step": "register", "reference": "t1", "grids": grids}])
    assert told.startswith("t2 may show another head than t1: 0.04 nats")
