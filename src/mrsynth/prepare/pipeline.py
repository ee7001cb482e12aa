"""Runs the steps of a recipe over a case, keeps their records, and takes an image back through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from mrsynth.errors import InputError, RecipeError
from mrsynth.image import Case, Image, grid_error
from mrsynth.prepare.brain import BRAIN_MASK
from mrsynth.prepare.intensity import UNIT, WINDOW, ZSCORE
from mrsynth.prepare.resample import DROP_EMPTY_SLICES, FIELD_OF_VIEW, RESIZE
from mrsynth.prepare.step import Record, Step
from mrsynth.settings import Settings, nearest, parse

STEPS: Mapping[str, Step] = {
    "brain_mask": BRAIN_MASK,
    "zscore": ZSCORE,
    "unit": UNIT,
    "window": WINDOW,
    "drop_empty_slices": DROP_EMPTY_SLICES,
    "field_of_view": FIELD_OF_VIEW,
    "resize": RESIZE,
}

Kind = Literal["geometry", "intensity"]


def parse_steps(steps: Sequence[Mapping[str, Any]]) -> list[tuple[str, Settings]]:
    """Return (name, settings) a step from a recipe's list of {name: {setting: value}}; raises RecipeError that names
    the nearest valid step or setting."""
    parsed = []
    for step in steps:
        if len(step) != 1:
            raise RecipeError(
                "A preparation step is one name with its settings.", found=dict(step), expected="{name: {…}}"
            )
        name, settings = next(iter(step.items()))
        if name not in STEPS:
            raise RecipeError(
                f"Unknown preparation step '{name}'.",
                expected="one of " + ", ".join(STEPS),
                do=nearest(name, list(STEPS)),
            )
        parsed.append((name, parse(STEPS[name].settings, settings or {}, f"step {name}")))
    return parsed


def run_steps(
    case: Case, steps: Sequence[Mapping[str, Any]], kinds: Sequence[Kind] = ("geometry", "intensity")
) -> tuple[Case, tuple[Record, ...]]:
    """Run a recipe's steps over a case.

    steps: list of {name: {setting: value}}. kinds: leave out "geometry" to normalise on the patient's own grid.
    Returns the prepared case (its history extended) and the records that `invert_steps` needs, all JSON-able.
    Raises InputError where the case cannot be prepared, RecipeError where a step does not exist.
    """
    if not case.images:
        raise InputError(f"{case.name}: no image to prepare.", do="check the case's row in the cohort table")
    first = next(iter(case.images.values()))
    for image in [*case.images.values(), *case.masks.values()]:
        if error := grid_error(case.name, first, image):
            raise error
    records: list[Record] = []
    for name, settings in parse_steps(steps):
        step = STEPS[name]
        if step.kind in kinds:
            case, found = step.apply(case, settings)
            records.append({"step": name, "kind": step.kind, "settings": settings.model_dump(mode="json"), **found})
    return replace(case, history=(*case.history, *records)), tuple(records)


def split_at_geometry(
    steps: Sequence[Mapping[str, Any]],
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Return the steps that come before the grid changes for the first time, and the rest."""
    kinds = [STEPS[name].kind for name, _ in parse_steps(steps)]
    first = kinds.index("geometry") if "geometry" in kinds else len(kinds)
    return steps[:first], steps[first:]


def invert_steps(image: Image, records: Sequence[Record], kinds: Sequence[Kind] = ("geometry", "intensity")) -> Image:
    """Take one image back through recorded steps, last first.

    kinds: ("geometry",) brings a prediction to the patient's own grid and leaves its values. Intensity steps need the
    record of the image's own contrast; raises InputError where it is missing.
    """
    for record in reversed(records):
        if record["kind"] not in kinds:
            continue
        if "images" in record and image.contrast not in record["images"]:
            raise InputError(
                f"The intensities of {image.contrast} cannot be restored: step {record['step']} did not see it.",
                found=", ".join(record["images"]),
                do="keep the normalised range",
            )
        image = STEPS[record["step"]].invert(image, record)
    return image
