"""Boxes with the condition of their case: dose and field strength (pinetz2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrsynth.core.errors import CohortError
from mrsynth.io.prepared import PreparedCohort
from mrsynth.recipes.sections import PatchSettings
from mrsynth.train.patches import PatchSet

CONDITION = ("dose", "b0_tesla")
"""What a sample's condition holds, in this order; the names of the cohort table's columns."""


class DoseSet(PatchSet):
    """Random boxes (see PatchSet), each with its case's (dose as a fraction of the full one, field strength in tesla).

    Raises CohortError where a case of the split has none of the two.
    """

    def __init__(
        self,
        cohort: PreparedCohort,
        split: str,
        contrasts: tuple[Sequence[str], str],
        settings: PatchSettings,
        seed: int,
        in_memory_gb: float,
    ) -> None:
        super().__init__(cohort, split, contrasts, settings, seed, in_memory_gb)
        self.conditions = {case: np.array(condition_of(cohort, case), np.float32) for case in self.cases}

    def condition(self, numbers: Sequence[int]) -> np.ndarray:
        """Return (dose, b0_tesla) of these samples, (b, 2) float32."""
        return np.stack([self.conditions[self.case_of(number)] for number in numbers])


def condition_of(cohort: PreparedCohort, case: str) -> tuple[float, float]:
    """Return the dose (of its t1ld) and the field strength of a prepared case, as its record has them from the cohort
    table; raises CohortError where it has not."""
    known: dict[str, Any] = cohort.record(case)["metadata"]
    if missing := [name for name in CONDITION if not isinstance(known.get(name), int | float)]:
        raise CohortError(
            f"{case}: its {' and its '.join(missing)} is not known, which the network is to be told.",
            expected="dose as a fraction of the full one, b0_tesla in tesla",
            do=f"fill the column {' and '.join(missing)} of the cohort table and run mrsynth prepare again",
        )
    dose, b0_tesla = (float(known[name]) for name in CONDITION)
    return dose, b0_tesla
