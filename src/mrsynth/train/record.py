"""What a finished training says of itself: its record in run.json, the model's contract and card."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import mrsynth
from mrsynth.core.types import is_contrast
from mrsynth.io import PreparedCohort
from mrsynth.io.contract import InputSeen
from mrsynth.io.run import Began, Encoder, FeatureNetwork, Run, SampleCounts, Training
from mrsynth.likeness import measure, seen_in
from mrsynth.nets import Network, count_parameters
from mrsynth.recipes.recipe import Recipe
from mrsynth.train.convergence import convergence
from mrsynth.train.fit import FitResult
from mrsynth.train.history import read_history
from mrsynth.train.loader import Samples
from mrsynth.train.method import method_of
from mrsynth.train.pretrained import DRAWN_ENCODER


def training_record(
    recipe: Recipe,
    prepared: PreparedCohort,
    run: Run,
    result: FitResult,
    net: Network,
    samples: tuple[Samples, Samples | None],
    taken: tuple[dict[str, FeatureNetwork], Encoder | None],
) -> Training:
    """Return what a reader needs to know of a run: recipe, data, seed, versions, device, outcome.

    Args:
        recipe: the recipe.
        prepared: the cohort that it was trained on.
        run: the run's folder, with its history.
        result: what came of it.
        net: the network.
        samples: for training and validation.
        taken: feature networks of the losses, and the encoder's weights.
    """
    history = read_history(run.history)
    train_set, val_set = samples
    return Training(
        recipe=recipe.name,
        title=recipe.title,
        paper=recipe.paper,
        translation=recipe.translation,
        inputs=recipe.task.inputs,
        target=recipe.task.target,
        seed=recipe.train.seed,
        n_cases={split: len(prepared.cases(split)) for split in ("train", "val", "test")},
        patients={split: sorted(prepared.patients(split)) for split in ("train", "val", "test")},
        scans=scans_seen(prepared),
        epochs=result.epochs,
        best_epoch=result.best_epoch,
        best_val_loss=result.best_val_loss,
        device=result.device,
        commit=commit(),
        versions={
            "mrsynth": mrsynth.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
        },
        parameters=count_parameters(net),
        seconds=round(sum(epoch["seconds"] for epoch in history), 1),
        samples=SampleCounts(
            kind="boxes" if recipe.samples.patch else "slices",
            train=len(train_set),
            val=0 if val_set is None else len(val_set),
        ),
        features=taken[0],
        encoder=taken[1],
        precision=recipe.train.precision,
        convergence=convergence(history) if val_set is not None else [],
    )


def contract_of(recipe: Recipe, prepared: PreparedCohort) -> dict[str, Any]:
    """Return what the contract of a model says that a recipe trains on a prepared cohort, but for the training.

    Args:
        recipe: the recipe.
        prepared: the cohort.
    """
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
        "intensity": median_intensity(prepared, recipe.method.exchangeable or [recipe.task.target]),
        "seen": inputs_seen(recipe, prepared),
        **method_of(recipe).contract(prepared),
    }


def inputs_seen(recipe: Recipe, prepared: PreparedCohort) -> dict[str, InputSeen]:
    """Return what the inputs of the training cases are like, by which those of others are judged.

    Args:
        recipe: the recipe.
        prepared: the cohort.
    """
    measured, known = [], recipe.method.exchangeable or recipe.task.inputs
    for case in prepared.cases("train"):
        lacking = prepared.record(case).lacking(known)
        images = {name: np.asarray(prepared.array(case, name)) for name in known if name not in lacking}
        measured.append(measure(images, np.asarray(prepared.array(case, "brain")) > 0))
    return seen_in(measured)


def median_intensity(prepared: PreparedCohort, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Return each intensity step's record of the targets with the median over the training cases for each number (of
    lists of numbers, for each of their places).

    Args:
        prepared: the cohort.
        targets: the contrasts; cases that lack one of them count for none.

    Returns:
        The records; steps that did nothing to the targets, or something that belongs to one scan alone (a bias field,
        a curve), are left out.
    """
    cases = [prepared.record(case) for case in prepared.cases("train")]
    records = [case.history for case in cases if not case.lacking(targets)]
    medians = []
    for step, first in enumerate(records[0] if records else []):
        middle: dict[str, dict[str, Any]] = {}
        for target in targets:
            found = [record[step].get("images", {}).get(target, {}) for record in records]
            try:
                middle[target] = {key: np.median([f[key] for f in found], axis=0).tolist() for key in found[0]}
            except (TypeError, ValueError):  # text: a bias field; lists of several lengths: a curve
                middle[target] = {}
        if any(middle.values()):
            medians.append({**first, "images": middle})
    return medians


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


def card(recipe: Recipe, began: Began, training: Training, net: Network) -> str:
    """Return the model card in Markdown.

    Args:
        recipe: the recipe.
        began: how the training began.
        training: its record.
        net: the network; one that could have begun with weights of others, and did not, is said.
    """
    n, note = training.n_cases, method_of(recipe).note()
    if training.members:
        outcome = f"the mean of {len(training.members)} networks, one a fold of cross-validation"
    elif training.best_val_loss is None:
        found = f", for the steps that {began.steps_from} found" if began.steps_from else ""
        outcome = f"without a validation split{found}"
    else:
        outcome = f"best validation loss {training.best_val_loss:.6g} in epoch {training.best_epoch}"
    lines = [
        f"Makes **{recipe.task.target}** from **{', '.join(recipe.task.inputs)}**{note}; values in "
        f"{list(recipe.range)}.",
        f"Method: {recipe.paper}",
        f"Trained on {n['train']} cases, {n['val']} for validation, {n['test']} held out, split by patient. Training "
        f"patients: {', '.join(training.patients['train'])}.",
        f"{training.epochs} epochs on {training.device}, {outcome}; seed {training.seed}; commit {training.commit}; "
        f"torch {training.versions['torch']}.",
        *(found.words[:1].upper() + found.words[1:] + "." for found in training.convergence[-1:]),
        *_taken(began, training, net),
        "Quality: see metrics.csv and report.html of the run, beside the identity baseline. Do not use it on images "
        "unlike these.",
    ]
    listed = "".join(f"* {line}\n" for line in lines)
    return f"""# {recipe.name}: {recipe.translation}

{recipe.title}. Research software, not a medical device: its images are synthetic.

{listed}"""


def _taken(began: Began, training: Training, net: Network) -> list[str]:
    """Return the card's lines on networks that were trained before, and on an encoder that began without one."""
    taken = [f"{loss} through {f.network} {f.layer} ({f.weights})" for loss, f in training.features.items()]
    taken += [f"encoder begun with {training.encoder.file}"] if training.encoder else []
    lines = [f"Taken from other networks: {'; '.join(taken)}; SHA-256 in run.json."] if taken else []
    lines += [f"Began with the weights of {began.weights_from}."] if began.weights_from else []
    return lines + ([DRAWN_ENCODER] if net.public_weights is not None and training.encoder is None else [])
