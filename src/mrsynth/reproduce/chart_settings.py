"""The schema of a study's charts: learning curves, what a network learned to look at, a line of voxels, doses."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field, model_validator

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings, nearest
from mrsynth.reproduce.plate_settings import CaseChoice


class ChartSettings(Settings):
    """One chart, of one of seven kinds.

    Attributes:
        title: above it.
        losses: label → cell whose training and validation losses are drawn (Figure 8 of li2022).
        filters: label → cell whose first filters and feature maps are shown, networks `drunet` alone (Figure 9).
        profile: contrasts whose values along a line through the cerebrospinal fluid are drawn, the first of them a CT
            (Figure 10).
        dose_response: label → cell or job; mean enhancement of tissues and lesions over the synthesized dose.
        noise_spectrum: label → cell or job; that of synthesized doses beside that of true scans.
        contrast_and_noise: label → cell or job; histograms and violins of synthesized doses (Figure 8 of pinetz2023).
        dose_panels: label → cell or job; images at every dose (Figure 4), of `cases`.
        cases: those that `dose_panels` shows.
        zoom_mm: side of a box about the lesion that `dose_panels` shows too, None for none.
    """

    title: str
    losses: dict[str, str] = Field(default_factory=dict)
    filters: dict[str, str] = Field(default_factory=dict)
    profile: list[str] = Field(default_factory=list)
    dose_response: dict[str, str] = Field(default_factory=dict)
    noise_spectrum: dict[str, str] = Field(default_factory=dict)
    contrast_and_noise: dict[str, str] = Field(default_factory=dict)
    dose_panels: dict[str, str] = Field(default_factory=dict)
    cases: CaseChoice = CaseChoice(without_tumour=0, with_tumour=2)
    zoom_mm: float | None = Field(default=None, gt=0)

    @property
    def of_doses(self) -> dict[str, str]:
        """What a chart of synthesized doses shows: label → cell or job."""
        return {**self.dose_response, **self.noise_spectrum, **self.contrast_and_noise, **self.dose_panels}

    @model_validator(mode="after")
    def _one_kind(self) -> ChartSettings:
        kinds = set(type(self).model_fields) - {"title", "cases", "zoom_mm"}
        if sum(bool(getattr(self, kind)) for kind in kinds) != 1:
            raise ValueError("one kind of chart must be given: " + ", ".join(sorted(kinds)))
        return self


def check_charts(charts: Mapping[str, ChartSettings], cells: Collection[str], jobs: Collection[str] = ()) -> None:
    """Check that a study makes all that its charts show.

    Args:
        charts: chart → its settings.
        cells: names of the cells that charts may show.
        jobs: names of the study's jobs; only charts of doses may show them.

    Raises:
        RecipeError: a chart shows a cell or job that is not among them.
    """
    for chart, settings in charts.items():
        for shown, known in (({**settings.losses, **settings.filters}, [*cells]), (settings.of_doses, [*cells, *jobs])):
            for label, name in shown.items():
                if name not in known:
                    raise RecipeError(
                        f"Chart {chart}: '{label}' shows '{name}', which the study does not make.",
                        expected="one of " + ", ".join(known),
                        do=nearest(name, known),
                    )
