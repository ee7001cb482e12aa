"""Cohorts: each patient independent of how many there are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from mrsynth.errors import InputError
from mrsynth.simulate import simulate_cohort
from mrsynth.simulate.cohort import MIXTURE, SITES, patient_settings


def test_a_case_does_not_depend_on_the_size_of_the_cohort() -> None:
    small = list(simulate_cohort(3, 2, "brats", 4.0))
    large = list(islice(simulate_cohort(3, 30, "brats", 4.0), 2))
    assert [case.name for case in small] == ["phantom-0000", "phantom-0001"]
    for a, b in zip(small, large, strict=True):
        assert a.metadata == b.metadata
        assert all(np.array_equal(a.images[name].data, b.images[name].data) for name in a.images)
    assert small[0].metadata["seed"] != small[1].metadata["seed"]


@pytest.mark.parametrize("profile", MIXTURE)
def test_the_mixture_of_lesions_and_sites(profile: str) -> None:
    drawn = [patient_settings(0, index, profile, 2.0) for index in range(400)]
    kinds = Counter(settings.lesion for settings in drawn)
    assert sum(MIXTURE[profile].values()) == pytest.approx(1.0)
    for kind, share in MIXTURE[profile].items():
        assert kinds[kind] / 400 == pytest.approx(share, abs=0.08)
    assert {settings.site for settings in drawn} == set(SITES.get(profile, ("site-A", "site-B")))


def test_impossible_cohorts_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        next(simulate_cohort(0, 0, "brats"))
    with pytest.raises(InputError, match="profile"):
        next(simulate_cohort(0, 1, "pet"))
