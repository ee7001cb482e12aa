"""li2022, pinetz2023, BraSyn and SynthRAD: each value against numpy and scikit-image, and what is missing says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage, signal
from skimage.metrics import structural_similarity

from mrsynth.core.errors import InputError
from mrsynth.metrics import MetricRecord, PairInfo, build_regions, evaluate_pair, independent_t
from mrsynth.metrics.noise_level import grain_sd
from mrsynth.metrics.tenengrad import tenengrad
from small_cases import ball

SHAPE = (28, 30, 26)


def subject() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, truth and brain, in [0, 1]."""
    draw = np.random.default_rng(0)
    brain = ball(SHAPE, 11)
    truth = brain * (0.2 + 0.6 * draw.random(SHAPE))
    return brain * np.clip(truth + draw.normal(0, 0.1, SHAPE), 0, 1), truth, brain


def by_name(records: list[MetricRecord], region: str | None = None) -> dict[str, MetricRecord]:
    return {record.metric: record for record in records if region in (None, record.region)}


def test_li2022() -> None:
    prediction, truth, brain = subject()
    info = PairInfo(case="c", min_brain_fraction=0.2)
    found = by_name(evaluate_pair(prediction, truth, {"brain": brain}, None, "li2022", info=info))
    kept = np.flatnonzero(brain.mean((0, 1)) > 0.2)
    errors = ((prediction - truth)[..., kept] ** 2).mean((0, 1))
    assert found["rmse"].value == pytest.approx(math.sqrt(errors.mean()))
    assert found["psnr"].value == pytest.approx((-10 * np.log10(errors)).mean())
    similar = [structural_similarity(prediction[..., k], truth[..., k], data_range=1.0) for k in kept]
    assert found["ssim"].value == pytest.approx(np.mean(similar))
    sharp = [tenengrad(image[..., kept], 1.0).mean() for image in (prediction, truth)]
    assert found["tenengrad"].value == pytest.approx(sharp[0])
    assert found["tenengrad_error"].value == pytest.approx(abs(sharp[0] - sharp[1]))
    assert "T 25" in found["tenengrad"].aggregation
    steps = [np.abs(np.diff(image, axis=2))[brain[..., 1:] & brain[..., :-1]].mean() for image in (prediction, truth)]
    assert found["slice_jump"].value == pytest.approx(steps[0])
    assert found["slice_jump_truth"].value == pytest.approx(steps[1])
    assert found["slice_jump_ratio"].value == pytest.approx(1, abs=0.05)
    none = by_name(evaluate_pair(prediction, truth, {"brain": brain}, 1.0, "li2022", info=PairInfo("c", "", "", 0.99)))
    assert {none[name].value for name in ("rmse", "tenengrad", "tenengrad_error")} == {None}
    assert none["rmse"].reason == none["tenengrad"].reason == "no slice holds enough brain"


def test_sharpness_of_many_slices_is_that_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken 32 at a time, so that memory stays flat."""
    draw = np.random.default_rng(1)
    prediction, truth = draw.random((2, 12, 14, 71), np.float32)
    brain = np.ones(truth.shape, bool)
    brain[..., [0, 40]] = False
    most: list[int] = []

    def counted(images: np.ndarray, data_range: float) -> np.ndarray:
        most.append(images.shape[2])
        return tenengrad(images, data_range)

    monkeypatch.setattr("mrsynth.metrics.measure_li2022.tenengrad", counted)
    found = by_name(evaluate_pair(prediction, truth, {"brain": brain}, None, "li2022"))
    kept = np.delete(np.arange(71), [0, 40])
    for name, image in (("tenengrad", prediction), ("tenengrad_truth", truth)):
        assert found[name].value == float(tenengrad(image[..., kept], 1.0).mean())
    assert most == [32, 32, 5] * 2


@pytest.mark.parametrize(
    ("other", "published"),
    [
        ([(23.52, 1.51), (21.87, 1.43)], (10.92, 11.45)),
        ([(23.04, 1.75), (22.46, 1.68)], (10.86, 11.40)),
        ([(34.08, 2.16), (27.61, 0.06)], (2.59, 3.47)),
    ],
)
def test_table_4_of_li2022_takes_slices_of_both_contrasts_together(
    other: list[tuple[float, float]], published: tuple[float, float]
) -> None:
    """Its intervals of PSNR follow from the means and deviations of Tables 2 and 3 (T1w, T2w) with 310 values a group;
    with the five test patients they would be eight times as wide."""

    def group(parts: list[tuple[float, float]], n: int) -> np.ndarray:
        shape = np.linspace(-1, 1, n)
        return np.concatenate([mean + sd * shape / shape.std(ddof=1) for mean, sd in parts])

    contextual = [(34.25, 2.06), (33.50, 1.08)]
    row = independent_t(group(contextual, 155), group(other, 155))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(published, abs=0.02)
    assert float(row["p"]) < 0.001
    patients = independent_t(group(contextual, 5), group(other, 5))
    assert float(patients["ci_high"]) - float(patients["ci_low"]) > 5 * (published[1] - published[0])


def dose_case() -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return prediction, truth, native and regions: a lesion enhances by 0.3, noise of 0.03 against 0.01."""
    draw = np.random.default_rng(3)
    brain = ball(SHAPE, 11)
    native = 0.6 * brain
    lesion = ball(SHAPE, 4)
    enhanced = native + 0.3 * lesion
    truth = enhanced + brain * draw.normal(0, 0.03, SHAPE)
    prediction = native + 0.2 * lesion + brain * draw.normal(0, 0.01, SHAPE)
    return prediction, truth, native, build_regions(SHAPE, brain, None, native, enhanced, delta=0.1)


def test_pinetz2023() -> None:
    prediction, truth, native, regions = dose_case()
    records = evaluate_pair(prediction, truth, regions, 1.0, "pinetz2023", native=native)
    found = by_name(records)
    inside = regions["enhancing"]
    assert found["mae_ce"].value == pytest.approx(np.abs(prediction - truth)[inside].mean())
    assert found["mae_ce_mean"].value == pytest.approx(0.1, abs=0.01)
    assert found["mae_ce"].n == inside.sum()
    assert found["sigma"].value == pytest.approx(0.01, rel=0.05)
    assert found["sigma_truth"].value == pytest.approx(0.03, rel=0.05)
    assert found["mae_sigma"].value == pytest.approx(0.02, rel=0.05)
    assert found["mae_grain"].value == pytest.approx(0.02, rel=0.1)
    assert found["grain"].value == grain_sd(prediction, regions["non_enhancing"])
    for region in ("volume", "brain"):
        errors = ((prediction - truth) ** 2)[regions[region]]
        assert by_name(records, region)["psnr"].value == pytest.approx(-10 * math.log10(errors.mean()))
    added = [(image - native)[regions["non_enhancing"]] for image in (prediction, truth)]
    assert found["residual_correlation"].value == pytest.approx(np.corrcoef(*added)[0, 1])
    copy = by_name(evaluate_pair(native, truth, regions, 1.0, "pinetz2023", native=native))
    assert copy["residual_correlation"].value is None  # it adds nothing
    perfect = by_name(evaluate_pair(truth, truth, regions, 1.0, "pinetz2023", native=native))
    assert perfect["residual_correlation"].value == pytest.approx(1)
    assert {perfect[name].value for name in ("mae_ce", "mae_ce_mean", "mae_sigma", "mae_grain")} == {0.0}


def test_pinetz2023_without_native_or_enhancement() -> None:
    prediction, truth, native, regions = dose_case()
    plain = {name: regions[name] for name in ("volume", "brain")}
    found = by_name(evaluate_pair(prediction, truth, plain, 1.0, "pinetz2023"))
    assert found["mae_ce"].value is None
    assert found["mae_ce"].reason == "no native and standard-dose image"
    assert "no native image" in found["mae_sigma"].reason
    empty = {**regions, "enhancing": np.zeros(SHAPE, bool)}
    found = by_name(evaluate_pair(prediction, truth, empty, 1.0, "pinetz2023", native=native))
    assert found["mae_ce"].reason == "the region is empty"
    with pytest.raises(InputError, match="needs a brain mask"):
        evaluate_pair(prediction, truth, {"volume": regions["volume"]}, 1.0, "pinetz2023")


def ct() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, truth and mask in HU; some values lie beyond the range."""
    draw = np.random.default_rng(4)
    truth = np.where(ball(SHAPE, 11), draw.normal(40, 200, SHAPE), -1024.0)
    truth[12:14, 12:14, 12:14] = 3500
    return truth + draw.normal(0, 60, SHAPE), truth, ball(SHAPE, 10)


def test_synthrad2023_is_scikit_image_on_masked_clipped_images() -> None:
    prediction, truth, mask = ct()
    found = by_name(evaluate_pair(prediction, truth, {"brain": mask}, None, "synthrad2023"))
    assert found["mae"].value == pytest.approx(np.abs(prediction - truth)[mask].mean())
    x, y = (np.clip(image, -1024, 3000) for image in (prediction, truth))
    assert found["psnr"].value == pytest.approx(10 * math.log10(4024**2 / ((x - y)[mask] ** 2).mean()))
    x, y = (np.where(mask, image, -1024) + 1024 for image in (x, y))
    whole = structural_similarity(x, y, data_range=4024, full=True)[1]
    assert found["ssim"].value == pytest.approx(whole[3:-3, 3:-3, 3:-3][mask[3:-3, 3:-3, 3:-3]].mean())
    assert (found["mae"].clip, found["ssim"].clip) == ("none", "-1024..3000")


def plain_ms_ssim(x: np.ndarray, y: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """Luminance, contrast and structure apart, with SciPy's filters; x, y from 0 and 0 outside of the mask."""
    x, y, mask = (
        np.pad(image, [((97 - n) // 2, 97 - n - (97 - n) // 2) for n in image.shape], mode="edge")
        for image in (x, y, mask)
    )
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product = 1.0
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        mx, my, xx, yy, xy = (ndimage.uniform_filter(image, 7) for image in (x, y, x * x, y * y, x * y))
        vx, vy, cov = (343 / 342 * (v - m) for v, m in ((xx, mx * mx), (yy, my * my), (xy, mx * my)))
        spread = np.sqrt(vx.clip(0) * vy.clip(0))
        luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        contrast, structure = (2 * spread + c2) / (vx + vy + c2), ((cov + c2 / 2) / (spread + c2 / 2)).clip(0)
        whole = (luminance * contrast * structure) ** exponent
        product *= whole[3:-3, 3:-3, 3:-3][mask[3:-3, 3:-3, 3:-3]].mean()
        x, y = (signal.fftconvolve(image, np.ones((2, 2, 2)) / 8, mode="same")[::2, ::2, ::2] for image in (x, y))
        mask = mask[::2, ::2, ::2]
    return float(product)


def test_ms_ssim_of_synthrad2025() -> None:
    prediction, truth, mask = ct()
    values = {}
    for name, image in (("noisy", prediction), ("noisier", 3 * prediction - 2 * truth), ("same", truth)):
        found = by_name(evaluate_pair(image, truth, {"brain": mask}, 4095.0, "synthrad2025"))
        values[name] = found["ms_ssim"].value
        assert found["ms_ssim"].clip == "-1024..3071"
    assert values["same"] == pytest.approx(1)
    assert 0 < values["noisier"] < values["noisy"] < 1
    x, y = (np.where(mask, np.clip(image, -1024, 3071) + 1024, 0) for image in (prediction, truth))
    assert values["noisy"] == pytest.approx(plain_ms_ssim(x, y, mask, 4095))
    outside = np.where(mask, prediction, 2000.0)
    found = by_name(evaluate_pair(outside, truth, {"brain": mask}, 4095.0, "synthrad2025"))
    assert found["ms_ssim"].value == pytest.approx(values["noisy"])
    empty = by_name(evaluate_pair(prediction, truth, {"brain": np.zeros(SHAPE, bool)}, 4095.0, "synthrad2025"))
    assert {record.value for record in empty.values()} == {None}


def test_brasyn_counts_zeros() -> None:
    prediction, truth, brain = subject()
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[12:16, 12:16, 12:16] = 3
    regions = build_regions(SHAPE, brain, lesion)
    found = {r.region: r for r in evaluate_pair(1000 * prediction, truth, regions, 1.0, "brasyn")}
    assert set(found) == {"lesion", "non_lesion"}
    same = {r.region: r for r in evaluate_pair(prediction, truth, regions, 1.0, "brasyn")}
    inside = [r for r in evaluate_pair(prediction, truth, regions, 1.0) if (r.metric, r.region) == ("ssim", "lesion")]
    for region in found:
        assert found[region].value == pytest.approx(same[region].value, abs=1e-6)  # each image has its own scale
    assert found["lesion"].value > 0.98 > inside[0].value
    alone = evaluate_pair(prediction, truth, {"brain": brain}, 1.0, "brasyn")
    assert {r.reason for r in alone} == {"the case has no lesion"}
