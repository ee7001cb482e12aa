"""What a preparation step is: settings, a pure function on a case, its record, and the way back for one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings

Record = Mapping[str, Any]
"""What a step measured and did, JSON-able. Intensity steps keep one entry an image under "images", geometry steps that
treat images differently one under "grids"."""


@dataclass(frozen=True)
class Learn:
    """What a step must know of the training patients before it can run (Nyúl's landmarks).

    Attributes:
        settled: whether the settings hold it already.
        summarise: (case as it reaches the step, settings) → a few JSON-able numbers.
        settle: (summaries of the training cases, settings) → settings that hold what was learned.
    """

    settled: Callable[[Any], bool]
    summarise: Callable[[Case, Any], dict[str, Any]]
    settle: Callable[[Sequence[dict[str, Any]], Any], Settings]


@dataclass(frozen=True)
class Step:
    """One kind of step.

    Attributes:
        settings: without defaults; those of all steps stand in defaults.yaml.
        kind: "geometry" steps change where images lie (and act on masks too), "intensity" steps change values on the
            same grid, or make a mask or an image.
        apply: (case, settings) → (new case, record).
        invert: (image, record, like) → the image as it was before the step, up to what the step lost (a crop, a clip,
            an interpolation); like: the contrast whose place an image goes back to, where the step moved images
            differently, or whose intensities it takes.
        any_grid: the step takes images of a case that lie on different grids; all others are refused them.
        learn: see `Learn`.
    """

    settings: type[Settings]
    kind: Literal["geometry", "intensity"]
    apply: Callable[[Case, Any], tuple[Case, dict[str, Any]]]
    invert: Callable[[Image, Record, str], Image]
    any_grid: bool = False
    learn: Learn | None = None
