"""mrsynth train: a recipe and a prepared cohort → a run folder with a trained model, its contract and its baselines."""

from __future__ import annotations

from pathlib import Path

from mrsynth.core.files import atomic_file
from mrsynth.core.locks import is_helper, one_writer
from mrsynth.drawing.axes import LIGHT
from mrsynth.drawing.figures import learning_png
from mrsynth.io import PreparedCohort
from mrsynth.io.columns import read_history
from mrsynth.io.overwrite import require_place
from mrsynth.io.run import Run, RunRecord
from mrsynth.model import Contract, load_contract, load_weights, save_model
from mrsynth.recipes.recipe import Recipe
from mrsynth.train.begin import Beginning, begin, check_weights
from mrsynth.train.checks import check_prepared, check_run, check_samples, check_start
from mrsynth.train.fit import fit
from mrsynth.train.machine import check_machine, memory_in_words
from mrsynth.train.method import method_of
from mrsynth.train.pretrained import begin_encoder, describe_features, run_features
from mrsynth.train.record import card, contract_of, training_record
from mrsynth.train.rivals import write_baselines
from mrsynth.train.stages import build_stages


def without_validation(prepared: PreparedCohort) -> PreparedCohort:
    """Return a cohort whose validation cases train too.

    Args:
        prepared: the cohort.
    """
    return prepared.with_splits(
        {row.patient: "train" if row.split == "val" else row.split for row in prepared.rows.values()}
    )


@one_writer("train", unless=is_helper)
def train(
    recipe: Recipe,
    prepared: PreparedCohort,
    out: Path,
    *,
    resume: bool = False,
    start: Path | None = None,
    weights_from: Path | None = None,
    steps_from: Path | None = None,
) -> Contract:
    """Train a recipe's model and leave a complete run.

    Args:
        recipe: the recipe.
        prepared: the cohort, prepared by the recipe's steps.
        out: the run folder.
        resume: go on from the folder's latest checkpoint; the result equals to the bit that of a run never stopped.
        start: another run's checkpoints/stage-<k>.ckpt up to which this one would do the same: those stages are not
            trained again, and the result equals to the bit that of training them. A resumed run that has gone beyond
            it goes on from where it is.
        weights_from: a run, or a model's folder, whose weights the network begins with (fine-tuning).
        steps_from: the folder of the folds that found how many steps to take; there is no validation split.

    Returns:
        The model's contract.

    Raises:
        RecipeError: the cohort was prepared by other steps, a resumed run began with other settings, the samples do not
            fit the network, or the machine lacks what is asked for.
        CohortError: the cohort is stale, a split is empty, or a resumed run began on other data.
        ModelError: out holds a run already and it is not resumed, or what it is to begin from does not fit.
        MrsynthError: the training diverges, or memory runs out.
        OutputError: nothing can be written.
    """
    run, beginning = Run(out), Beginning(resume, start, weights_from, steps_from)
    require_place(out, folder=True)
    prepared = prepared if recipe.train.validation else without_validation(prepared)
    recipe = check_run(recipe, prepared, run, resume)
    check_machine(recipe.train)
    check_prepared(recipe, prepared)
    if start is not None:
        check_start(recipe, prepared, start)
    if weights_from is not None:
        check_weights(recipe, weights_from)
    method = method_of(recipe)
    with memory_in_words(recipe.train):
        samples = method.samples(prepared, beginning.validated and recipe.train.validation)
        check_samples(method, samples[0])
        began = begin(recipe, prepared, run, beginning)
        features = run_features(recipe, prepared, run)
        module = method.module(features)
        module.augmentation = method.augmentation()
        encoder = begin_encoder(module.net, recipe.net.weights)
        if weights_from is not None:
            load_weights(weights_from, load_contract(weights_from), module.net).train()
            method.fine_tuned(module)
    stages = build_stages(recipe.train, recipe.loss, recipe.task.inputs, features)
    result = fit(module, samples, recipe.train, out, stages=stages, resume=beginning.goes_on)
    if not result.is_main:
        raise SystemExit(0)  # a helper process of a run on several devices: the main one writes
    write_baselines(recipe, prepared, run.baselines)
    taken = (describe_features(recipe, prepared, run.features), encoder)
    training = training_record(recipe, prepared, run, result, module.net, samples, taken)
    RunRecord(began=began, training=training).write(run.record)
    with atomic_file(run.curves) as temporary:
        temporary.write_bytes(learning_png(read_history(run.history), LIGHT))
    contract = {**contract_of(recipe, prepared), "began": began, "training": training}
    return save_model(run.model, result.weights, contract, card(recipe, began, training, module.net))
