"""What a study runs at a scale: its trainings and further predictions, in order, and which may begin from another's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest
from mrsynth.io.run import Run, RunRecord, Training
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.recipes.sections import stages_in_order
from mrsynth.reproduce.budget import spend
from mrsynth.reproduce.data_settings import PartSettings
from mrsynth.reproduce.decides import decides, differences, preparation_key, stage_keys
from mrsynth.reproduce.given import as_overrides, given_weights, looks_for
from mrsynth.reproduce.study import CellSettings, JobSettings, Scale, Study

Kind = Literal["cell", "job", "data"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Some cases of the cohort, images of which a cell's model may have made.

    Attributes:
        name: that of the study's `data`.
        seed: of the cells that make its images.
        parts: the cases, and what is made of them.
        place: the folder of what is made.
        makers: name → cell.
        recipes: the prepared cohorts that cells ask for of it, each with its recipe.
    """

    name: str
    seed: int
    parts: tuple[PartSettings, ...]
    place: Path
    makers: dict[str, Cell]
    recipes: dict[Path, Recipe] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of its folder."""
        return self.place.name

    kind: ClassVar[Kind] = "data"
    job: ClassVar[dict[str, Any] | None] = None
    started_from: ClassVar[str | None] = None
    training: ClassVar[Training | None] = None

    @property
    def maker(self) -> Cell:
        """The cell whose recipe says what its images are."""
        return next(iter(self.makers.values()))

    @property
    def table(self) -> Path:
        """The cohort table that stands in place of the study's, where images are made."""
        return self.place / "cohort.csv"

    @property
    def needs(self) -> tuple[Item, ...]:
        """The cells that must be done before; without any it is no work of its own."""
        return tuple(self.makers.values())

    requires = needs


@dataclass(frozen=True, eq=False)
class Cell:
    """One training.

    Attributes:
        name: the study's; of a cell with folds that of one fold.
        seed: with which it is trained.
        recipe: with all that the study and its scale change of it.
        run: its folder.
        prepared: the cohort that it is trained on.
        start: the run of another cell and the number of the stage up to which both train the same; None where nothing
            is shared.
        fold: (which, of how many), where the cohort is split anew.
        data: its cases, None for the whole cohort.
    """

    name: str
    seed: int
    recipe: Recipe
    run: Path
    prepared: Path
    start: tuple[Cell, int] | None = None
    fold: tuple[int, int] | None = None
    data: Dataset | None = None

    kind: ClassVar[Kind] = "cell"
    job: ClassVar[dict[str, Any] | None] = None

    @property
    def maker(self) -> Cell:
        """The cell itself."""
        return self

    @property
    def started_from(self) -> str | None:
        """Whose first stages it shares, in words."""
        return f"{self.start[0].label}, stage {self.start[1]}" if self.start else None

    @property
    def training(self) -> Training | None:
        """What is known of its training, None before that has ended."""
        record = Run(self.run).record
        return RunRecord.read(record).training if record.exists() else None

    @property
    def label(self) -> str:
        """The name of its folder: the cell's, with the seed where it is not the study's first."""
        return self.run.name

    @property
    def place(self) -> Path:
        """The folder of its metrics."""
        return self.run

    @property
    def requires(self) -> tuple[Item, ...]:
        """What it cannot do without: the data that is made for it."""
        return (self.data,) if self.data and self.data.makers else ()

    @property
    def needs(self) -> tuple[Item, ...]:
        """What must be done before."""
        return (*self.requires, self.start[0]) if self.start else self.requires

    @property
    def checkpoint(self) -> Path | None:
        """The state with which the first stage of its own begins."""
        return Run(self.start[0].run).checkpoints / f"stage-{self.start[1]}.ckpt" if self.start else None


@dataclass(frozen=True, eq=False)
class Job:
    """Further predictions of a cell.

    Attributes:
        name, settings: those of the study's `jobs`.
        cell: whose model predicts.
        imputers: contrast → the cell whose model makes it.
        data: the cases to predict, None for the cell's.
    """

    name: str
    settings: JobSettings
    cell: Cell
    imputers: dict[str, Cell]
    data: Dataset | None = None

    kind: ClassVar[Kind] = "job"
    started_from: ClassVar[str | None] = None
    training: ClassVar[Training | None] = None

    @property
    def maker(self) -> Cell:
        """The cell whose model predicts."""
        return self.cell

    @property
    def job(self) -> dict[str, Any]:
        """Its settings, for the study's record."""
        return self.settings.model_dump(mode="json")

    @property
    def label(self) -> str:
        """The cell's folder and the job's name."""
        return f"{self.cell.label}/{self.name}"

    @property
    def place(self) -> Path:
        """The folder of its predictions and metrics."""
        return self.cell.run / "jobs" / self.name

    @property
    def checkpoint(self) -> Path | None:
        """The state whose weights it predicts with; None for the cell's model."""
        stage = self.settings.stage
        return None if stage is None else Run(self.cell.run).checkpoints / f"stage-{stage - 1}.ckpt"

    @property
    def models(self) -> tuple[Cell, ...]:
        """The cells whose models it predicts with."""
        return (self.cell, *self.imputers.values())

    @property
    def needs(self) -> tuple[Item, ...]:
        """What must be done before."""
        return (*self.models, self.data) if self.data and self.data.makers else self.models

    requires = needs


Item = Cell | Job | Dataset


def plan_study(study: Study, scale: Scale, out: Path, weights: Mapping[str, str] | None = None) -> list[Item]:
    """Return the cells of a scale, each with each seed, then the jobs; what is needed stands before what needs it.

    Cells on phantoms that look for weights of others are there only where such weights are given.

    Args:
        study: the study.
        scale: one of its scales.
        out: the study's folder.
        weights: network → file; None for what the folder's study was begun with.

    Raises:
        RecipeError: a cell's variants or overrides make no valid recipe, or a cell that the scale leaves out makes its
            data.
    """
    plan = _Plan(study, scale, out, given_weights(out, weights))
    of_cell = {name: study.seeds(name, scale) for name in study.cells}
    # What is left of a state at the end of a stage is cheap: such jobs follow their cell with each of its seeds.
    of_job = {name: plan.settings.seeds if job.stage is None else of_cell[job.cell] for name, job in study.jobs.items()}
    every = dict.fromkeys([*plan.settings.seeds, *(seed for seeds in of_cell.values() for seed in seeds)])
    for add, seeds_of in ((plan.add_cell, of_cell), (plan.add_job, of_job)):
        for seed in every:
            for name, seeds in seeds_of.items():
                if seed in seeds and name not in plan.settings.leave_out:
                    add(name, seed)
    return plan.items


class _Plan:
    """The items of a scale while they are added, those before that others need."""

    def __init__(self, study: Study, scale: Scale, out: Path, weights: Mapping[str, str]) -> None:
        self.study, self.scale, self.out, self.weights = study, scale, out, weights
        self.settings = study.scales[scale]
        self.items: list[Item] = []
        self.cells: dict[tuple[str, int], Cell] = {}
        self.data: dict[tuple[str, int], Dataset] = {}
        self.owner: dict[str, Cell] = {}
        self.lacking: set[str] = set()  # cells whose weights, or the images of whose makers, are not here

    def add_cell(self, name: str, seed: int) -> None:
        """Add the trainings of a cell, and before them the data that is made for it.

        Args:
            name: of the cell in the study.
            seed: of its trainings.
        """
        settings, recipe = self.study.cells[name], self._recipe(name, seed)
        makers = self._makers(settings.data) if settings.data else []
        if self.lacking.intersection(makers) or (self.settings.phantoms and looks_for(recipe)):
            self.lacking.add(name)
            return
        data = None if settings.data is None else self._dataset(settings.data, seed)
        prepared = self.out / "prepared" / (preparation_key(recipe) + (f"-{data.label}" if data else ""))
        if data is not None:
            data.recipes[prepared] = recipe
        for number, single in enumerate(settings.names(name)):
            run = self.out / "runs" / self._label(single, seed)
            fold = (number, settings.folds) if settings.folds is not None else None
            cell = share_stages(Cell(single, seed, recipe, run, prepared, fold=fold, data=data), self.owner)
            self.cells[single, seed] = cell
            self.items.append(cell)

    def add_job(self, name: str, seed: int) -> None:
        """Add a job, and before it the data that is made for it, unless a cell that it needs is left out.

        Args:
            name: of the job in the study.
            seed: of the cells that it predicts with.
        """
        job = self.study.jobs[name]
        needed = [job.cell, *job.imputers.values(), *(self._makers(job.data) if job.data else [])]
        if all((cell, seed) in self.cells for cell in needed):
            imputers = {contrast: self.cells[cell, seed] for contrast, cell in job.imputers.items()}
            data = None if job.data is None else self._dataset(job.data, seed)
            made = Job(name, job, self.cells[job.cell, seed], imputers, data)
            stages = len(stages_in_order(made.cell.recipe.train))
            if job.stage is not None and job.stage > stages:
                raise RecipeError(
                    f"Study {self.study.name}, job {name}, scale {self.scale}: cell {job.cell} keeps no such state.",
                    found=f"stage: {job.stage}",
                    expected=f"1 to {stages}: the stages that another follows" if stages else "a cell with stages",
                )
            self.items.append(made)

    def _dataset(self, name: str, seed: int) -> Dataset:
        """Return the data of this name; where it is to be made it is added when it is first asked for."""
        makers = self._makers(name)
        if absent := [cell for cell in makers if (cell, seed) not in self.cells]:
            raise RecipeError(
                f"Study {self.study.name}: data {name} is made by cell {absent[0]}, which {self.scale} leaves out.",
                do="leave out the cells that are trained on it too",
            )
        if (name, seed) not in self.data:
            place = self.out / "data" / (self._label(name, seed) if makers else name)
            cells = {maker: self.cells[maker, seed] for maker in makers}
            self.data[name, seed] = Dataset(name, seed, tuple(self.study.data[name]), place, cells)
            self.items += [self.data[name, seed]] if makers else []
        return self.data[name, seed]

    def _makers(self, name: str) -> list[str]:
        """Return the cells that make images of this data."""
        return [part.made_by for part in self.study.data[name] if part.made_by is not None]

    def _label(self, name: str, seed: int) -> str:
        """Return the name of a folder: with the seed where it is not the scale's first."""
        return name if seed == self.settings.seeds[0] else f"{name}.seed{seed}"

    def _recipe(self, name: str, seed: int) -> Recipe:
        """Return the recipe of a cell at the scale."""
        settings, cell = self.settings, self.study.cells[name]
        own = settings.cells.get(name, CellSettings())
        variants = [*settings.variants, *cell.variants, *own.variants]
        overrides = [*settings.set, *cell.set, *own.set, f"train.seed={seed}"]
        name_of_all, steps = "/".join([cell.recipe or self.study.recipe, *variants]), own.steps or settings.steps
        try:
            recipe = load_recipe(name_of_all, overrides)
            if given := as_overrides(looks_for(recipe), self.weights):
                overrides += given
                recipe = load_recipe(name_of_all, overrides)
            return recipe if steps is None else load_recipe(name_of_all, [*overrides, *spend(recipe, steps)])
        except RecipeError as error:
            raise RecipeError(f"Study {self.study.name}, cell {name}, scale {self.scale}: {error}") from error


def choose(items: Sequence[Item], only: Sequence[str]) -> list[Item]:
    """Return the cells and jobs of some names, and all that they cannot do without.

    Args:
        items: those of the study, in order.
        only: the names, none for all; the name of a cell with folds stands for all its folds.

    Raises:
        RecipeError: a name is not there.
    """
    names = list(dict.fromkeys(name for item in items for name in _called(item)))
    for name in only:
        if name not in names:
            raise RecipeError(
                f"--only {name}: there is no such cell or job at this scale.",
                expected="one of " + ", ".join(names),
                do=nearest(name, names) or "a cell that looks for weights of others needs --weights NETWORK=FILE",
            )
    wanted = [item for item in items if not only or _called(item) & set(only)]
    needed, new = set(wanted), list(wanted)
    while new:
        new = [other for item in new for other in item.requires if other not in needed]
        needed.update(new)
    return [item for item in items if item in needed]


def _called(item: Item) -> set[str]:
    """Return the names by which a cell or job can be asked for."""
    return {item.name, item.name.rpartition(".fold-")[0] or item.name}


def share_stages(cell: Cell, owner: dict[str, Cell]) -> Cell:
    """Return a cell that knows from which earlier one it may start: the one with most first stages in common.

    Training is a function of recipe and data alone. A cell that begins with the state of another at the end of their
    last common stage thus ends with the weights that it would have had, to the bit.

    Args:
        cell: the cell.
        owner: what decides the state at the end of a stage → the first cell that has it; the cell's own are added.
    """
    keys = stage_keys(cell.recipe, [str(cell.prepared), cell.fold])
    known = [number for number, key in enumerate(keys) if key in owner]
    if known:
        cell = replace(cell, start=(owner[keys[known[-1]]], known[-1]))
    for key in keys[known[-1] + 1 if known else 0 :]:
        owner[key] = cell
    return cell


def require_unchanged(items: Iterable[Item]) -> None:
    """Raise RecipeError where a run was begun by another recipe than its cell has now."""
    for cell in items:
        if not isinstance(cell, Cell) or not Run(cell.run).recipe.exists():
            continue
        try:
            before = load_recipe(str(Run(cell.run).recipe))
            began = decides(before.model_dump(mode="json"))
        except (RecipeError, ValueError) as error:
            raise RecipeError(f"{Run(cell.run).recipe} is not a recipe of this version.", found=error) from error
        changed = list(differences(began, decides(cell.recipe.model_dump(mode="json"))).items())[:5]
        if changed:
            raise RecipeError(
                f"Cell {cell.label} was begun with another recipe than it has now.",
                found="\n".join(f"{key}: {then}" for key, (then, _) in changed),
                expected="\n".join(f"{key}: {now}" for key, (_, now) in changed),
                do=f"remove {cell.run} to train it anew, or give another folder with --out",
            )
