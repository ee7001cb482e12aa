"""Enhancement over the dose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.metrics import build_regions
from mrsynth.metrics.dose_response import descents, enhancement, is_lesion, is_monotone, response_regions

SHAPE = (20, 20, 20)


@pytest.fixture
def head() -> dict[str, np.ndarray]:
    """A brain with a lesion of rim, core and oedema, a small one, and a vessel; the labelled rims and the vessel
    enhance."""
    brain, lesion, gain = np.ones(SHAPE, bool), np.zeros(SHAPE, int), np.zeros(SHAPE)
    brain[:, :, 18:] = False
    lesion[2:9, 2:9, 2:9], lesion[3:8, 3:8, 3:8], lesion[4:6, 4:6, 4:6] = 2, 3, 1
    lesion[14:17, 14:17, 4:7] = 3
    gain[lesion == 3], gain[12, 2:14, 12] = 0.8, 1.5
    native = np.random.default_rng(0).normal(0.7, 0.05, SHAPE)
    return {"brain": brain, "lesion": lesion, "gain": gain, "native": native, "standard": native + gain}


def regions_of(head: dict[str, np.ndarray], lesion: np.ndarray) -> dict[str, np.ndarray]:
    regions = build_regions(SHAPE, head["brain"], lesion, head["native"], head["standard"], 0.1)
    return response_regions(regions)


def test_a_linear_response_is_returned_as_it_is(head: dict[str, np.ndarray]):
    regions = regions_of(head, head["lesion"])
    assert list(regions) == [
        "enhancing_tumour", "necrosis", "oedema", "vessels and membranes", "other brain", "lesion#1", "lesion#2",
    ]  # fmt: skip
    for dose in (0.1, 0.33, 1.0):
        image = head["native"] + dose * head["gain"]
        found = {name: enhancement(image, head["native"], mask) for name, mask in regions.items()}
        for name in ("enhancing_tumour", "lesion#1", "lesion#2"):
            assert found[name] == pytest.approx(0.8 * dose)
        assert found["vessels and membranes"] == pytest.approx(1.5 * dose)
        assert [found[name] for name in ("necrosis", "oedema", "other brain")] == pytest.approx([0, 0, 0])


def test_tissues_share_no_voxel_and_a_lesion_is_its_enhancing_part(head: dict[str, np.ndarray]):
    regions = regions_of(head, head["lesion"])
    tissues = sum(mask.astype(int) for name, mask in regions.items() if not is_lesion(name))
    assert tissues.max() == 1
    assert (regions["lesion#1"] == (head["lesion"] == 3) & ~regions["lesion#2"]).all()
    assert regions["lesion#2"].sum() == 27


def test_without_a_label_lesions_that_enhance_count_as_a_whole(head: dict[str, np.ndarray]):
    plain = np.where(head["lesion"] > 0, 2, 0)
    assert [name for name in regions_of(head, plain) if is_lesion(name)] == ["lesion#2"]  # of the other a third does


def test_an_empty_region_has_no_enhancement(head: dict[str, np.ndarray]):
    assert enhancement(head["native"], head["native"], np.zeros(SHAPE, bool)) is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_falls_are_counted_in_the_order_of_the_dose(values: list[float], random: object):
    doses = [0.1 * (k + 1) for k in range(len(values))]
    expected = sum(b < a for a, b in itertools.pairwise(values))
    pairs = list(zip(doses, values, strict=True))
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert descents(*zip(*pairs, strict=True)) == expected
    assert is_monotone(doses, sorted(values))
    assert is_monotone(doses, values) == (values == sorted(values))
