"""A digital brain phantom with known truth: `simulate_subject`, `simulate_cohort`, `simulate_doses`."""

from mrsynth.simulate.cohort import simulate_cohort
from mrsynth.simulate.draw import SubjectSettings
from mrsynth.simulate.examination import Truth
from mrsynth.simulate.subject import (
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
