"""The preset chen2022: against NumPy and scikit-image, and where a case has no tumour."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from mrsynth.core.errors import InputError
from mrsynth.metrics import MetricRecord, PairInfo, build_regions, evaluate_pair

SHAPE = (40, 44, 12)


def subject(labels: tuple[int, ...] = (1, 2, 3, 5)) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return prediction and truth in [0, 1], 0 outside the brain, and regions with these lesion labels side by side."""
    draw = np.random.default_rng(3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    brain = x**2 + y**2 + 0.5 * z**2 < 0.8
    truth = brain * (0.2 + 0.6 * draw.random(SHAPE))
    prediction = brain * np.clip(truth + draw.normal(0, 0.1, SHAPE), 0, 1)
    lesion = np.zeros(SHAPE, np.uint8)
    for k, label in enumerate(labels):
        lesion[12 + 4 * k : 16 + 4 * k, 18:24, 4:8] = label
    return prediction, truth, build_regions(SHAPE, brain, lesion)


def judged(region: str, metric: str, records: list[MetricRecord]) -> MetricRecord:
    (record,) = [r for r in records if (r.region, r.metric) == (region, metric)]
    return record


@pytest.mark.parametrize("region", ["brain", "tumour", "lesion", "enhancing_tumour", "lesion#1"])
def test_errors_are_means_over_the_voxels_of_a_region(region: str) -> None:
    prediction, truth, regions = subject()
    core = regions["lesion"] & ~regions["oedema"]
    mask = core if region == "tumour" else regions[region]
    error = (prediction - truth)[mask]
    records = evaluate_pair(prediction, truth, regions, None, "chen2022")
    mean = judged(region, "mae", records)
    assert (mean.n, mean.dimension, mean.aggregation) == (mask.sum(), 3, "voxels")
    assert mean.value == pytest.approx(np.abs(error).mean())
    assert judged(region, "psnr", records).value == pytest.approx(10 * np.log10(1 / (error**2).mean()))


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_similarity_is_scikit_images_map_slice_by_slice_inside_the_brain(least: float) -> None:
    prediction, truth, regions = subject()
    brain, maps = regions["brain"], []
    for k in np.flatnonzero(brain.mean(axis=(0, 1)) > least):
        _, full = structural_similarity(
            prediction[..., k],
            truth[..., k],
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )
        maps.append(full[brain[..., k]].mean())
    info = PairInfo(min_brain_fraction=least)
    record = judged("brain", "ssim", evaluate_pair(prediction, truth, regions, 1.0, "chen2022", info=info))
    assert record.value == pytest.approx(np.mean(maps), rel=1e-9)
    assert (record.n, record.dimension) == (len(maps), 2)


def test_what_lies_outside_the_brain_counts_only_where_a_window_sees_it() -> None:
    prediction, truth, regions = subject()
    far = ~regions["brain"]
    far[2:-2, 2:-2] = False
    before = evaluate_pair(prediction, truth, {"brain": regions["brain"]}, 1.0, "chen2022")
    after = evaluate_pair(np.where(far, 0.9, prediction), truth, {"brain": regions["brain"]}, 1.0, "chen2022")
    for metric in ("mae", "mse", "psnr"):
        assert judged("brain", metric, after).value == judged("brain", metric, before).value


@pytest.mark.parametrize(
    ("labels", "reason"), [((), "the case has no tumour label"), ((2,), "the case has no tumour label")]
)
def test_a_case_without_tumour_has_missing_values_and_a_reason(labels: tuple[int, ...], reason: str) -> None:
    prediction, truth, regions = subject(labels)
    records = evaluate_pair(prediction, truth, regions, 1.0, "chen2022")
    assert {(r.value, r.reason) for r in records if r.region == "tumour"} == {(None, reason)}
    assert judged("brain", "psnr", records).value is not None
    alone = evaluate_pair(prediction, truth, {"brain": regions["brain"]}, 1.0, "chen2022")
    assert judged("tumour", "psnr", alone).reason == "the case has no mask of its lesions"


def test_a_low_grade_tumour_is_a_tumour() -> None:
    prediction, truth, regions = subject((5,))
    assert judged("tumour", "psnr", evaluate_pair(prediction, truth, regions, 1.0, "chen2022")).n == 96


def test_input_that_cannot_be_judged_is_refused() -> None:
    prediction, truth, regions = subject()
    with pytest.raises(InputError, match="needs a brain mask"):
        evaluate_pair(prediction, truth, {"volume": regions["volume"]}, 1.0, "chen2022")
    with pytest.raises(InputError, match=r"normalised to \[0, 1\]"):
        evaluate_pair(500 * prediction, 500 * truth, regions, 1.0, "chen2022")
    with pytest.raises(InputError, match="one data range"):
        evaluate_pair(prediction, truth, regions, 2.0, "chen2022")
    (record,) = [
        r
        for r in evaluate_pair(prediction, truth, regions, 1.0, "chen2022", info=PairInfo(min_brain_fraction=0.99))
        if r.metric == "ssim"
    ]
    assert (record.value, record.reason) == (None, "no slice holds enough brain")
