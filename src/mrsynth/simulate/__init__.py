"""A digital brain phantom with known truth: `simulate_subject`, `simulate_cohort`, `simulate_doses`."""

from mrsynth.simulate.cohort import Member, cohort_members, simulate_cohort
from mrsynth.simulate.draw import SubjectSettings
from mrsynth.simulate.examination import Truth
from mrsynth.simulate.subject import (
    replay_subject,
    simulate_doses,
    simulate_subject,
    simulate_with_truth,
)

__all__ = [
    "Member",
    "SubjectSettings",
    "Truth",
    "cohort_members",
    "replay_subject",
    "simulate_cohort",
    "simulate_doses",
    "simulate_subject",
    "simulate_with_truth",
]
