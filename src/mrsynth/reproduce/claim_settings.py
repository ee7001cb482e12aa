"""The schema of a study's claims: what a paper reads from its figures, and the number by which that is checked here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field, model_validator

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings, nearest

CurveMeasure = Literal["oscillation", "late_fall", "least_loss"]
LearnedMeasure = Literal["filter_texture", "sparsity", "detail"]
Measure = CurveMeasure | LearnedMeasure | Literal["profile", "folds_p"]


class ClaimSettings(Settings):
    """One claim.

    Attributes:
        figure, says: where the paper says what.
        measured: which number stands for it, in words.
        of: label → cell, or with `profile` label → contrast.
        by: of a cell's validation losses how much they oscillate, which part of their fall comes after 60 % of the
            epochs, or the least of them; of its network (Figure 9) the texture of the first filters, the sparsity of
            the lowest maps, or the detail of the last ones; or the correlation of a contrast with the CT along the line
            through the fluid (Figure 10); or p of the analysis of variance of the RMSE between the folds of a cell.
        metric: preset, metric and region in its place.
        order: how the numbers must go, from the first label to the last.
        at_most, at_least: or what all must keep to.
        why_not: why numbers cannot decide, whatever they are; without `of`, why there is none.
    """

    figure: str
    says: str
    measured: str = ""
    of: dict[str, str] = Field(default_factory=dict)
    by: Measure | None = None
    metric: tuple[str, str, str] | None = None
    order: Literal["falling", "rising"] | None = None
    at_most: float | None = None
    at_least: float | None = None
    why_not: str = ""

    @model_validator(mode="after")
    def _can_be_judged(self) -> ClaimSettings:
        if not self.of:
            if not self.why_not:
                raise ValueError("a claim says what is measured (of), or why nothing is (why_not)")
        elif (self.by is None) == (self.metric is None):
            raise ValueError("a claim has one of by and metric")
        elif [self.order, self.at_most, self.at_least].count(None) != 2:
            raise ValueError("a claim has one of order, at_most and at_least")
        return self


def check_claims(claims: Mapping[str, ClaimSettings], cells: Collection[str], presets: Collection[str]) -> None:
    """Check that a study makes all that its claims are judged by.

    Args:
        claims: name → claim.
        cells: names of the study's cells.
        presets: names of the metric presets.

    Raises:
        RecipeError: a claim names a cell or preset that is not there.
    """
    for name, claim in claims.items():
        wanted = [] if claim.by == "profile" else [(cell, cells, "cell") for cell in claim.of.values()]
        wanted += [(claim.metric[0], presets, "preset")] if claim.metric else []
        for one, known, kind in wanted:
            if one not in known:
                raise RecipeError(
                    f"Claim {name}: there is no {kind} '{one}'.",
                    expected="one of " + ", ".join(known),
                    do=nearest(one, list(known)),
                )
