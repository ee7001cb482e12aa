"""The schema of a study's plates: which cases, which slices and which pictures stand in a figure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal

from pydantic import Field

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings, nearest
from mrsynth.reproduce.data_settings import Where

Kind = Literal["scan", "prediction", "error", "enhancement", "mask"]

Shown = Annotated[dict[Kind, str | float], Field(min_length=1, max_length=1)]
"""One picture: {scan: t2} as the model's preparation leaves it; {prediction: NAME} of a cell or job of the study;
{error: NAME} its absolute difference from the truth; {enhancement: t1ce} the scan minus T1; {mask: 0.1} the enhancement
mask M = [T1ce − T1 > δ] of Chen et al. 2022 (§III-C)."""


class CaseChoice(Settings):
    """How many test cases a plate shows, those without a tumour first.

    Attributes:
        without_tumour, with_tumour: how many of each.
        where: of these alone.
    """

    without_tumour: int = Field(ge=0)
    with_tumour: int = Field(ge=0)
    where: Where = Field(default_factory=dict)


class PlateSettings(Settings):
    """One figure.

    Attributes:
        title: above it.
        cases: which it shows.
        slices: 1 (a row a case, a column a picture, the slice of most tumour) or more (a row a picture, a column a
            slice).
        zoom_mm: side of the box around the tumour that a further row shows, None for none.
        show: label → picture, in order.
    """

    title: str
    cases: CaseChoice
    slices: int = Field(ge=1)
    zoom_mm: float | None = Field(gt=0)
    show: dict[str, Shown] = Field(min_length=1)


def picture(shown: Mapping[Kind, str | float]) -> tuple[Kind, str | float]:
    """Return the one kind of a picture and what it is of."""
    return next(iter(shown.items()))


def check_plates(plates: Mapping[str, PlateSettings], names: Collection[str]) -> None:
    """Check that a study makes all predictions that its plates show.

    Args:
        plates: plate → its settings.
        names: of the study's cells and jobs.

    Raises:
        RecipeError: a plate shows a prediction of what is neither cell nor job.
    """
    for plate, settings in plates.items():
        for label, shown in settings.show.items():
            kind, of = picture(shown)
            if kind in ("prediction", "error") and of not in names:
                raise RecipeError(
                    f"Plate {plate}: '{label}' shows '{of}', which the study does not make.",
                    expected="one of " + ", ".join(names),
                    do=nearest(str(of), list(names)),
                )
