"""What a model must beat: images made in seconds, fitted on the training split alone, kept in the run's baselines.npz.

    identity        a line of the nearest input                training_mean   the mean training image
    table_mean      the mean target for a voxel's inputs       table_loss      what the recipe's own loss prefers there
    table_smooth    of one input: smoothed, and by depth        filter          a linear 3×3×3 filter of all inputs
    dose_line       native + k(dose, field) · (other − native)

A model that does not beat the best of them has learned nothing that a histogram does not tell.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.files import atomic_file
from mrsynth.core.seeds import generator
from mrsynth.metrics.baselines import LinearIdentity, TrainingMean
from mrsynth.metrics.dose_line import DoseLine
from mrsynth.metrics.linear_filter import LinearFilter
from mrsynth.metrics.voxel_table import PointLoss, VoxelTable, smoothed

RIVALS: tuple[str, ...] = (
    "identity", "training_mean", "table_mean", "table_loss", "table_smooth", "filter", "dose_line",
)  # fmt: skip
"""The predictors that stand beside a model, in this order."""

KNOW_THE_TRUTH: tuple[str, ...] = ("second_scan", "flat_brain")
"""Predictors that stand beside a model and are no rivals: they are made of the case's own truth."""

TABLE_VOXELS, FILTER_VOXELS = 1 << 22, 1 << 20
"""Training voxels of a table and of the filter, spread evenly over the cases: more change no third digit."""

SCHEMA = 2
"""Of baselines.npz. 1, which says nothing of itself, holds identity and mean alone."""

MAX_BYTES = 1 << 27
"""A larger baselines.npz, unpacked, is refused unread; a run's own takes 20 MB."""

State = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RivalCase:
    """A case as the rivals see it: normalised volumes (x, y, z) on one grid.

    Attributes:
        inputs: by contrast.
        brain: mask, true in the brain.
        edges_mm: edges of a voxel.
        target: what is to be made; only training needs it.
        dose: of the scan after a share of the full dose, None where it is not known.
        b0_tesla: field strength, None where it is not known.
    """

    inputs: Mapping[str, np.ndarray]
    brain: np.ndarray
    edges_mm: tuple[float, float, float]
    target: np.ndarray | None = None
    dose: float | None = None
    b0_tesla: float | None = None


@dataclass(frozen=True, eq=False)
class Rivals:
    """The fitted rivals of one model; those that a task or an older run does not have are absent, all of them where
    nobody has the run.

    Attributes:
        identity: a line through the values of the nearest input, None where it is absent.
        mean: the mean of the training's targets, None where it is absent.
        tables: predictor → table of a voxel's inputs.
        filter: a linear filter of all inputs, None where it is absent.
        dose_line: the target on the line between the native scan and another one after contrast agent, None where it is
            absent.
    """

    identity: LinearIdentity | None = None
    mean: TrainingMean | None = None
    tables: Mapping[str, VoxelTable] = field(default_factory=dict)
    filter: LinearFilter | None = None
    dose_line: DoseLine | None = None

    def images(self, case: RivalCase) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Make every rival's image of a case.

        Args:
            case: its inputs, brain and voxel size; its target is not looked at.

        Returns:
            Predictor → image (x, y, z), float32, 0 outside of the brain; and predictor → why there is none of it.
        """
        made: dict[str, np.ndarray] = {}
        lacking: dict[str, str] = {}
        inputs, brain = case.inputs, np.asarray(case.brain) > 0
        if self.identity is not None and self.identity.nearest in inputs:
            made["identity"] = self.identity.predict(inputs, brain)
        elif self.identity is not None:
            lacking["identity"] = f"{self.identity.nearest}, the nearest input, is missing"
        if self.mean is not None:
            made["training_mean"] = self.mean.predict(brain)
        needed = [] if self.filter is None else [name for name in self.filter.names if name not in inputs]
        for name, table in self.tables.items():
            if needed:
                lacking[name] = f"{needed[0]} is missing"
            else:
                made[name] = _on_grid(table.predict(_features(name, case)), brain)
        if self.filter is not None and needed:
            lacking["filter"] = f"{needed[0]} is missing"
        elif self.filter is not None:
            made["filter"] = self.filter.predict(inputs, brain, case.edges_mm)
        if self.dose_line is not None:
            if {"t1", self.dose_line.other} <= set(inputs) and case.dose is not None and case.b0_tesla is not None:
                made["dose_line"] = self.dose_line.predict(inputs, brain, case.dose, case.b0_tesla)
            else:
                lacking["dose_line"] = "the dose, the field strength or a scan is missing"
        return made, lacking


class RivalFit:
    """Fits all rivals, one training case after the other: of each it keeps sums and a share of the voxels alone."""

    def __init__(self, target: str, cases: int, loss: PointLoss | None = None) -> None:
        """Begin a fit.

        Args:
            target: the contrast that is made.
            cases: how many training cases there will be.
            loss: the part of the recipe's loss that a predictor of one voxel can minimise; None for none.
        """
        self.target, self.cases, self.loss = target, max(cases, 1), loss
        self._identity, self._mean, self._filter = LinearIdentity(), TrainingMean(), LinearFilter()
        self._dose_line: DoseLine | None = None
        self._samples: dict[str, list[np.ndarray]] = {}
        self._seen = 0

    def update(self, case: RivalCase) -> None:
        """Add a training case; raises InputError for an empty brain, for no target, or for other inputs than before."""
        if case.target is None:
            raise InputError("a training case has no target.", expected=self.target)
        inputs, target, brain = case.inputs, case.target, np.asarray(case.brain) > 0
        self._identity.update(inputs, target, brain)
        self._mean.update(target, brain)
        share = self._chosen(brain, TABLE_VOXELS)
        raw = {f"table:{name}": image[brain][share] for name, image in inputs.items()}
        smooth = {}
        if len(inputs) == 1:  # a table of several inputs has no cells to spare, and blurs what it need not
            smooth = {f"smooth:{n}": f[share] for n, f in smoothed(inputs, brain, case.edges_mm).items()}
        for name, values in {**raw, **smooth, "target": target[brain][share]}.items():
            self._samples.setdefault(name, []).append(values.astype(np.float32))
        self._filter.update(inputs, target, brain, self._chosen(brain, FILTER_VOXELS), case.edges_mm)
        if DoseLine.fits(inputs, self.target) and case.dose is not None and case.b0_tesla is not None:
            self._dose_line = self._dose_line or DoseLine(self.target)
            self._dose_line.update(inputs, target, brain, case.dose, case.b0_tesla)
        self._seen += 1

    def finish(self) -> Rivals:
        """Return the rivals; raises InputError where no case was seen."""
        if not self._seen:
            raise InputError("the rivals have seen no training case.", do="update them with the training cases")
        joined = {name: np.concatenate(parts) for name, parts in self._samples.items()}
        target = joined.pop("target").astype(np.float64)
        raw = {name[6:]: values for name, values in joined.items() if name.startswith("table:")}
        smooth = {name[7:]: values for name, values in joined.items() if name.startswith("smooth:")}
        ones = np.ones(target.size)
        tables = {"table_mean": VoxelTable.fit(raw, target, ones, "squared")}
        loss = self.loss
        if loss is not None and (loss.kind == "absolute" or loss.local):
            weight = ones
            if loss.local and loss.native in raw:
                weight = 1 + loss.local * (target - raw[loss.native] > loss.delta)
            tables["table_loss"] = VoxelTable.fit(raw, target, weight, loss.kind)
        if smooth:
            tables["table_smooth"] = VoxelTable.fit(smooth, target, ones, "squared")
        return Rivals(self._identity, self._mean, tables, self._filter, self._dose_line)

    def _chosen(self, brain: np.ndarray, budget: int) -> np.ndarray:
        """Return which of the brain's voxels are kept (numbers into `volume[brain]`): all, or a share drawn evenly."""
        voxels, share = int(brain.sum()), max(1, budget // self.cases)
        if voxels <= share:
            return np.arange(voxels)
        return np.sort(generator(0, "rivals", self._seen).choice(voxels, share, replace=False))


def save_rivals(rivals: Rivals, path: Path) -> None:
    """Write the rivals as arrays without pickle, whole or not at all.

    Args:
        rivals: of one model.
        path: the file, baselines.npz of a run.

    Raises:
        OutputError: where it cannot be written.
    """
    every: dict[str, Any] = {"identity": rivals.identity, "mean": rivals.mean, **rivals.tables}
    every |= {"filter": rivals.filter, "dose_line": rivals.dose_line}
    parts = {name: rival.to_dict() for name, rival in every.items() if rival is not None}
    arrays = {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, schema=np.array(SCHEMA), **arrays)


def load_rivals(path: Path) -> Rivals:
    """Read what `save_rivals` wrote, or the baselines of an older run.

    Raises:
        ModelError: where the file is missing, too large, damaged, or of a later version.
    """
    again = "train again"
    if not path.is_file():
        raise ModelError(f"{path} is missing.", expected="the baselines of the training split", do=again)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise ModelError(f"{path} is too large.", found=f"{size} bytes", expected=f"at most {MAX_BYTES}", do=again)
        parts: dict[str, State] = {}
        with np.load(path, allow_pickle=False) as stored:
            schema = int(stored["schema"]) if "schema" in stored.files else 1
            for key in stored.files:
                part, _, name = key.partition(".")
                parts.setdefault(part, {})[name] = stored[key]
        if schema > SCHEMA:
            raise ModelError(f"{path} is of a later version.", found=schema, expected=SCHEMA, do="update mrsynth")
        return Rivals(
            LinearIdentity.from_dict(parts["identity"]),
            TrainingMean.from_dict(parts["mean"]),
            {name: VoxelTable.from_dict(parts[name]) for name in RIVALS if name.startswith("table") and name in parts},
            LinearFilter.from_dict(parts["filter"]) if "filter" in parts else None,
            DoseLine.from_dict(parts["dose_line"]) if "dose_line" in parts else None,
        )
    except (MemoryError, OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile, InputError) as error:
        raise ModelError(
            f"{path} is damaged.", found=(str(error) or type(error).__name__).splitlines()[0], do=again
        ) from error


def _features(table: str, case: RivalCase) -> dict[str, np.ndarray]:
    """Return what a table looks at in the brain's voxels (n,), by feature."""
    brain = np.asarray(case.brain) > 0
    if table == "table_smooth":
        return smoothed(case.inputs, brain, case.edges_mm)
    return {name: image[brain] for name, image in case.inputs.items()}


def _on_grid(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    image = np.zeros(brain.shape, np.float32)
    image[brain] = values
    return image
