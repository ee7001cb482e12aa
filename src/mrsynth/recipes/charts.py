"""The schema of a study's charts: learning curves side by side, what a network learned to look at, a line of voxels."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field, model_validator

from mrsynth.errors import RecipeError
from mrsynth.settings import Settings, nearest


class ChartSettings(Settings):
    """One chart, of one of three kinds.

    losses: label → cell whose training and validation losses are drawn (Figure 8 of li2022). filters: label → cell
    whose first filters and feature maps are shown, networks `drunet` alone (Figure 9). profile: contrasts whose values
    along a line through the cerebrospinal fluid are drawn, the first of them a CT (Figure 10).
    """

    title: str
    losses: dict[str, str] = Field(default_factory=dict)
    filters: dict[str, str] = Field(default_factory=dict)
    profile: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_kind(self) -> ChartSettings:
        if sum(map(bool, (self.losses, self.filters, self.profile))) != 1:
            raise ValueError("one of losses, filters and profile must be given")
        return self


def check_charts(charts: Mapping[str, ChartSettings], cells: Collection[str]) -> None:
    """Raise RecipeError where a chart shows a cell that the study does not have."""
    for chart, settings in charts.items():
        for label, cell in {**settings.losses, **settings.filters}.items():
            if cell not in cells:
                raise RecipeError(
                    f"Chart {chart}: '{label}' shows '{cell}', which the study does not train.",
                    expected="one of " + ", ".join(cells),
                    do=nearest(cell, list(cells)),
                )
