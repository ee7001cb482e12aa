"""A digital brain phantom with known truth: `simulate_subject`, `simulate_cohort`, `simulate_doses`."""

from mrsynth.phantom.cohort import Member, cohort_members, simulate_cohort
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.phantom.examination import Truth
from mrsynth.phantom.protocols import Sites
from mrsynth.phantom.subject import replay_subject, simulate_doses, simulate_subject, simulate_with_truth

__all__ = [
    "Member",
    "Sites",
    "SubjectSettings",
    "Truth",
    "cohort_members",
    "replay_subject",
    "simulate_cohort",
    "simulate_doses",
    "simulate_subject",
    "simulate_with_truth",
]
