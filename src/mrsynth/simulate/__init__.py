"""A digital brain phantom with known truth: `simulate_subject`, `simulate_cohort`, `simulate_doses`."""

from mrsynth.simulate.cohort import simulate_cohort
from mrsynth.simulate.subject import (
    SubjectSettings,
    Truth,
    replay_subject,
    simulate_doses,
    simulate_subject,
    simulate_with_truth,
)

__all__ = [
    "SubjectSettings",
    "Truth",
    "replay_subject",
    "simulate_cohort",
    "simulate_doses",
    "simulate_subject",
    "simulate_with_truth",
]
