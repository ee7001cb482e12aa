"""What a study runs at a scale: its trainings and further predictions, in order, and which may begin from another's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mrsynth.errors import RecipeError
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.recipes.study import JobSettings, Scale, Study
from mrsynth.settings import nearest, parse
from mrsynth.train.settings import stage_terms, stages_in_order

TRAINED = (
    "task",
    "prepare",
    "range",
    "samples",
    "net",
    "encoder_weights",
    "loss",
    "game",
    "missing",
    "condition",
    "wgan",
    "train",
)
"""Sections of a recipe that decide a model's weights."""

LATER = ("epochs", "patience", "stages")
"""Settings of `train` that do not matter before the last stage; the stages are compared one by one."""

MACHINE = ("in_memory_gb", "workers", "accelerator", "devices", "nodes", "strategy")
"""Settings of `train` that say on what it is trained, not what."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One training. run: its folder; prepared: the cohort that it is trained on; start: the run of another cell and the
    number of the stage up to which both train the same. fold: (which, of how many), where the cohort is split anew."""

    name: str
    seed: int
    recipe: Recipe
    run: Path
    prepared: Path
    start: tuple[Cell, int] | None = None
    fold: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """The name of its folder: the cell's, with the seed where it is not the study's first."""
        return self.run.name

    @property
    def place(self) -> Path:
        """The folder of its metrics."""
        return self.run

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The cells that must be done before."""
        return (self.start[0],) if self.start else ()

    @property
    def checkpoint(self) -> Path | None:
        """The state with which the first stage of its own begins."""
        return self.start[0].run / "checkpoints" / f"stage-{self.start[1]}.ckpt" if self.start else None


@dataclass(frozen=True, eq=False)
class Job:
    """Further predictions of a cell. imputers: contrast → the cell whose model makes it."""

    name: str
    settings: JobSettings
    cell: Cell
    imputers: dict[str, Cell]

    @property
    def label(self) -> str:
        """The cell's folder and the job's name."""
        return f"{self.cell.label}/{self.name}"

    @property
    def place(self) -> Path:
        """The folder of its predictions and metrics."""
        return self.cell.run / "jobs" / self.name

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The cells that must be done before."""
        return (self.cell, *self.imputers.values())


Item = Cell | Job


def plan_study(study: Study, scale: Scale, out: Path) -> list[Item]:
    """Return the cells of a scale, each with each seed, then the jobs; what is needed stands before what needs it.

    Raises RecipeError where a cell's variants or overrides make no valid recipe.
    """
    settings = study.scales[scale]
    cells: dict[tuple[str, int], Cell] = {}
    for seed in settings.seeds:
        for name, cell in study.cells.items():
            if name in settings.leave_out:
                continue
            own = settings.cells.get(name)
            variants = [*settings.variants, *cell.variants, *(own.variants if own else [])]
            overrides = [*settings.set, *cell.set, *(own.set if own else []), f"train.seed={seed}"]
            try:
                recipe = load_recipe("/".join([study.recipe, *variants]), overrides)
            except RecipeError as error:
                raise RecipeError(f"Study {study.name}, cell {name}, scale {scale}: {error}") from error
            prepared = out / "prepared" / preparation_key(recipe)
            for number, single in enumerate(cell.names(name)):
                run = out / "runs" / (single if seed == settings.seeds[0] else f"{single}.seed{seed}")
                fold = (number, cell.folds) if cell.folds is not None else None
                cells[single, seed] = Cell(single, seed, recipe, run, prepared, fold=fold)
    shared = share_stages(list(cells.values()))
    cells = {(cell.name, cell.seed): cell for cell in shared}
    jobs = [
        Job(name, job, cells[job.cell, seed], {c: cells[cell, seed] for c, cell in job.imputers.items()})
        for seed in settings.seeds
        for name, job in study.jobs.items()
        if name not in settings.leave_out and all((cell, seed) in cells for cell in (job.cell, *job.imputers.values()))
    ]
    return [*shared, *jobs]


def choose(items: Sequence[Item], only: Sequence[str]) -> list[Item]:
    """Return the cells and jobs of these names, and the cells that the jobs need; all without names.

    The name of a cell with folds stands for all of them. Raises RecipeError for a name that is not there.
    """
    names = list(dict.fromkeys(name for item in items for name in _called(item)))
    for name in only:
        if name not in names:
            raise RecipeError(
                f"--only {name}: there is no such cell or job at this scale.",
                expected="one of " + ", ".join(names),
                do=nearest(name, names),
            )
    wanted = [item for item in items if not only or _called(item) & set(only)]
    needed = {cell for item in wanted if isinstance(item, Job) for cell in item.needs}
    return [item for item in items if item in needed or item in wanted]


def _called(item: Item) -> set[str]:
    """Return the names by which a cell or job can be asked for."""
    return {item.name, item.name.rpartition(".fold-")[0] or item.name}


def preparation_key(recipe: Recipe) -> str:
    """Return the name of the prepared cohort that a recipe asks for: equal for equal contrasts and steps."""
    return digest([recipe.contrasts, recipe.prepare])


def share_stages(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells, each told from which earlier one it may start: the one with most first stages in common.

    Training is a function of recipe and data alone, so that a cell which begins with the state of another at the end of
    their last common stage ends with the weights that it would have had, to the bit.
    """
    owner: dict[str, Cell] = {}
    out = []
    for cell in cells:
        keys = _stage_keys(cell)
        known = [number for number, key in enumerate(keys) if key in owner]
        if known:
            cell = replace(cell, start=(owner[keys[known[-1]]], known[-1]))
        for key in keys[known[-1] + 1 if known else 0 :]:
            owner[key] = cell
        out.append(cell)
    return out


def _stage_keys(cell: Cell) -> list[str]:
    """Return for each stage but the last what decides the state at its end."""
    recipe = cell.recipe
    base = _decides(recipe.model_dump(mode="json"))
    base["train"] = {key: value for key, value in base["train"].items() if key not in LATER}
    stages = list(stages_in_order(recipe.train).values())
    done = [[s.from_epoch, s.learning_rate, stage_terms(recipe.loss, s.loss)] for s in stages]
    data = [str(cell.prepared), cell.fold]
    return [digest([data, base, done[:number], stage.from_epoch]) for number, stage in enumerate(stages)]


def _decides(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe, as it is dumped, decides a model's weights."""
    kept = {section: recipe[section] for section in TRAINED}
    return {**kept, "train": {key: value for key, value in recipe["train"].items() if key not in MACHINE}}


def require_unchanged(items: Iterable[Item]) -> None:
    """Raise RecipeError where a run was begun by another recipe than its cell has now."""
    for cell in items:
        if not isinstance(cell, Cell) or not (cell.run / "recipe.yaml").exists():
            continue
        try:
            before = parse(Recipe, yaml.safe_load((cell.run / "recipe.yaml").read_text(encoding="utf-8")), "the run")
            began = _flat(_decides(before.model_dump(mode="json")))
        except (RecipeError, ValueError, yaml.YAMLError) as error:
            raise RecipeError(f"{cell.run / 'recipe.yaml'} is not a recipe of this version.", found=error) from error
        now = _flat(_decides(cell.recipe.model_dump(mode="json")))
        changed = [key for key in {**now, **began} if began.get(key) != now.get(key)]
        if changed:
            raise RecipeError(
                f"Cell {cell.label} was begun with another recipe than it has now.",
                found="\n".join(f"{key}: {began.get(key)}" for key in changed[:5]),
                expected="\n".join(f"{key}: {now.get(key)}" for key in changed[:5]),
                do=f"remove {cell.run} to train it anew, or give another folder with --out",
            )


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys."""
    if not isinstance(data, dict) or not data:
        return {prefix: data}
    return {k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()}


def digest(value: Any) -> str:
    """Return a short name for a value made of JSON's types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
