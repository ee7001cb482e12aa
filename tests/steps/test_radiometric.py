from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.phantom import simulate_subject
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.steps import invert_steps, run_steps
from mrsynth.steps.radiometric import fit_scale
from small_cases import brain_case


def pair(factor: float, enhancing: float, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tissue before and after contrast, stored by a scanner with a factor of its own; noise: part of the mean."""
    rng = generator(seed, "pair")
    before = rng.uniform(300, 1000, 40_000)
    after = before.copy()
    share = int(enhancing * before.size)
    after[:share] *= rng.uniform(1.3, 3, share)
    draws = rng.normal(0, noise * before.mean(), (2, before.size))
    return np.abs(before + draws[0]), np.abs(after + draws[1]) / factor


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(0.05, 20), seed=st.integers(0, 50))
def test_a_known_factor_is_found_in_spite_of_enhancement_and_noise(factor: float, seed: int):
    """15 % of the brain enhances by 30 to 200 %, 3 % noise: within half a per cent; least squares is far off."""
    reference, image = pair(factor, 0.15, 0.03, seed)
    scale, inliers, spread = fit_scale(reference, image)
    assert scale == pytest.approx(factor, rel=5e-3)
    assert inliers == pytest.approx(0.85, abs=0.03)
    assert spread == pytest.approx(0.03 * np.sqrt(2), rel=0.35)
    plain = float(reference @ image / (image @ image))
    assert abs(plain / factor - 1) > 0.1


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_noise_alone_leaves_no_bias(noise: float):
    assert fit_scale(*pair(1.7, 0, noise))[0] == pytest.approx(1.7, rel=3e-3)


def test_without_noise_the_factor_is_exact_and_equal_images_have_none():
    assert fit_scale(*pair(0.3, 0.4, 0))[0] == pytest.approx(0.3, rel=1e-6)
    reference, _ = pair(1, 0, 0.1)
    assert fit_scale(reference, reference) == (1.0, 1.0, 0.0)


def test_the_way_there_and_the_way_back_are_reciprocal():
    reference, image = pair(2.5, 0.1, 0.05)
    assert fit_scale(reference, image)[0] * fit_scale(image, reference)[0] == pytest.approx(1, rel=2e-3)


def test_it_is_a_cauchy_fit():
    """SciPy's Cauchy loss of the same width, on little noise (its fit blames all noise on the reference)."""
    reference, image = pair(1.3, 0.15, 0.01)
    scale, _, spread = fit_scale(reference, image)
    gamma = spread * float(np.median(reference)) / 1.4826
    fit = least_squares(lambda s: reference - s[0] * image, [1.0], loss="cauchy", f_scale=gamma)
    assert scale == pytest.approx(fit.x[0], rel=1e-3)


@pytest.fixture(scope="module")
def phantom() -> Case:
    return simulate_subject(1, SubjectSettings(profile="dose", spacing_mm=4, lesion="glioma_high"))


def test_the_scanners_factor_on_the_phantom(phantom: Case):
    """Each scan has a gain of its own. At a tenth of the dose it is found to 1 %; at the full dose normal tissue takes
    up contrast too (its blood), all of one sign, and the factor holds some of that."""
    after, records = run_steps(phantom, [{"radiometric": {}}])
    gains = {scan.split("_")[0]: draw["gain"] for scan, draw in phantom.metadata["draws"]["scans"].items()}
    found = records[0]["images"]
    assert found["t1"] == {}
    assert found["t1ld"]["scale"] == pytest.approx(gains["t1"] / gains["t1ld"], rel=0.01)
    assert found["t1ce"]["scale"] == pytest.approx(gains["t1"] / gains["t1ce"], rel=0.06)
    assert found["t1ce"]["inliers"] > 0.8
    np.testing.assert_array_equal(after.images["t1"].data, phantom.images["t1"].data)
    np.testing.assert_allclose(
        after.images["t1ce"].data, phantom.images["t1ce"].data * np.float32(found["t1ce"]["scale"]), rtol=1e-6
    )
    back = invert_steps(after.images["t1ce"], records)
    np.testing.assert_allclose(back.data, phantom.images["t1ce"].data, rtol=1e-5)


def test_a_factor_on_the_image_is_undone(phantom: Case):
    louder = phantom.images["t1ce"].with_data(phantom.images["t1ce"].data * np.float32(7.5))
    a, _ = run_steps(phantom, [{"radiometric": {}}])
    b, _ = run_steps(replace(phantom, images={**phantom.images, "t1ce": louder}), [{"radiometric": {}}])
    np.testing.assert_allclose(a.images["t1ce"].data, b.images["t1ce"].data, rtol=1e-5)


def test_vessels_do_not_pull(phantom: Case):
    """Three times as bright a brightest half per cent (the 99.5th percentile follows it): 0.1 %."""
    data = phantom.images["t1ce"].data.copy()
    brain = phantom.masks["brain"].data > 0
    data[brain & (data > np.percentile(data[brain], 99.5))] *= 3
    bright = replace(phantom, images={**phantom.images, "t1ce": phantom.images["t1ce"].with_data(data)})
    scales = [run_steps(c, [{"radiometric": {}}])[1][0]["images"]["t1ce"]["scale"] for c in (phantom, bright)]
    assert scales[0] == pytest.approx(scales[1], rel=1e-3)


def test_then_one_scale_for_the_pair(phantom: Case):
    """pinetz2023: to the native image's scale, then all divided by the native 0.95 quantile."""
    steps = [{"radiometric": {}}, {"q95": {"like": {"t1ce": "t1", "t1ld": "t1"}}}]
    after, records = run_steps(phantom, steps)
    q95 = {name: numbers["scale"] for name, numbers in records[1]["images"].items()}
    assert q95["t1"] == q95["t1ce"] == q95["t1ld"]
    back = invert_steps(after.images["t1ce"], records)
    np.testing.assert_allclose(back.data, phantom.images["t1ce"].data, rtol=1e-5)


def test_a_case_without_images_to_scale_is_passed_over():
    case = run_steps(brain_case(contrasts=("t2",)), [{"brain_mask": {}}])[0]
    after, records = run_steps(case, [{"radiometric": {}}])
    assert after.images == case.images
    assert records[0]["images"] == {"t2": {}}


def test_missing_reference_and_nothing_to_compare_get_sentences():
    case = run_steps(brain_case(contrasts=("t1ce",)), [{"brain_mask": {}}])[0]
    with pytest.raises(InputError, match="no t1 image"):
        run_steps(case, [{"radiometric": {}}])
    case = run_steps(brain_case(contrasts=("t1", "t1ce")), [{"brain_mask": {}}])[0]
    dark = case.images["t1ce"].with_data(case.images["t1ce"].data - 5000)
    with pytest.raises(InputError, match="cannot be brought to the scale of t1"):
        run_steps(replace(case, images={**case.images, "t1ce": dark}), [{"radiometric": {}}])


@pytest.mark.real
def test_real_pairs_from_two_scales(real_data):
    """A patient whose T1ce is stored with a third of T1's scale: normal tissue agrees after the step."""
    folder = real_data / "brats" / "BraTS2021_01477"
    images = {}
    for name in ("t1", "t1ce"):
        stored = nib.load(folder / f"{folder.name}_{name}.nii.gz")
        images[name] = Image(np.asarray(stored.dataobj, np.float32), stored.affine, name)
    case, records = run_steps(Case(images, {}, {"case": folder.name}), [{"brain_mask": {}}, {"radiometric": {}}])
    assert records[1]["images"]["t1ce"]["scale"] == pytest.approx(3.4, rel=0.05)
    t1, t1ce = (case.images[name].data for name in ("t1", "t1ce"))
    both = (t1 > 0) & (t1ce > 0)
    assert np.median(t1ce[both] / t1[both]) == pytest.approx(1, abs=0.05)
