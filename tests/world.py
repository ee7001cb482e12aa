"""Every verb once, on scans of ten voxels' edge: what the tests of safety damage, interrupt and do twice at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mrsynth.evaluate.run import evaluate_run
from mrsynth.index.run import index
from mrsynth.io import PreparedCohort, read_cohort
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.report import build_report
from mrsynth.reproduce.demo import demo
from mrsynth.reproduce.run import reproduce
from mrsynth.simulate import simulate
from mrsynth.synthesize.run import synthesize_cohort, synthesize_files
from mrsynth.train.run import train
from tiny import tiny_recipe, tiny_scans
from tiny_study import write_study


def recipe_of(folder: Path) -> Recipe:
    return load_recipe(str(folder / "tiny.yaml"), ["train.epochs=1", "train.accelerator=cpu", "train.workers=0"])


def do_simulate(folder: Path) -> None:
    simulate(folder / "phantoms", 1, 1, spacing_mm=4)


def do_prepare(folder: Path) -> None:
    prepare(read_cohort(folder / "cohort.csv"), Plan.of_recipe(recipe_of(folder)), folder / "prepared")


def do_train(folder: Path) -> None:
    train(recipe_of(folder), PreparedCohort.open(folder / "prepared"), folder / "run", resume=True)


def do_synthesize(folder: Path) -> None:
    synthesize_cohort(folder / "run", read_cohort(folder / "cohort.csv"), folder / "run" / "predictions", split="test")


def do_evaluate(folder: Path) -> None:
    evaluate_run(folder / "run", read_cohort(folder / "cohort.csv"), folder / "run" / "predictions", ["osman2022"])


def do_report(folder: Path) -> None:
    build_report(folder / "run")


def do_reproduce(folder: Path) -> None:
    done = reproduce(str(folder / "study.yaml"), "smoke", folder / "study", folder / "cohort.csv")
    assert done.failed == ()


def do_demo(folder: Path) -> None:
    demo(folder / "demo")


VERBS: dict[str, Callable[[Path], None]] = {
    "simulate": do_simulate,
    "prepare": do_prepare,
    "train": do_train,
    "synthesize": do_synthesize,
    "evaluate": do_evaluate,
    "report": do_report,
}
"""In the order in which each needs those before it."""

WHOLE: dict[str, Callable[[Path], None]] = {"reproduce": do_reproduce, "demo": do_demo}
"""Those that do several of these."""

OUTPUTS = {
    "simulate": "phantoms",
    "prepare": "prepared",
    "train": "run",
    "synthesize": "run/predictions",
    "evaluate": "run",
    "report": "run",
    "reproduce": "study",
    "demo": "demo",
}
"""The folder that each writes into."""


def make_inputs(folder: Path) -> Path:
    """Write the scans, their table, the recipe and a study of one cell."""
    index(tiny_scans(folder / "scans"), folder / "cohort.csv")
    recipe = tiny_recipe(folder)
    small = ["train.epochs=1", "train.accelerator=cpu", "train.workers=0"]
    columns = {"PSNR": {"preset": "osman2022", "metric": "psnr", "region": "volume"}}
    study = {
        "name": "one",
        "title": "One cell",
        "recipe": str(recipe),
        "scales": {"smoke": {"phantoms": None, "seeds": [0], "variants": [], "set": small}},
        "cells": {"only": {}},
        "tables": {"table1": {"title": "Table 1", "rows": {"Only": "only"}, "columns": columns}},
    }
    write_study(folder, study)
    return folder


def make_world(folder: Path) -> Path:
    """Do every verb, and synthesize once from single files."""
    make_inputs(folder)
    for verb in VERBS.values():
        verb(folder)
    t1 = next((folder / "scans").rglob("*t1n.nii.gz"))
    synthesize_files(folder / "run", {"t1": t1}, folder / "one.nii.gz")
    return folder
