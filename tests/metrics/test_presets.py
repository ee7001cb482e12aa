"""Laws of a whole evaluation: what a region means, what a preset declares, what degenerate input gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.metrics import MetricRecord, PairInfo, build_regions, evaluate_pair
from mrsynth.metrics.presets import PRESETS

SHAPE = (24, 26, 22)
COMMON = ("default", "osman2022", "chen2022")
"""Presets of errors and similarity alone; those with metrics of their own have tests of their own."""


def subject(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return prediction and truth in [0, 1], float64, and regions."""
    draw = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    brain = x**2 + y**2 + z**2 < 0.75
    truth = brain * (0.2 + 0.6 * draw.random(SHAPE))
    prediction = brain * np.clip(truth + draw.normal(0, 0.1, SHAPE), 0, 1)
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[9:13, 9:13, 9:13] = 2
    return prediction, truth, build_regions(SHAPE, brain, lesion)


def value(records: list[MetricRecord], metric: str, region: str, fit: str = "none") -> float:
    (record,) = [r for r in records if (r.metric, r.region, r.fit) == (metric, region, fit)]
    assert record.value is not None
    return record.value


def test_masked_is_cropped() -> None:
    prediction, truth, regions = subject()
    box = (slice(4, 20), slice(4, 20), slice(4, 20))  # the lesion and more than a window around it
    cropped = evaluate_pair(prediction[box], truth[box], {"lesion": regions["lesion"][box]}, 1.0)
    whole = evaluate_pair(prediction, truth, {"lesion": regions["lesion"]}, 1.0)
    assert [r.value for r in cropped] == pytest.approx([r.value for r in whole], rel=1e-9)


def test_a_region_does_not_know_the_other_regions_nor_the_background() -> None:
    prediction, truth, regions = subject()
    alone = evaluate_pair(prediction, truth, {"lesion": regions["lesion"]}, 1.0)
    together = [r for r in evaluate_pair(prediction, truth, regions, 1.0) if r.region == "lesion"]
    outside = np.where(regions["brain"], prediction, 0.7)
    elsewhere = evaluate_pair(outside, truth, {"lesion": regions["lesion"]}, 1.0)
    for records in (together, elsewhere):
        assert [r.value for r in records] == pytest.approx([r.value for r in alone], rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(slope=st.floats(0.1, 10), offset=st.floats(-1, 1), sign=st.sampled_from([-1, 1]))
def test_values_after_the_linear_fit_do_not_know_the_scale(slope: float, offset: float, sign: int) -> None:
    prediction, truth, regions = subject()
    before = evaluate_pair(prediction, truth, regions, 1.0)
    after = evaluate_pair(sign * slope * prediction + offset, truth, regions, 1.0)
    for metric in ("mse", "mae", "psnr", "ssim"):
        for region in ("brain", "lesion", "shell"):
            expected = value(before, metric, region, "linear")
            assert value(after, metric, region, "linear") == pytest.approx(expected, rel=1e-6)


def test_fitting_by_hand_is_the_linear_record() -> None:
    prediction, truth, regions = subject()
    inside = regions["lesion"]
    slope, offset = np.polyfit(prediction[inside], truth[inside], 1)
    by_hand = evaluate_pair(slope * prediction + offset, truth, regions, 1.0)
    records = evaluate_pair(prediction, truth, regions, 1.0)
    for metric in ("mse", "mae", "psnr", "ssim"):
        assert value(records, metric, "lesion", "linear") == pytest.approx(value(by_hand, metric, "lesion"), rel=1e-9)


@pytest.mark.parametrize("contrast", [1e-2, 1e-3, 1e-4])
def test_a_nearly_constant_prediction_has_its_similarity_after_the_fit_in_single_precision_too(contrast: float) -> None:
    prediction, truth, regions = subject()
    flat = (0.5 + contrast * prediction).astype(np.float32)
    single = evaluate_pair(flat, truth.astype(np.float32), regions, 1.0)
    double = evaluate_pair(flat.astype(np.float64), truth.astype(np.float32).astype(np.float64), regions, 1.0)
    for region in ("brain", "lesion", "shell"):
        assert value(single, "ssim", region, "linear") == pytest.approx(
            value(double, "ssim", region, "linear"), abs=1e-4
        )


@pytest.mark.parametrize("preset", COMMON)
def test_a_perfect_match(preset: str) -> None:
    _, truth, regions = subject()
    records = evaluate_pair(truth, truth.copy(), regions, 1.0, preset)
    for record in (r for r in records if not r.reason):
        perfect = {"psnr": math.inf, "ssim": 1.0, "ssim_range2": 1.0, "mse": 0.0, "mae": 0.0, "nmi": 2.0}[record.metric]
        if record.fit == "none":
            assert record.value == pytest.approx(perfect, abs=1e-12)
        else:  # a fitted line is 1 and 0 up to rounding
            assert record.value is not None
            assert record.value > 200 or record.value == pytest.approx(perfect, abs=1e-6)


@pytest.mark.parametrize("preset", COMMON)
def test_psnr_and_mse_tell_the_same_within_a_slice_or_region(preset: str) -> None:
    prediction, truth, regions = subject()
    one = np.zeros(SHAPE, bool)
    one[:, :, 11] = True
    records = evaluate_pair(prediction, truth, {"brain": one}, 1.0, preset)
    region = "volume" if preset == "osman2022" else "brain"
    assert value(records, "psnr", region) == pytest.approx(-10 * math.log10(value(records, "mse", region)))
    assert regions["volume"].all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_permuting_slices_leaves_the_mean_of_slices(seed: int) -> None:
    prediction, truth, regions = subject()
    order = np.random.default_rng(seed).permutation(SHAPE[2])
    before = evaluate_pair(prediction, truth, regions, 1.0, "osman2022")
    moved = {name: mask[..., order] for name, mask in regions.items()}
    after = evaluate_pair(prediction[..., order], truth[..., order], moved, 1.0, "osman2022")
    assert [r.value for r in after] == pytest.approx([r.value for r in before], rel=1e-12)


def test_only_slices_with_enough_brain_count() -> None:
    prediction, truth, regions = subject()
    fraction = regions["brain"].mean(axis=(0, 1))
    for least in (0.0, 0.2, 0.4):
        info = PairInfo(min_brain_fraction=least)
        kept = np.flatnonzero(fraction > least)
        records = evaluate_pair(prediction, truth, regions, None, "osman2022", info=info)
        errors = ((prediction - truth)[..., kept] ** 2).mean(axis=(0, 1))
        assert {r.n for r in records} == {kept.size}
        assert value(records, "mse", "volume") == pytest.approx(errors.mean())
        assert value(records, "psnr", "volume") == pytest.approx((-10 * np.log10(errors)).mean())
    (record, *_) = evaluate_pair(prediction, truth, regions, 1.0, "osman2022", info=PairInfo(min_brain_fraction=0.99))
    assert (record.value, record.reason) == (None, "no slice holds enough brain")


@pytest.mark.parametrize("preset", ["osman2022", "li2022"])
def test_slices_smaller_than_the_window_have_no_similarity(preset: str) -> None:
    draw = np.random.default_rng(0)
    prediction, truth = draw.random((2, 6, 6, 6))
    records = evaluate_pair(prediction, truth, build_regions((6, 6, 6), np.ones((6, 6, 6))), 1.0, preset)
    found = {r.value: r.reason for r in records if r.metric.startswith("ssim")}
    assert found == {None: "slices are smaller than the window"}


def test_perfect_slices_are_left_out_of_psnr_and_counted() -> None:
    prediction, truth, regions = subject()
    prediction[..., 10] = truth[..., 10]
    records = evaluate_pair(prediction, truth, regions, 1.0, "osman2022")
    (record,) = [r for r in records if r.metric == "psnr"]
    assert record.value is not None
    assert math.isfinite(record.value)
    assert record.reason == "1 perfect slices left out"


def test_a_record_carries_its_meaning() -> None:
    prediction, truth, regions = subject()
    info = PairInfo(case="case-1", contrast="t2", predictor="identity")
    records = evaluate_pair(prediction, truth, regions, 1.0, info=info)
    assert {(r.case, r.contrast, r.predictor, r.preset, r.dimension) for r in records} == {
        ("case-1", "t2", "identity", "default", 3)
    }
    assert {r.region for r in records} == {"brain", "lesion", "oedema", "lesion#1", "shell"}
    assert {(r.metric, r.aggregation) for r in records if r.metric in ("ssim", "mse")} == {
        ("ssim", "mean of the map"),
        ("mse", "voxels"),
    }
    assert [r.n for r in records if r.region == "lesion"] == [64] * 9
    osman = evaluate_pair(prediction, truth, regions, 1.0, "osman2022", info=info)
    assert {(r.metric, r.data_range) for r in osman} >= {("ssim", 1.0), ("ssim_range2", 2.0)}


def test_the_volume_counts_only_without_another_region() -> None:
    prediction, truth, regions = subject()
    records = evaluate_pair(prediction, truth, {"volume": regions["volume"]}, 1.0)
    assert {r.region for r in records} == {"volume"}
    assert value(records, "mse", "volume") == pytest.approx(((prediction - truth) ** 2).mean())


def test_degenerate_regions_are_missing_with_a_reason() -> None:
    prediction, truth, regions = subject()
    regions["lesion"] = np.zeros(SHAPE, bool)
    speck = np.zeros(SHAPE, bool)
    speck[12, 12, 11:13] = True
    flat = truth.copy()
    flat[speck] = 0.5
    records = evaluate_pair(flat, flat + 0.1, {**regions, "speck": speck}, 1.0)
    by_key = {(r.region, r.metric, r.fit): r for r in records}
    assert by_key["lesion", "psnr", "none"].value is None
    assert by_key["lesion", "psnr", "none"].reason == "the region is empty"
    assert by_key["speck", "psnr", "none"].value == pytest.approx(20)
    assert by_key["speck", "nmi", "none"].reason == "both images are constant in the region"
    assert by_key["speck", "psnr", "linear"].reason == "a linear fit needs 3 voxels"
    nothing = evaluate_pair(prediction, truth, {"lesion": regions["lesion"]}, 1.0)
    assert {r.value for r in nothing} == {None}


def test_contrast_measures_need_a_native_image() -> None:
    prediction, truth, regions = subject()
    native = truth * 0.8
    regions |= {"enhancing": regions["lesion"]}
    names = {r.metric for r in evaluate_pair(prediction, truth, regions, 1.0)}
    with_native = evaluate_pair(prediction, truth, regions, 1.0, native=native)
    extra = {r.metric for r in with_native} - names
    assert {"cnr", "cnr_truth", "cnr_error"} <= extra
    assert value(with_native, "enhancement_percent_truth", "enhancing") == pytest.approx(25)
    perfect = evaluate_pair(truth, truth, regions, 1.0, native=native)
    assert value(perfect, "lesion_to_brain_ratio_error", "enhancing") == 0
    none = evaluate_pair(truth, truth, {"brain": regions["brain"]}, 1.0, native=native)
    assert {r.reason for r in none if r.metric == "cnr"} == {"no enhancing lesion"}


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_constant_prediction_is_a_bad_one(preset: str) -> None:
    """As of a network that learned nothing: it is measured as any other, or a record says why there is no value."""
    good, truth, regions = subject()
    width = PRESETS[preset].data_range or 1.0
    flat, better = (evaluate_pair(width * p, width * truth, regions, width, preset) for p in (np.zeros(SHAPE), good))
    assert [r.metric for r in flat] == [r.metric for r in better]
    for record, other in zip(flat, better, strict=True):
        assert record.reason if record.value is None else math.isfinite(record.value)
        if record.metric in ("psnr", "psnr_mask") and record.fit == "none" and other.value is not None:
            assert record.value is not None
            assert record.value < other.value


def test_bad_input_is_refused_in_words() -> None:
    prediction, truth, regions = subject()
    holed = prediction.copy()
    holed[3, 3, 3] = np.nan
    with pytest.raises(InputError, match="data range is needed"):
        evaluate_pair(prediction.astype(np.float32), truth, regions, None)
    with pytest.raises(InputError, match="data range cannot be used"):
        evaluate_pair(prediction, truth, regions, 0.0)
    with pytest.raises(InputError, match="one data range"):
        evaluate_pair(prediction, truth, regions, 255.0, "osman2022")
    with pytest.raises(InputError, match=r"normalised to \[0, 1\]"):
        evaluate_pair(900 * prediction, 900 * truth, regions, 1.0, "osman2022")
    with pytest.raises(InputError, match="needs a brain mask"):
        evaluate_pair(prediction, truth, {"volume": regions["volume"]}, 1.0, "osman2022")
    with pytest.raises(InputError, match="1 of 13728 voxels NaN"):
        evaluate_pair(holed, truth, regions, 1.0)
    with pytest.raises(InputError, match="reference is constant"):
        evaluate_pair(prediction, np.zeros(SHAPE), regions, 1.0)
    with pytest.raises(InputError, match="another shape"):
        evaluate_pair(prediction[1:], truth, regions, 1.0)
    with pytest.raises(InputError, match="another grid"):
        evaluate_pair(prediction, truth, {"brain": regions["brain"][1:]}, 1.0)
    with pytest.raises(InputError, match="no region"):
        evaluate_pair(prediction, truth, {}, 1.0)
    with pytest.raises(InputError, match="not a volume"):
        evaluate_pair(prediction[0], truth[0], regions, 1.0)
    with pytest.raises(RecipeError, match="did you mean 'osman2022'"):
        evaluate_pair(prediction, truth, regions, 1.0, "osman2020")
