"""Laws of the regions: they add up, they do not overlap, and lesions are found again where they were put."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError
from mrsynth.metrics.regions import MIN_LESION_VOXELS, bounding_box, build_regions

SHAPE = (30, 28, 26)


def brain_mask() -> np.ndarray:
    brain = np.zeros(SHAPE, np.uint8)
    brain[2:28, 2:26, 2:24] = 1
    return brain


def lesion_mask() -> np.ndarray:
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[5:11, 5:11, 5:11] = 2
    lesion[6:10, 6:10, 6:10] = 4
    lesion[7:9, 7:9, 7:9] = 1
    lesion[20:23, 20:23, 20:23] = 3
    lesion[15, 15, 15] = 2
    return lesion


def test_labels_add_up_to_the_lesion() -> None:
    regions = build_regions(SHAPE, brain_mask(), lesion_mask())
    labels = [regions[name] for name in ("necrosis", "oedema", "enhancing_tumour")]
    assert (sum(mask.astype(int) for mask in labels) == regions["lesion"]).all()
    assert regions["enhancing_tumour"].sum() == (4**3 - 2**3) + 3**3


def test_each_connected_lesion_is_found_largest_first_and_specks_are_not() -> None:
    regions = build_regions(SHAPE, brain_mask(), lesion_mask())
    singles = [name for name in regions if name.startswith("lesion#")]
    assert singles == ["lesion#1", "lesion#2"]
    assert [int(regions[name].sum()) for name in singles] == [6**3, 3**3]
    assert 1 < MIN_LESION_VOXELS <= 3**3
    assert not (regions["lesion#1"] & regions["lesion#2"]).any()


def test_shell_touches_the_lesion_and_stays_in_the_brain() -> None:
    regions = build_regions(SHAPE, brain_mask(), lesion_mask())
    assert regions["shell"].any()
    assert not (regions["shell"] & regions["lesion"]).any()
    assert not (regions["shell"] & ~regions["brain"]).any()
    assert regions["shell"][11, 7, 7]
    assert regions["shell"][13, 7, 7]
    assert not regions["shell"][14, 7, 7]


def test_enhancement_is_found_above_delta() -> None:
    t1 = np.full(SHAPE, 0.3, np.float32)
    t1ce = t1.copy()
    t1ce[10:14, 10:14, 10:14] += 0.5
    t1ce[0, 0, 0] += 0.5  # outside of the brain
    regions = build_regions(SHAPE, brain_mask(), t1=t1, t1ce=t1ce)
    assert regions["enhancing"].sum() == 4**3
    assert (regions["enhancing"] ^ regions["non_enhancing"] == regions["brain"]).all()


def test_no_lesion_leaves_an_empty_region_and_no_mask_leaves_none() -> None:
    regions = build_regions(SHAPE, brain_mask(), np.zeros(SHAPE, np.uint8))
    assert not regions["lesion"].any()
    assert not regions["shell"].any()
    assert list(build_regions(SHAPE, None)) == ["volume"]


@pytest.mark.parametrize("bad", [np.full(SHAPE, 99), np.full(SHAPE, 0.5), np.zeros((3, 3, 3))])
def test_bad_masks_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError):
        build_regions(SHAPE, brain_mask(), bad)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), margin=st.integers(0, 5))
def test_bounding_box_holds_the_mask(seed: int, margin: int) -> None:
    draw = np.random.default_rng(seed)
    mask = draw.random((7, 8, 9)) < 0.01
    box = bounding_box(mask, margin)
    if box is None:
        assert not mask.any()
    else:
        assert mask[box].sum() == mask.sum()
