"""mrsynth train: a recipe and a prepared cohort → a run folder with a trained model, its contract and its baselines."""

from __future__ import annotations

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import mrsynth
from mrsynth.core.files import atomic_file, write_text
from mrsynth.core.locks import is_helper, one_writer
from mrsynth.core.types import is_contrast
from mrsynth.drawing.figures import LIGHT, learning_png
from mrsynth.io import PreparedCohort
from mrsynth.io.columns import read_history as read_curves
from mrsynth.io.overwrite import require_place
from mrsynth.io.run import Began, Run, RunRecord, Training
from mrsynth.io.run import Samples as SampleCount
from mrsynth.model import Contract, save_model
from mrsynth.nets import count_parameters
from mrsynth.recipes.recipe import Recipe, dump_recipe
from mrsynth.train.checks import check_prepared, check_run, check_start
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history
from mrsynth.train.method import method_of
from mrsynth.train.pretrained import DRAWN_ENCODER, begin_encoder, describe_features, run_features
from mrsynth.train.rivals import write_baselines
from mrsynth.train.stages import build_stages


@one_writer("train", unless=is_helper)
def train(
    recipe: Recipe,
    prepared: PreparedCohort,
    out: Path,
    *,
    resume: bool = False,
    start: Path | None = None,
) -> Contract:
    """Train a recipe's model and leave a complete run in out; returns its contract.

    start: a checkpoints/stage-<k>.ckpt of another run whose stages up to k are the same: they are not trained again,
    and the result equals to the bit that of training them. A resumed run that has gone beyond it goes on from where it
    is.
    Raises RecipeError where the cohort was prepared by other steps, CohortError where it is stale, where a split is
    empty, or where a resumed run began on other data, ModelError where out holds a run already and resume is not asked
    for, or where start is not a checkpoint of such a run, OutputError where nothing can be written.
    """
    run = Run(out)
    require_place(out, folder=True)
    check_run(recipe, prepared, out, resume)
    check_prepared(recipe, prepared)
    if start is not None:
        check_start(recipe, prepared, start)
    began = _begin(recipe, prepared, run, resume, start)
    method = method_of(recipe)
    samples = method.samples(prepared)
    features = run_features(recipe, prepared, run)
    module: Any = method.module(features)
    encoder = begin_encoder(module.net, recipe.net.weights)
    stages = build_stages(recipe.train, recipe.loss, recipe.task.inputs, features)
    go_on = resume or start is not None
    result = fit(module, samples, recipe.train, out, stages=stages, resume=go_on)
    if not result.is_main:
        raise SystemExit(0)  # a helper process of a run on several devices: the main one writes
    write_baselines(recipe, prepared, run.baselines)
    train_set, val_set = samples
    training = Training(
        **run_record(recipe, prepared, result),
        parameters=count_parameters(module.net),
        seconds=round(sum(epoch["seconds"] for epoch in read_history(run.history)), 1),
        samples=SampleCount(kind="boxes" if recipe.samples.patch else "slices", train=len(train_set), val=len(val_set)),
        features=describe_features(recipe, prepared, run.features),
        encoder=encoder,
    )
    RunRecord(began=began, training=training).write(run.record)
    with atomic_file(run.curves) as temporary:
        temporary.write_bytes(learning_png(read_curves(run.history), LIGHT))
    contract = {**contract_of(recipe, prepared), "began": began, "training": training}
    drawn = module.net.public_weights is not None and encoder is None
    return save_model(run.model, result.weights, contract, card(recipe, training, drawn))


def contract_of(recipe: Recipe, prepared: PreparedCohort) -> dict[str, Any]:
    """Return what the contract of a model says that a recipe trains on a prepared cohort, but for the training."""
    return {
        "recipe": recipe.name,
        "inputs": recipe.task.inputs,
        "target": recipe.task.target,
        "net": recipe.net.name,
        "net_settings": recipe.net.settings,
        "patch": recipe.samples.patch.size if recipe.samples.patch else None,
        "voxels_mm": prepared.voxels_mm("train"),
        "neighbours": recipe.samples.neighbours,
        "predict": recipe.predict,
        "steps": prepared.steps,
        "range": recipe.range,
        "intensity": median_intensity(prepared, recipe.task.target),
        **method_of(recipe).contract(prepared),
    }


def _begin(recipe: Recipe, prepared: PreparedCohort, run: Run, resume: bool, start: Path | None) -> Began:
    """Leave in a run folder what a resumed run must find; returns when and from which other run's checkpoint it
    began."""
    if not resume and run.checkpoints.exists():
        shutil.rmtree(run.checkpoints)
    run.folder.mkdir(parents=True, exist_ok=True)
    write_text(run.recipe, dump_recipe(recipe))
    if start is not None:  # as if the run had trained it; `fit` goes on from it where there is nothing later
        with atomic_file(run.checkpoints / start.name) as temporary:
            shutil.copyfile(start, temporary)
    if resume and run.record.exists():
        return RunRecord.read(run.record).began
    began = Began(
        data_fingerprint=str(prepared.fingerprint),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        start=f"{start.resolve().parent.parent.name}/{start.name}" if start else None,
    )
    RunRecord(began=began).write(run.record)
    return began


def median_intensity(prepared: PreparedCohort, target: str) -> list[dict[str, Any]]:
    """Return each intensity step's record of the target with the median over the training cases for each number (of
    lists of numbers, for each of their places).

    Steps that did nothing to the target, or something that belongs to one scan alone (a bias field), are left out.
    """
    records = [prepared.record(case).history for case in prepared.cases("train")]
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
        "n_cases": {split: len(prepared.cases(split)) for split in ("train", "val", "test")},
        "patients": {split: sorted(prepared.patients(split)) for split in ("train", "val", "test")},
        "scans": scans_seen(prepared),
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


def scans_seen(prepared: PreparedCohort) -> list[str]:
    """Return the SHA-256 of every scan of the training and validation cases, sorted."""
    cases = [*prepared.cases("train"), *prepared.cases("val")]
    records = [prepared.record(case).inputs for case in cases]
    return sorted({known.sha256 for inputs in records for name, known in inputs.items() if is_contrast(name)})


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


def _taken(training: Training, encoder_drawn: bool) -> str:
    """Return the card's lines on networks that were trained before, and on an encoder that began without one."""
    taken = [f"{loss} through {f.network} {f.layer} ({f.weights})" for loss, f in training.features.items()]
    taken += [f"encoder begun with {training.encoder.file}"] if training.encoder else []
    drawn = f"* {DRAWN_ENCODER}\n" if encoder_drawn else ""
    return (f"* Taken from other networks: {'; '.join(taken)}; SHA-256 in run.json.\n" if taken else "") + drawn


def card(recipe: Recipe, training: Training, encoder_drawn: bool = False) -> str:
    """Return the model card in Markdown; encoder_drawn: it could have begun with weights of others."""
    n, note = training.n_cases, method_of(recipe).note()
    return f"""# {recipe.name}: {recipe.translation}

{recipe.title}. Research software, not a medical device: its images are synthetic.

* Makes **{recipe.task.target}** from **{", ".join(recipe.task.inputs)}**{note}; values in {list(recipe.range)}.
* Method: {recipe.paper}
* Trained on {n["train"]} cases, {n["val"]} for validation, {n["test"]} held out, split by patient.
  Training patients: {", ".join(training.patients["train"])}.
* {training.epochs} epochs on {training.device}, best validation loss {training.best_val_loss:.6g} in epoch
  {training.best_epoch}; seed {training.seed}; commit {training.commit}; torch {training.versions["torch"]}.
{_taken(training, encoder_drawn)}* Quality: see metrics.csv and report.html of the run, beside the identity baseline.
  Do not use it on images unlike these.
"""
