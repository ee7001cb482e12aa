"""Cohorts: each patient independent of how many there are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.phantom import cohort_members, simulate_cohort
from mrsynth.phantom.cohort import MIXTURE, SITES, patient_settings


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


def test_strata_that_are_given_take_turns() -> None:
    members = cohort_members(0, 3, "dose", 4.0, strata=[("site-B", 0.33), ("site-B3", 0.2)], prefix="b")
    assert [(m.name, m.settings.site, m.settings.doses) for m in members] == [
        ("b-0000", "site-B", (0.33,)),
        ("b-0001", "site-B3", (0.2,)),
        ("b-0002", "site-B", (0.33,)),
    ]
    further = members[0].at_dose(0.17)
    assert (further.name, further.seed, further.settings.doses) == ("b-0000_dose-0.17", members[0].seed, (0.17,))


def test_drawn_sites_change_where_patients_are_scanned_and_nothing_else() -> None:
    for profile in ("brats", "dose"):
        usual, drawn = (cohort_members(3, 8, profile, 4.0, sites=sites) for sites in ("usual", "drawn"))
        assert {member.settings.site for member in drawn} == {"drawn"}
        for a, b in zip(usual, drawn, strict=True):
            assert (a.name, a.seed) == (b.name, b.seed)
            assert a.settings == b.settings.model_copy(update={"site": a.settings.site})


def test_lesions_that_are_given_take_turns_and_change_nothing_else() -> None:
    given = cohort_members(0, 3, "ct", 4.0, strata=[("site-C15", 0.1)], lesions=["none", "metastases"])
    assert [m.settings.lesion for m in given] == ["none", "metastases", "none"]
    drawn = cohort_members(0, 3, "ct", 4.0, strata=[("site-C15", 0.1)])
    assert all(
        a.settings.model_copy(update={"lesion": b.settings.lesion}) == b.settings and a.seed == b.seed
        for a, b in zip(given, drawn, strict=True)
    )


def test_impossible_cohorts_are_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        next(simulate_cohort(0, 0, "brats"))
    with pytest.raises(InputError, match="profile"):
        next(simulate_cohort(0, 1, "pet"))
