"""A population: patients one after the other, each independent of how many others there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.seeds import derive_seed, generator
from mrsynth.phantom.draw import Profile, SubjectSettings
from mrsynth.phantom.protocols import DRAWN, Sites
from mrsynth.phantom.scanner import USUAL_SITES
from mrsynth.phantom.subject import simulate_subject

MIXTURE: dict[str, dict[str, float]] = {
    "brats": {"glioma_high": 0.6, "glioma_low": 0.15, "metastases": 0.1, "ms": 0.1, "none": 0.05},
    "ct": {"none": 0.6, "glioma_high": 0.2, "metastases": 0.2},
    "dose": {"glioma_high": 0.6, "metastases": 0.3, "none": 0.1},
    "full": {"glioma_high": 0.4, "glioma_low": 0.15, "metastases": 0.15, "ms": 0.15, "none": 0.15},
    "tumour": {"glioma_high": 0.5, "metastases": 0.2, "glioma_low": 0.2, "none": 0.1},
}
"""How often each kind of lesion occurs, by profile."""

SITES: dict[str, tuple[str, ...]] = {"tumour": ("site-A",), "dose": ("site-A", "site-A15")}
"""The sites of profiles that have not the usual ones: chen2022's patients were all scanned at 3 T in one hospital,
pinetz2023's at 3 and 1.5 T with one agent."""

Stratum = tuple[str, float]
"""A site and the low dose that its patients get."""

DOSE_STRATA: tuple[Stratum, ...] = (
    ("site-A", 0.1),
    ("site-A", 0.2),
    ("site-A", 0.33),
    ("site-A15", 0.2),
    ("site-A15", 0.33),
)
"""Site and low dose of the patients of profile `dose`, in turn: as many of each, as in pinetz2023's training data."""

LOW_DOSES: tuple[float, ...] = (0.1, 0.2, 0.33)


@dataclass(frozen=True)
class Member:
    """One patient of a cohort before anything is simulated: what `simulate_subject` takes.

    Attributes:
        seed: of all that is drawn of the patient.
        settings: what the patient has, and how each scan is made.
        name: the case's.
    """

    seed: int
    settings: SubjectSettings
    name: str

    def simulate(self) -> Case:
        """Return the patient's examination."""
        return simulate_subject(self.seed, self.settings, self.name)

    def at_dose(self, dose: float) -> Member:
        """Return the patient under another name, given another low dose: all other scans are the same to the bit."""
        settings = self.settings.model_copy(update={"doses": (dose,)})
        return replace(self, settings=settings, name=f"{self.name}_dose-{dose:g}")


def simulate_cohort(
    seed: int, subjects: int, profile: Profile, spacing_mm: float = 1.0, *, sites: Sites = "usual"
) -> Iterator[Case]:
    """Yield the cases phantom-0000, phantom-0001, …

    Args:
        seed: of the cohort; the same one gives the same bytes.
        subjects: how many.
        profile: which scans each one gets.
        spacing_mm: edge of the voxels.
        sites: `usual`, those of the profile, or `drawn`, a scanner of each patient's own.

    Raises:
        InputError: where there is no such profile or no subject.
    """
    return (member.simulate() for member in cohort_members(seed, subjects, profile, spacing_mm, sites=sites))


def cohort_members(
    seed: int,
    subjects: int,
    profile: Profile,
    spacing_mm: float = 1.0,
    *,
    sites: Sites = "usual",
    strata: Sequence[Stratum] = (),
    lesions: Sequence[str] = (),
    prefix: str = "phantom",
) -> list[Member]:
    """Return who is in a cohort.

    Args:
        seed: of the cohort.
        subjects: how many.
        profile: which scans each one gets.
        spacing_mm: edge of the voxels.
        sites: as of `simulate_cohort`; drawn ones take the place of those in the strata.
        strata: site and low dose of the patients, in turn, in place of the profile's.
        lesions: their kinds, in turn, in place of the profile's mixture.
        prefix: of the patients' names, which are also their folders'.

    Raises:
        InputError: where there is no such profile or no subject.
    """
    if subjects < 1:
        raise InputError("A cohort needs at least one subject.", found=subjects, expected="1 or more")
    if profile not in MIXTURE:
        raise InputError(f"'{profile}' is not a profile.", expected=", ".join(MIXTURE))
    return [
        Member(
            derive_seed(seed, "subject", index),
            patient_settings(seed, index, profile, spacing_mm, strata, sites, lesions),
            f"{prefix}-{index:04d}",
        )
        for index in range(subjects)
    ]


def patient_settings(
    seed: int,
    index: int,
    profile: Profile,
    spacing_mm: float,
    strata: Sequence[Stratum] = (),
    sites: Sites = "usual",
    lesions: Sequence[str] = (),
) -> SubjectSettings:
    """Draw the kind of lesion, the site and the low dose of one patient of a cohort.

    Args:
        seed: of the cohort.
        index: the patient's number.
        profile: which scans each patient gets.
        spacing_mm: edge of the voxels.
        strata: as of `cohort_members`.
        sites: as of `cohort_members`.
        lesions: as of `cohort_members`.
    """
    rng = generator(seed, "cohort", index)
    kinds, weights = zip(*MIXTURE[profile].items(), strict=True)
    lesion = str(rng.choice(kinds, p=weights))
    site, dose = str(rng.choice(SITES.get(profile, USUAL_SITES))), float(rng.choice(LOW_DOSES))
    if strata := strata or (DOSE_STRATA if profile == "dose" else ()):
        site, dose = strata[index % len(strata)]
    if sites == "drawn":
        site = DRAWN
    lesion = lesions[index % len(lesions)] if lesions else lesion
    return SubjectSettings.model_validate(
        {"profile": profile, "spacing_mm": spacing_mm, "lesion": lesion, "site": site, "doses": (dose,)}
    )
