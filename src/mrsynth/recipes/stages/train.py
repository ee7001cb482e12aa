"""mrsynth train: a recipe and a prepared cohort → a run folder with a trained model, its contract and its baselines."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mrsynth
from mrsynth.errors import CohortError, ModelError, RecipeError
from mrsynth.evaluate.baselines import LinearIdentity, TrainingMean
from mrsynth.io import PreparedCohort
from mrsynth.io.files import atomic_file, write_json, write_text
from mrsynth.losses import build_loss
from mrsynth.model import Contract, save_model
from mrsynth.nets import build_net, count_parameters
from mrsynth.prepare import complete_steps
from mrsynth.recipes.recipe import Recipe, dump_recipe, load_recipe
from mrsynth.report.figures import learning_curves
from mrsynth.seeds import derive_seed
from mrsynth.train.batches import SliceSet
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history


def train(
    recipe: Recipe, prepared: PreparedCohort, out: Path, *, resume: bool = False, progress: bool = True
) -> Contract:
    """Train a recipe's model and leave a complete run in out; returns its contract.

    Raises RecipeError where the cohort was prepared by other steps, CohortError where it is stale, where a split is
    empty, or where a resumed run began on other data, ModelError where out holds a run already and resume is not asked
    for.
    """
    _check_run(recipe, prepared, out, resume)
    _check_prepared(recipe, prepared)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    if not resume and (out / "checkpoints").exists():
        shutil.rmtree(out / "checkpoints")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    if not (resume and (out / "run.json").exists()):  # what a resumed run must find; the rest follows at the end
        write_json(out / "run.json", {"data_fingerprint": prepared.fingerprint, "started": started})
    task, settings = recipe.task, recipe.train
    sets = [
        SliceSet(prepared, split, (task.inputs, task.target), recipe.samples.min_brain_fraction, settings.in_memory_gb)
        for split in ("train", "val")
    ]
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(settings.seed, "weights"))
        net = build_net(recipe.net.name, **recipe.net.settings)
    result = fit(
        net, build_loss(recipe.loss, task.inputs), (sets[0], sets[1]), settings, out, resume=resume, progress=progress
    )
    if not result.is_main:
        raise SystemExit(0)  # a helper process of a run on several devices: the main one writes
    write_baselines(recipe, prepared, out / "baselines.npz")
    record = {
        **run_record(recipe, prepared, result),
        "parameters": count_parameters(net),
        "started": started,
        "seconds": round(sum(epoch["seconds"] for epoch in read_history(out / "log" / "history.csv")), 1),
        "slices": {"train": len(sets[0]), "val": len(sets[1])},
    }
    write_json(out / "run.json", record)
    learning_curves(out / "log" / "history.csv", out / "log" / "learning_curves.png")
    contract = {
        "recipe": recipe.name,
        "inputs": task.inputs,
        "target": task.target,
        "net": recipe.net.name,
        "net_settings": recipe.net.settings,
        "steps": prepared.steps,
        "range": recipe.range,
        "intensity": median_intensity(prepared, task.target),
        "training": record,
    }
    return save_model(out / "model", result.weights, contract, card(recipe, record))


def _check_run(recipe: Recipe, prepared: PreparedCohort, out: Path, resume: bool) -> None:
    """Refuse to overwrite a run, and to resume another one or one of other data."""
    if not resume and ((out / "model").exists() or (out / "checkpoints" / "last.ckpt").exists()):
        raise ModelError(
            f"{out} holds a run already.", do="go on with it by --resume, or name another folder with --out"
        )
    if resume and (out / "recipe.yaml").exists():
        before = load_recipe(str(out / "recipe.yaml"))
        for section in ("task", "net", "prepare", "loss", "samples"):
            if getattr(before, section) != getattr(recipe, section):
                raise RecipeError(
                    f"{out} was trained with another `{section}`; it cannot be resumed with this recipe.",
                    found=getattr(before, section),
                    expected=getattr(recipe, section),
                    do="resume with the recipe it was started with, or start a new run",
                )
    if resume and (out / "run.json").exists():
        began_on = json.loads((out / "run.json").read_text(encoding="utf-8")).get("data_fingerprint")
        if began_on != prepared.fingerprint:
            raise CohortError(
                f"{out} began on other prepared data; it cannot be resumed with {prepared.folder}.",
                found=f"data fingerprint {prepared.fingerprint}",
                expected=began_on,
                do="resume with the cohort (and the splits) it began on, or start a new run",
            )


def _check_prepared(recipe: Recipe, prepared: PreparedCohort) -> None:
    """Raise where the prepared cohort is not what the recipe asks for."""
    if complete_steps(prepared.asked) != recipe.prepare:
        raise RecipeError(
            f"The cohort in {prepared.folder} was prepared by other steps than recipe {recipe.name} has.",
            found=prepared.asked,
            expected=recipe.prepare,
            do="prepare it with this recipe (and the same variants and --set), into another folder",
        )
    for name in [*recipe.task.inputs, recipe.task.target]:
        if name not in prepared.contrasts:
            raise CohortError(
                f"The cohort in {prepared.folder} has no {name}.", found=prepared.contrasts, do="prepare it again"
            )
    if stale := prepared.stale():
        raise CohortError(
            f"The cohort in {prepared.folder} is stale: {len(stale)} of {len(prepared.rows)} cases have changed.",
            found="\n".join(f"{case}: {why}" for case, why in stale[:5]),
            do="run mrsynth prepare again; only the changed cases are redone",
        )


def write_baselines(recipe: Recipe, prepared: PreparedCohort, path: Path) -> None:
    """Fit the identity and training-mean baselines on the training split and save them beside the model."""
    task = recipe.task
    identity, mean = LinearIdentity(), TrainingMean()
    for case in prepared.cases("train"):
        brain = np.asarray(prepared.array(case, "brain")) > 0
        target = np.asarray(prepared.array(case, task.target))
        identity.update({name: np.asarray(prepared.array(case, name)) for name in task.inputs}, target, brain)
        mean.update(target, brain)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            **{f"identity.{k}": v for k, v in identity.to_dict().items()},
            **{f"mean.{k}": v for k, v in mean.to_dict().items()},
        )


def median_intensity(prepared: PreparedCohort, target: str) -> list[dict[str, Any]]:
    """Return each intensity step's record of the target with the median over the training cases for each number (of
    lists of numbers, for each of their places).

    Steps that did nothing to the target, or something that belongs to one scan alone (a bias field), are left out.
    """
    records = [prepared.record(case)["history"] for case in prepared.cases("train")]
    medians = []
    for step, first in enumerate(records[0]):
        found = [record[step].get("images", {}).get(target, {}) for record in records]
        try:
            middle = {key: np.median([f[key] for f in found], axis=0).tolist() for key in found[0]}
        except TypeError:  # text: a bias field
            continue
        if middle:
            medians.append({**first, "images": {target: middle}})
    return medians


def run_record(recipe: Recipe, prepared: PreparedCohort, result: FitResult) -> dict[str, Any]:
    """Return what a reader needs to know of a run: recipe, data, seed, versions, device, outcome."""
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "paper": recipe.paper,
        "translation": recipe.translation,
        "inputs": recipe.task.inputs,
        "target": recipe.task.target,
        "seed": recipe.train.seed,
        "data_fingerprint": prepared.fingerprint,
        "n_cases": {split: len(prepared.cases(split)) for split in ("train", "val", "test")},
        "patients": {split: sorted(prepared.patients(split)) for split in ("train", "val", "test")},
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_val_loss,
        "device": result.device,
        "commit": commit(),
        "versions": {
            "mrsynth": mrsynth.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
        },
    }


def commit() -> str:
    """Return the commit of the source checkout mrsynth runs from, "unknown" for an installed package."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"


def card(recipe: Recipe, record: dict[str, Any]) -> str:
    """Return the model card in Markdown."""
    n = record["n_cases"]
    return f"""# {recipe.name}: {recipe.translation}

{recipe.title}. Research software, not a medical device: its images are synthetic.

* Makes **{recipe.task.target}** from **{", ".join(recipe.task.inputs)}**; values in {list(recipe.range)}.
* Method: {recipe.paper}
* Trained on {n["train"]} cases, {n["val"]} for validation, {n["test"]} held out, split by patient.
  Training patients: {", ".join(record["patients"]["train"])}.
* {record["epochs"]} epochs on {record["device"]}, best validation loss {record["best_val_loss"]:.6g} in epoch
  {record["best_epoch"]}; seed {record["seed"]}; commit {record["commit"]}; torch {record["versions"]["torch"]}.
* Quality: see metrics.csv and report.html of the run, beside the identity baseline. Do not use it on images unlike
  these.
"""
