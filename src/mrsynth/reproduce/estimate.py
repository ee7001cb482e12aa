"""What a study would cost: steps of its cells, what they share, and core-hours by the measure of a few steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mrsynth.core.errors import MrsynthError
from mrsynth.drawing.labels import MISSING, number
from mrsynth.drawing.table import Cell as Entry
from mrsynth.drawing.table import Table
from mrsynth.io.columns import read_history
from mrsynth.io.run import Run
from mrsynth.nets import count_parameters
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import stages_in_order
from mrsynth.reproduce.decides import digest
from mrsynth.reproduce.plan import Cell, Item
from mrsynth.reproduce.records import State
from mrsynth.train.method import method_of
from mrsynth.train.speed import step_core_seconds

MOST_PARAMETERS = 40_000_000
"""Steps of larger networks are not measured: on a CPU each takes minutes."""

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Cost:
    """What is left to do of a cell.

    Attributes:
        steps: batches, None where an epoch is as long as the cohort is.
        core_s: core-seconds of one batch, None where that is not known.
        why: why it is not known, "" where it is.
    """

    steps: int | None
    core_s: float | None
    why: str = ""

    @property
    def core_hours(self) -> float | None:
        """Of all that is left."""
        known = self.steps is not None and self.core_s is not None
        return self.steps * self.core_s / SECONDS_AN_HOUR if known else None  # type: ignore[operator]


def cost_table(items: Sequence[Item], spacing_mm: float | None) -> Table:
    """Return what each cell of a study would cost here, and what it would share; the sum is the last row.

    Args:
        items: the study's cells, jobs and data, in order.
        spacing_mm: edge of the phantoms' voxels, None for a given cohort.
    """
    measured: dict[str, tuple[float | None, str]] = {}
    rows, hours, unknown = [], 0.0, 0
    for item in items:
        if not isinstance(item, Cell):
            continue
        state = State.of(item.place)
        cost = Cost(0, 0.0) if state.is_done else _cost(item, items, spacing_mm, measured)
        hours += cost.core_hours or 0.0
        unknown += cost.core_hours is None
        jobs = sum(other.maker is item and other is not item for other in items)
        rows.append(
            (
                Entry(item.label, (f"first stages of {item.started_from}",) if item.started_from else ()),
                Entry(state.state if state.is_done or state.why else "begun" if _epochs_done(item) else "not run"),
                Entry(MISSING if cost.steps is None else str(cost.steps), (cost.why,) if cost.why else ()),
                Entry(MISSING if cost.core_s is None else number(cost.core_s, 3)),
                Entry(MISSING if cost.core_hours is None else number(cost.core_hours, 2)),
                Entry(str(jobs) if jobs else MISSING),
            )
        )
    more = (f"{unknown} not known",) if unknown else ()
    rows.append((Entry("all"), Entry(""), Entry(""), Entry(""), Entry(number(hours, 1), more), Entry("")))
    columns = ("cell", "state", "steps left", "core-seconds a step", "core-hours", "jobs")
    note = "Measured here, on noise, in float32; reading, validation, prediction and judgement come on top."
    return Table("What is left to train", note, columns, tuple(rows))


def _cost(
    cell: Cell, items: Sequence[Item], spacing_mm: float | None, measured: dict[str, tuple[float | None, str]]
) -> Cost:
    """Return what is left of a cell that is not done; measured: what was found of cells of the same shape."""
    recipe, space = cell.recipe, sample_shape(cell.recipe, spacing_mm)
    steps = steps_left(cell, items)
    if space is None:
        return Cost(steps, None, "the size of its samples depends on the cohort")
    parts = recipe.model_dump(mode="json", include={"net", "method", "samples", "task"})
    key = digest([parts, recipe.train.batch_size, list(space)])
    if key not in measured:
        measured[key] = _measured(recipe, space)
    return Cost(steps, *measured[key])


def _measured(recipe: Recipe, space: tuple[int, ...]) -> tuple[float | None, str]:
    """Return the core-seconds of a step, or None and why."""
    try:
        parameters = count_parameters(method_of(recipe).drawn(recipe.net, "weights"))
        if parameters > MOST_PARAMETERS:
            return None, f"{parameters / 1e6:.0f} million parameters: not measured"
        return step_core_seconds(recipe, space), ""
    except MrsynthError as error:
        return None, str(error).splitlines()[0]


def steps_left(cell: Cell, items: Sequence[Item]) -> int | None:
    """Return how many batches a cell has still to train; first stages that another cell trains are not its own.

    Args:
        cell: the cell.
        items: what is planned: a stage is shared where its owner is among them, or has left its state.
    """
    recipe = cell.recipe
    samples = recipe.train.samples_per_epoch if recipe.samples.patch is None else recipe.samples.patch.per_epoch
    if samples is None:
        return None
    done = _epochs_done(cell)
    checkpoint = cell.checkpoint
    if cell.start is not None and (cell.start[0] in items or (checkpoint is not None and checkpoint.exists())):
        done = max(done, list(stages_in_order(recipe.train).values())[cell.start[1]].from_epoch)
    return (recipe.train.epochs - done) * math.ceil(samples / recipe.train.batch_size)


def _epochs_done(cell: Cell) -> int:
    """Return how many epochs of a cell are trained."""
    history = Run(cell.run).history
    return len(read_history(history)) if history.exists() else 0


def sample_shape(recipe: Recipe, spacing_mm: float | None) -> tuple[int, ...] | None:
    """Return the voxels of a sample, (x, y) or (x, y, z), as far as the recipe says them; None where the cohort does.

    Args:
        recipe: the recipe.
        spacing_mm: edge of a scan's voxels, None where that is not known.
    """
    shape: list[int | None] = [None, None, None]
    for step in recipe.prepare:
        ((name, settings),) = step.items()
        sizes = settings.get("size_mm")
        if name == "pad_or_crop" and settings.get("shape"):
            shape = list(settings["shape"])
        elif name == "pad_or_crop" and sizes and spacing_mm:
            shape = [round(size / spacing_mm) for size in sizes]
        elif name == "resample" and settings.get("shape"):
            shape = list(settings["shape"])
        elif name == "resample" and settings.get("spacing_mm"):
            spacing_mm, shape = float(settings["spacing_mm"][0]), [None, None, None]
        elif name == "resize":
            shape = [*settings["size"], None]
    patch = recipe.samples.patch
    wanted = shape[:2] if patch is None else [own or edge for own, edge in zip(patch.size, shape, strict=True)]
    return None if None in wanted else tuple(int(edge) for edge in wanted if edge is not None)
