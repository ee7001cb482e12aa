"""The profile of chen2022's data: diffusion images that follow the law they are fitted by, and one site."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mrsynth.core.image import Case
from mrsynth.phantom import SubjectSettings, Truth, replay_subject, simulate_with_truth
from mrsynth.phantom.cohort import cohort_members

B_S_MM2 = (0, 500, 1000)


@cache
def made(**settings: object) -> tuple[Case, Truth]:
    return simulate_with_truth(7, SubjectSettings(profile="tumour", site="site-A", spacing_mm=4.0, **settings))


@pytest.mark.parametrize("tissue", ["white", "ventricles"])
def test_the_ideal_signal_falls_with_b_as_diffusion_says(tissue: str) -> None:
    _, truth = made(lesion="none")
    pure = truth.fractions[truth.tissues.index(tissue)] > 0.999
    assert pure.any()
    adc = truth.adc_mm2_s[pure]
    for b in B_S_MM2[1:]:
        ratio = truth.clean[f"dwi_b{b}"][pure] / truth.clean["dwi_b0"][pure]
        np.testing.assert_allclose(-np.log(ratio) / b, adc, rtol=2e-3)


def test_a_diffusion_series_lies_still_and_has_noise_of_its_own_in_each_image() -> None:
    case, truth = made(lesion="none", registered=False, stripped=False)
    first = truth.movement["dwi_b0"]
    assert not np.allclose(first, np.eye(4))
    assert all(np.array_equal(truth.movement[f"dwi_b{b}"], first) for b in B_S_MM2)
    assert set(case.metadata["draws"]["scans"]) == {"t1", "t1ce", "t2", "flair", "dwi"}
    air = (slice(0, 10), slice(0, 10), slice(-10, None))  # a corner, away from the head
    noise = np.corrcoef([case.images[f"dwi_b{b}"].data[air].ravel() for b in B_S_MM2])
    assert np.abs(noise - np.eye(3)).max() < 0.2


def test_a_case_can_be_replayed() -> None:
    case, _ = made(lesion="glioma_high")
    again = replay_subject(case.metadata["draws"])
    assert all(np.array_equal(again.images[name].data, case.images[name].data) for name in case.images)


def test_the_cohort_is_one_sites() -> None:
    assert {member.settings.site for member in cohort_members(5, 40, "tumour", 4.0)} == {"site-A"}
    assert {member.settings.site for member in cohort_members(5, 40, "brats", 4.0)} == {"site-A", "site-B"}
