from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.core.types import dwi_name
from mrsynth.phantom import simulate_with_truth
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.phantom.scanner import add_rician
from mrsynth.steps import invert_steps, run_steps
from mrsynth.steps.adc_fit import fit_loglinear, fit_nonlinear, noise_of

SHAPE = (14, 15, 16)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
LIMIT = 0.004


def truth() -> np.ndarray:
    """ADC from 0.3e-3 to 3e-3 mm²/s."""
    return generator(0, "adc").uniform(0.3e-3, 3.0e-3, SHAPE)


def scans(b_values: tuple[int, ...], adc: np.ndarray, s0: float = 1000.0, noise: float = 0.0) -> Case:
    """Diffusion-weighted images in the order given; noise: Rician, standard deviation of a channel."""
    images = {}
    for b in b_values:
        rng = generator(1, b)
        clean = s0 * np.exp(-b * adc)
        real, imaginary = (noise * rng.standard_normal(adc.shape) for _ in range(2))
        data = np.hypot(clean + real, imaginary)
        images[dwi_name(b)] = Image(data.astype(np.float32), AFFINE, dwi_name(b))
    return Case(images, {}, {"case": "p1"})


def fitted(case: Case, **changes: Any) -> tuple[np.ndarray, dict[str, Any]]:
    # the test's volumes are full of tissue: there is no air to measure noise in
    done, records = run_steps(case, [{"adc": {"min_snr": 0, **changes}}])
    return done.images["adc"].data, dict(records[0])


@pytest.mark.parametrize("method", ["loglinear", "nonlinear"])
@pytest.mark.parametrize("b_values", [(0, 500, 1000), (0, 1000), (50, 800), (1000, 0, 500, 200)])
def test_without_noise_the_fit_returns_what_was_simulated(method: str, b_values: tuple[int, ...]):
    # the loglinear fit knows of no noise floor; without it both are exact up to float32 images
    signals = np.stack([1000.0 * np.exp(-b * truth().ravel()) for b in b_values])
    b = np.array(b_values, float)
    fit = fit_loglinear(b, signals)
    if method == "nonlinear":
        fit = fit_nonlinear(b, signals, 0.0, np.full(fit.shape, 1e-3), LIMIT)
    np.testing.assert_allclose(fit, truth().ravel(), rtol=1e-6)
    data, _ = fitted(scans(b_values, truth()), method="loglinear")
    np.testing.assert_allclose(data, truth(), rtol=2e-5)


def test_the_order_of_b_values_changes_no_bit():
    case = scans((0, 500, 1000), truth(), noise=20.0)
    turned = replace(case, images=dict(reversed(list(case.images.items()))))
    for method in ("loglinear", "nonlinear"):
        assert np.array_equal(fitted(case, method=method)[0], fitted(turned, method=method)[0])


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-3, 1e5))
def test_the_scanners_gain_does_not_matter(scale: float):
    signals = np.stack([im.data.ravel() for im in scans((0, 500, 1000), truth(), noise=20.0).images.values()])
    b = np.array([0.0, 500.0, 1000.0])
    plain = fit_loglinear(b, signals)
    np.testing.assert_allclose(fit_loglinear(b, signals * scale), plain, rtol=1e-6, atol=1e-10)
    sharp = fit_nonlinear(b, signals, 20.0, plain, LIMIT)
    # squares this small compare equal before the parameters do
    np.testing.assert_allclose(
        fit_nonlinear(b, signals * scale, 20.0 * scale, plain, LIMIT), sharp, rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize("method", ["loglinear", "nonlinear"])
def test_noise_spreads_the_fit_no_more_than_it_must(method: str):
    """Cramér and Rao: no unbiased estimate has a smaller standard deviation than the bound; both fits come near it."""
    b, sigma, adc, n = np.array([0.0, 500.0, 1000.0]), 25.0, 0.8e-3, 20_000
    clean = 1000.0 * np.exp(-b * adc)
    jacobian = np.stack([clean / 1000.0, -b * clean])
    bound = float(np.sqrt(np.linalg.inv(jacobian @ jacobian.T / sigma**2)[1, 1]))
    rng = generator(3, "noise")
    real, imaginary = rng.standard_normal((2, 3, n)) * sigma
    signals = np.hypot(clean[:, None] + real, imaginary)
    fit = fit_loglinear(b, signals)
    if method == "nonlinear":
        fit = fit_nonlinear(b, signals, sigma, fit, LIMIT)
    assert fit.std() == pytest.approx(bound, rel=0.05)
    assert abs(fit.mean() - adc) < 0.05 * bound


def test_the_noise_floor_is_no_slow_diffusion():
    """Free water at SNR 8 is all noise at b = 1000: only the fit that knows the floor has its median right."""
    b, sigma, adc, n = np.array([0.0, 500.0, 1000.0]), 125.0, 2.5e-3, 20_000
    rng = generator(4, "floor")
    real, imaginary = rng.standard_normal((2, 3, n)) * sigma
    signals = np.hypot(1000.0 * np.exp(-b * adc)[:, None] + real, imaginary)
    plain = fit_loglinear(b, signals)
    sound = fit_nonlinear(b, signals, sigma, plain, LIMIT)
    assert np.median(plain) < 0.95 * adc
    assert np.median(sound) == pytest.approx(adc, rel=0.03)


@pytest.mark.parametrize("method", ["loglinear", "nonlinear"])
def test_the_phantoms_map_returns_within_the_noise_bound(method: str):
    """chen2022's b-values in a whole head: the error in units of each voxel's own Cramér–Rao bound is about 1."""
    head = SubjectSettings(profile="ct", spacing_mm=4.0, stripped=False, lesion="glioma_high")
    case, simulated = simulate_with_truth(2, head)
    adc, brain = simulated.adc_mm2_s, case.masks["brain"].data > 0
    b, s0, sigma = np.array([0.0, 500.0, 1000.0]), 1000.0 * (adc > 0), 20.0
    images = {}
    for value in b:
        scan = add_rician((s0 * np.exp(-value * adc)).astype(np.float32), sigma, generator(6, value))
        images[dwi_name(int(value))] = Image(scan, AFFINE, dwi_name(int(value)))
    done, records = run_steps(Case(images), [{"adc": {"method": method}}])
    assert records[0]["noise"] == pytest.approx(sigma, rel=0.2)
    clean = np.exp(-b[:, None] * adc[brain]) / sigma
    a11, a12, a22 = (clean**2).sum(0), (-b[:, None] * 1000 * clean**2).sum(0), ((1000 * b[:, None] * clean) ** 2).sum(0)
    bound = np.sqrt(a11 / (a11 * a22 - a12**2))
    away = (done.images["adc"].data[brain] - adc[brain]) / bound
    assert away.std() == pytest.approx(1.0, abs=0.1)
    assert abs(np.median(away)) < 0.05


def test_nonlinear_equals_scipys_least_squares():
    case = scans((0, 500, 1000), truth(), noise=15.0)
    b = np.array([0.0, 500.0, 1000.0])
    signals = np.stack([image.data[:3, :3, 0].ravel() for image in case.images.values()]).astype(float)
    ours = fit_nonlinear(b, signals, 0.0, np.full(9, 1e-3), LIMIT)
    for voxel in range(9):
        theirs, _ = curve_fit(lambda b, s, d: s * np.exp(-b * d * 1e-3), b, signals[:, voxel], p0=(1000.0, 1.0))
        assert ours[voxel] == pytest.approx(theirs[1] * 1e-3, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=24, max_size=24),
    method=st.sampled_from(["loglinear", "nonlinear"]),
)
def test_any_signal_gives_a_finite_adc_within_limits(values: list[float], method: str):
    volumes = np.array(values, np.float32).reshape(3, 2, 2, 2)
    images = {dwi_name(b): Image(data, AFFINE, dwi_name(b)) for b, data in zip((0, 500, 1000), volumes, strict=True)}
    data, record = fitted(Case(images), method=method)
    assert np.isfinite(data).all()
    assert data.min() >= 0
    assert data.max() <= LIMIT * (1 + 1e-6)
    assert json.loads(json.dumps(record)) == record


def test_voxels_without_signal_are_0_and_counted():
    case = scans((0, 500, 1000), np.full(SHAPE, 1e-3))
    data = {name: image.data.copy() for name, image in case.images.items()}
    data["dwi_b1000"][0] = 0.0  # two b-values are left
    data["dwi_b1000"][1] = data["dwi_b500"][1] = -3.0  # one is left
    for b in (0, 500, 1000):
        data[dwi_name(b)][2] = 0.0
    images = {name: image.with_data(data[name]) for name, image in case.images.items()}
    adc, record = fitted(replace(case, images=images))
    np.testing.assert_allclose(adc[0], 1e-3, rtol=1e-5)
    assert not adc[1:3].any()
    assert record["without_signal"] == adc[1].size


def test_air_is_0_and_noise_is_measured_in_it():
    air = np.ones((24, 24, 24), bool)
    air[6:18, 6:18, 6:18] = False
    rng = generator(5, "air")
    images = {}
    for b in (0, 1000):
        clean = np.where(air, 0.0, 1000.0 * np.exp(-b * 1e-3))
        real, imaginary = 20.0 * rng.standard_normal((2, *air.shape))
        images[dwi_name(b)] = Image(np.hypot(clean + real, imaginary).astype(np.float32), AFFINE, dwi_name(b))
    done, records = run_steps(Case(images), [{"adc": {}}])
    assert noise_of(images["dwi_b0"].data) == pytest.approx(20.0, rel=0.15)
    assert (done.images["adc"].data[air] > 0).mean() < 0.02
    assert np.median(done.images["adc"].data[~air]) == pytest.approx(1e-3, rel=0.02)
    assert records[0]["noise"] == pytest.approx(20.0, rel=0.15)


def test_air_that_is_no_number_hides_no_tissue():
    """Air set to NaN has no noise to measure; the map must not come out empty."""
    case = scans((0, 1000), np.full(SHAPE, 1e-3))
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 2:-2, 2:-2] = True
    images = {name: i.with_data(np.where(inside, i.data, np.float32(np.nan))) for name, i in case.images.items()}
    adc, record = fitted(replace(case, images=images))
    np.testing.assert_allclose(adc[inside], 1e-3, rtol=1e-5)
    assert not adc[~inside].any()
    assert record["noise"] == 0


def test_too_fast_and_negative_diffusion_is_clamped_and_counted():
    adc = np.full(SHAPE, 1e-3)
    adc[0], adc[1] = 6e-3, -1e-3
    data, record = fitted(scans((0, 500), adc))
    assert data[0].max() == pytest.approx(LIMIT)
    assert not data[1].any()
    assert (record["above"], record["below"]) == (adc[0].size, adc[1].size)


def test_keep_decides_about_the_weighted_images():
    case = scans((0, 1000), truth())
    assert list(run_steps(case, [{"adc": {"keep": True, "min_snr": 0}}])[0].images) == ["adc", "dwi_b0", "dwi_b1000"]
    assert list(run_steps(case, [{"adc": {"keep": False, "min_snr": 0}}])[0].images) == ["adc"]


@pytest.mark.parametrize(("unit", "exact"), [(1.0, 1.0), (1e3, 1e-3), (1e6, 1e-6)])
def test_a_given_adc_is_kept_brought_to_mm2_s_and_back(unit: float, exact: float):
    theirs = Image((truth() * unit).astype(np.float32), AFFINE, "adc")
    case = scans((0, 1000), truth() * 0.5)
    done, records = run_steps(replace(case, images={**case.images, "adc": theirs}), [{"adc": {}}])
    assert (records[0]["source"], records[0]["scale"]) == ("given", exact)
    np.testing.assert_allclose(done.images["adc"].data, truth(), rtol=1e-6)
    np.testing.assert_allclose(invert_steps(done.images["adc"], records).data, theirs.data, rtol=1e-6)
    other = Image(theirs.data, AFFINE, "t1")
    assert np.array_equal(invert_steps(other, records, like="t1").data, other.data)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e9])
def test_an_adc_of_no_known_unit_is_refused(scale: float):
    with pytest.raises(InputError, match="unit of the ADC"):
        run_steps(Case({"adc": Image((truth() * scale).astype(np.float32), AFFINE, "adc")}), [{"adc": {}}])


def test_one_b_value_is_refused():
    with pytest.raises(InputError, match="not enough b-values") as error:
        run_steps(scans((1000,), truth()), [{"adc": {}}])
    assert "dwi_b1000" in str(error.value)


def test_images_on_two_grids_are_refused():
    case = scans((0, 1000), truth())
    moved = replace(case.images["dwi_b1000"], affine=np.diag([2.0, 2.0, 2.5, 1.0]))
    with pytest.raises(InputError, match="another grid") as error:
        run_steps(replace(case, images={**case.images, "dwi_b1000": moved}), [{"adc": {}}])
    assert "resample" in str(error.value)


@pytest.mark.real
def test_the_real_adc_map_is_recognised_as_um2_per_ms(real_data: Path):
    from mrsynth.io import read_image

    image = read_image(next((real_data / "isles22").rglob("*adc.nii.gz")), "adc")
    done, records = run_steps(Case({"adc": image}), [{"adc": {}}])
    assert records[0]["scale"] == 1e-3
    inside = done.images["adc"].data[done.images["adc"].data > 0]
    assert 0.6e-3 < np.median(inside) < 1.1e-3


@pytest.mark.parametrize(
    ("factors", "told"),
    [((1.0, 30.0), "does not fall"), ((1.0, 1e-3), "falls too fast"), ((1.0, 1.0), None)],
)
def test_images_that_were_scaled_apart_give_no_adc(factors: tuple[float, float], told: str | None):
    case = scans((0, 1000), truth())
    scaled = {
        name: image.with_data((image.data * np.float32(factor)).astype(np.float32))
        for (name, image), factor in zip(case.images.items(), factors, strict=True)
    }
    case = replace(case, images=scaled)
    if told is None:
        fitted(case)
        return
    with pytest.raises(InputError, match=told):
        fitted(case)
