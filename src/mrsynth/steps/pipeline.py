"""Runs the steps of a recipe over a case, keeps their records, and takes an image back through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case, Image, grid_error
from mrsynth.core.settings import Settings, nearest, parse
from mrsynth.core.types import b_of
from mrsynth.steps.adc import ADC
from mrsynth.steps.bias import N4
from mrsynth.steps.brain import BRAIN_MASK
from mrsynth.steps.crop import DROP_EMPTY_SLICES, FIELD_OF_VIEW, PAD_OR_CROP
from mrsynth.steps.curve import CURVE
from mrsynth.steps.equalize import EQUALIZE
from mrsynth.steps.nyul import NYUL
from mrsynth.steps.radiometric import RADIOMETRIC
from mrsynth.steps.register import REGISTER
from mrsynth.steps.reorient import REORIENT
from mrsynth.steps.resample import RESAMPLE
from mrsynth.steps.resize import RESIZE
from mrsynth.steps.scale import Q95, ROBUST, UNIT, ZSCORE
from mrsynth.steps.step import Record, Step
from mrsynth.steps.window import CLIP, CT_WINDOW, WINDOW

STEPS: Mapping[str, Step] = {
    "adc": ADC,
    "brain_mask": BRAIN_MASK,
    "n4": N4,
    "zscore": ZSCORE,
    "robust": ROBUST,
    "unit": UNIT,
    "q95": Q95,
    "nyul": NYUL,
    "equalize": EQUALIZE,
    "radiometric": RADIOMETRIC,
    "curve": CURVE,
    "window": WINDOW,
    "ct_window": CT_WINDOW,
    "clip": CLIP,
    "reorient": REORIENT,
    "register": REGISTER,
    "resample": RESAMPLE,
    "pad_or_crop": PAD_OR_CROP,
    "drop_empty_slices": DROP_EMPTY_SLICES,
    "field_of_view": FIELD_OF_VIEW,
    "resize": RESIZE,
}

Kind = Literal["geometry", "intensity"]
Steps = Sequence[Mapping[str, Any]]


def parse_steps(steps: Steps) -> list[tuple[str, Settings]]:
    """Return (name, settings) a step from a list of {name: {setting: value}}; settings left out are those of
    defaults.yaml. Raises RecipeError that names the nearest valid step or setting."""
    parsed = []
    for step in steps:
        if not isinstance(step, Mapping) or len(step) != 1:
            found = dict(step) if isinstance(step, Mapping) else step
            raise RecipeError("A preparation step is one name with its settings.", found=found, expected="{name: {…}}")
        name, settings = next(iter(step.items()))
        if name not in STEPS:
            raise RecipeError(
                f"Unknown preparation step '{name}'.",
                expected="one of " + ", ".join(STEPS),
                do=nearest(name, list(STEPS)),
            )
        if not isinstance(settings, Mapping | None):
            raise RecipeError(f"step {name}: its settings are no mapping.", found=settings, expected="{setting: value}")
        parsed.append((name, parse(STEPS[name].settings, {**_defaults()[name], **(settings or {})}, f"step {name}")))
    return parsed


@cache
def _defaults() -> dict[str, dict[str, Any]]:
    """Return defaults.yaml: step → setting → value."""
    return yaml.safe_load(resources.files("mrsynth.steps").joinpath("defaults.yaml").read_text(encoding="utf-8"))


def complete_steps(steps: Steps) -> list[dict[str, dict[str, Any]]]:
    """Return the steps with every setting filled in, JSON-able; raises RecipeError as `parse_steps` does."""
    return [{name: settings.model_dump(mode="json")} for name, settings in parse_steps(steps)]


def run_steps(
    case: Case,
    steps: Steps,
    kinds: Sequence[Kind] = ("geometry", "intensity"),
    watch: Callable[[str, Case], None] | None = None,
) -> tuple[Case, tuple[Record, ...]]:
    """Run a recipe's steps over a case.

    Args:
        case: images as they were read.
        steps: a list of {name: {setting: value}}.
        kinds: which steps run; leave out "geometry" to normalise on the patient's own grid.
        watch: called with the step's name and the case after each step.

    Returns:
        The prepared case (its history extended), and the records that `invert_steps` needs, all JSON-able.

    Raises:
        InputError: where the case cannot be prepared.
        RecipeError: where a step does not exist or has not learned yet what it needs.
    """
    if not case.images:
        raise InputError(f"{case.name}: no image to prepare.", do="check the case's row in the cohort table")
    records: list[Record] = []
    for name, settings in parse_steps(steps):
        step = STEPS[name]
        if step.kind not in kinds:
            continue
        if step.learn is not None and not step.learn.settled(settings):
            raise RecipeError(
                f"Step {name} has not learned from training cases yet.", do="use it through mrsynth prepare"
            )
        if not step.any_grid:
            _require_one_grid(case, name)
        case, found = step.apply(case, settings)
        records.append({"step": name, "kind": step.kind, "settings": settings.model_dump(mode="json"), **found})
        if watch is not None:
            watch(name, case)
    return replace(case, history=(*case.history, *records)), tuple(records)


def _require_one_grid(case: Case, step: str) -> None:
    """Raise InputError if images and masks of a case do not share one grid."""
    first = next(iter(case.images.values()))
    for image in [*case.images.values(), *case.masks.values()]:
        if error := grid_error(case.name, first, image):
            do = f"put register (where the head moved) and resample before {step} in the recipe"
            raise InputError(error.what, found=error.found, expected=error.expected, do=do)


def learn_steps(
    cases: Callable[[], Iterable[Case]], steps: Steps, leave_out_broken: bool = False
) -> list[dict[str, dict[str, Any]]]:
    """Return the steps, completed, with what those that learn have learned.

    Steps without `learn`, and those whose settings hold it already, stay as they are.

    Args:
        cases: gives the training cases anew at each call, one pass a learning step.
        steps: of the recipe.
        leave_out_broken: learn nothing from a case on which a step fails; otherwise its error is raised.
    """
    settled = complete_steps(steps)
    for position, (name, settings) in enumerate(parse_steps(settled)):
        learn = STEPS[name].learn
        if learn is None or learn.settled(settings):
            continue
        summaries = []
        for case in cases():
            try:
                summaries.append(learn.summarise(run_steps(case, settled[:position])[0], settings))
            except RecipeError:
                raise
            except Exception:  # whatever library it broke in
                if not leave_out_broken:
                    raise
        settled[position] = {name: learn.settle(summaries, settings).model_dump(mode="json")}
    return settled


def learns(steps: Steps) -> bool:
    """Say whether any of the steps learns from the training cases."""
    return any(STEPS[name].learn is not None for name, _ in parse_steps(steps))


def run_on_grid_of(case: Case, steps: Steps, like: str) -> Case:
    """Run a recipe's steps so that the case ends on the own grid of one of its images: as truth is judged there.

    The head's movement is corrected (register), everything is brought onto the grid of that image (resample, one
    interpolation, none for the image itself), intensities are normalised; other changes of the grid are left out.

    Args:
        case: images as they were read.
        steps: of the recipe.
        like: the contrast whose grid is kept.

    Raises:
        InputError: as `run_steps` does, and where the case has no such image.
    """
    own, place = case.image(like), like
    changed: list[dict[str, dict[str, Any]]] = []
    for step in complete_steps(steps):
        name, settings = next(iter(step.items()))
        if name == "resample":
            changed.append({name: {**settings, "to": place, "spacing_mm": None, "shape": None}})
        elif name == "register" or STEPS[name].kind == "intensity":
            changed.append(step)
        if name == "adc" and b_of(like) is not None:
            place = "adc"  # the diffusion images may be gone from here on; their map lies where they lay
    done, _ = run_steps(case, changed)
    # Where `like` itself was moved onto another image, all of them go back with it.
    images = {name: replace(image, affine=own.affine, native=own.native) for name, image in done.images.items()}
    masks = {name: replace(mask, affine=own.affine, native=own.native) for name, mask in done.masks.items()}
    return replace(done, images=images, masks=masks)


def split_at_geometry(steps: Steps) -> tuple[Steps, Steps]:
    """Return the steps that come before the grid changes for the first time, and the rest."""
    kinds = [STEPS[name].kind for name, _ in parse_steps(steps)]
    first = kinds.index("geometry") if "geometry" in kinds else len(kinds)
    return steps[:first], steps[first:]


def invert_steps(
    image: Image,
    records: Sequence[Record],
    kinds: Sequence[Kind] = ("geometry", "intensity"),
    like: str | None = None,
) -> Image:
    """Take one image back through recorded steps, last first.

    Args:
        image: on the grid of the prepared case.
        records: as `run_steps` returned them.
        kinds: ("geometry",) brings a prediction to the patient's own grid and leaves its values.
        like: the contrast of the case whose place and units the image gets, by default its own.

    Raises:
        InputError: where a record did not see it.
    """
    like = like or image.contrast
    for record in reversed(records):
        if record["kind"] not in kinds:
            continue
        for key, what in (("images", "intensities"), ("grids", "place")):
            if key in record and like not in record[key]:
                raise InputError(
                    f"The {what} of {like} cannot be restored: step {record['step']} did not see it.",
                    found=", ".join(record[key]),
                    do="keep the normalised range" if key == "images" else "name a contrast of the case",
                )
        image = STEPS[record["step"]].invert(image, record, like)
    return image
