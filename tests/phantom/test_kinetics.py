"""Agent in lesions over time: laws of the Tofts model, and what they do to a low-dose scan."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from mrsynth.phantom import SubjectSettings, simulate_subject, simulate_with_truth
from mrsynth.phantom.draw import draw_subject
from mrsynth.phantom.examination import Examination
from mrsynth.phantom.kinetics import PLASMA, draw_kinetics, low_dose_factor, uptake
from mrsynth.phantom.scanner import CT_NOISE_HU, ct_noise_hu
from mrsynth.phantom.subject import scan_again


@pytest.mark.parametrize("kep", [0.144, 0.05, 0.4, 2.0])
@pytest.mark.parametrize("minutes", [0.5, 3.0, 15.0])
def test_the_uptake_is_the_integral(kep: float, minutes: float) -> None:
    def plasma(t: float) -> float:
        return sum(a * np.exp(-m * t) for a, m in PLASMA)

    expected, _ = quad(lambda tau: plasma(tau) * np.exp(-kep * (minutes - tau)), 0, minutes)
    assert uptake(minutes, kep) == pytest.approx(expected, rel=1e-6)


def test_slow_lesions_lag_behind_the_dose_and_fast_ones_run_ahead() -> None:
    factors = [low_dose_factor(kep, 0.33, 3.0, 10.0) for kep in (0.1, 0.4, 1.5)]
    assert factors == sorted(factors)
    assert factors[0] < 0.85
    assert factors[-1] > 1.05
    assert low_dose_factor(0.1, 1e-6, 3.0, 10.0) == pytest.approx(1, abs=1e-4)  # nothing is left of nothing


def test_lesions_of_one_cohort_differ() -> None:
    drawn = draw_kinetics(np.random.default_rng(0), [{}] * 400)
    factors = [low_dose_factor(kep, 0.33, 3.0, 10.0) for kep in drawn["kep_per_min"]]
    assert np.std(factors) > 0.08
    assert 0.6 < min(factors) < 0.95
    assert 1.0 < max(factors) < 1.6


def settings(**more: object) -> SubjectSettings:
    known = {"profile": "dose", "lesion": "metastases", "site": "site-A", "spacing_mm": 4.0, "doses": (0.33,)}
    return SubjectSettings.model_validate({**known, **more})


def test_only_the_low_dose_scan_knows_of_kinetics() -> None:
    draws = draw_subject(5, settings(), None)
    own, without = Examination(draws).case(), Examination({k: v for k, v in draws.items() if k != "kinetics"}).case()
    for name in ("t1", "t1ce"):
        assert np.array_equal(own.images[name].data, without.images[name].data)
    changed = own.images["t1ld"].data != without.images["t1ld"].data
    assert changed.any()
    reach = own.masks["lesion"].data > 0
    assert changed[reach].sum() > 0.5 * changed.sum()


def test_a_low_dose_is_no_linear_function_of_native_and_standard_scan() -> None:
    """Per lesion k = (low − native) / (standard − native) differs, where no noise is."""
    draws = draw_subject(5, settings(), None)
    examination = Examination(draws)
    examination.case()
    native, low, full = (examination.clean[name] for name in ("t1", "t1ld_0.33", "t1ce"))
    plain = Examination({k: v for k, v in draws.items() if k != "kinetics"})
    plain.case()
    tumour = examination.composition.fractions[examination.table.index("enhancing_tumour")]
    strong = examination.composition.volume(tumour, 0.0) > 0.5
    changes = [(one - native)[strong] / (full - native)[strong] for one in (low, plain.clean["t1ld_0.33"])]
    spread = [float(np.std(one)) for one in changes]
    assert spread[0] > 1.5 * spread[1]


@pytest.mark.parametrize("profile", ["brats", "tumour", "ct"])
def test_other_profiles_draw_no_kinetics(profile: str) -> None:
    assert "kinetics" not in draw_subject(3, SubjectSettings.model_validate({"profile": profile}), None)


def test_a_second_scan_differs_by_its_noise_alone() -> None:
    case, truth = simulate_with_truth(5, settings())
    again = scan_again(case.metadata["draws"], "t1ld")
    first, inside = case.images["t1ld"], case.masks["brain"].data > 0
    assert again.contrast == "t1ld"
    difference = (again.data - first.data)[inside]
    draw = case.metadata["draws"]["scans"]["t1ld_0.33"]
    assert abs(difference.mean()) < 0.1 * difference.std()
    scale = 1 if first.data.max() <= 1 else np.median(truth.clean["t1ld_0.33"][inside])
    assert 0.3 < difference.std() / (np.sqrt(2) * draw["noise"] * scale) < 3
    assert np.array_equal(again.data, scan_again(case.metadata["draws"], "t1ld").data)
    assert np.array_equal(simulate_subject(5, settings()).images["t1ld"].data, first.data)


def test_ct_noise_falls_with_the_root_of_the_voxel() -> None:
    assert ct_noise_hu(1.0) == CT_NOISE_HU
    assert ct_noise_hu(2.0) == pytest.approx(CT_NOISE_HU / np.sqrt(8))
