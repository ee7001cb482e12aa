"""What a preparation step is: settings, a pure function on a case, its record, and the way back for one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mrsynth.image import Case, Image
from mrsynth.settings import Settings

Record = Mapping[str, Any]
"""What a step measured and did, JSON-able. Intensity steps keep one entry an image under "images"."""


@dataclass(frozen=True)
class Step:
    """One kind of step.

    kind: "geometry" steps change the grid (and act on masks too), "intensity" steps change values on the same grid.
    apply: (case, settings) → (new case, record). invert: (image, record) → image as it was before the step, up to what
    the step lost (a crop, a clip, an interpolation).
    """

    settings: type[Settings]
    kind: Literal["geometry", "intensity"]
    apply: Callable[[Case, Any], tuple[Case, dict[str, Any]]]
    invert: Callable[[Image, Record], Image]
