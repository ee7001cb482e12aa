"""The schema of a study: the ones that come with mrsynth hold together, and a wrong name is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.recipe import load_recipe
from mrsynth.reproduce.plan import Cell, Dataset, plan_study
from mrsynth.reproduce.study import PublishedNumbers, list_studies, load_study
from tiny_study import study_data, write_study

OTHERS = {
    "pinetz2023": {"vgg", "vgg64", "vcm-vgg", "vgg-site2"},
    "li2022": {"vgg-t1", "vgg-t2", "vgg-unet-t1", "vgg-unet-t2", "vgg448-t1"},
}
"""What a study runs only where weights of others are given."""

OURS = (
    "sigmoid",
    "mse-sigmoid",
    "brightness",
    "head",
    "looks",
    "sizes",
    "fine",
    "fine-mse",
    "fine-unet",
    "fine-unet-mse",
)
OURS = (*OURS, "vgg", "vgg-unet")
"""Cells and tables of li2022's study that are not the paper's, for each target."""
FLAT = {f"{system}-2d" for system in ("t1", "t1-t2", "model-a", "model-b", "model-c", "model-d")}
LEFT_OUT = {
    # What networks that are not trained out cannot answer, and ImageNet's weights: at scale long alone.
    ("chen2022", "any"): {"medgan-vgg", "dose-10", "dose-34", "cut-difference", "sweep-stage-1"}
    | FLAT
    | {f"{system}-stage-1" for system in FLAT},
    ("osman2022", "smoke"): {f"{way}-minmax" for way in ("t2-t1", "t1-flair", "flair-t1", "t2-flair", "flair-t2")},
}
"""(Study, scale) → further cells and jobs that it does without."""


@pytest.mark.parametrize("name", list(list_studies()))
def test_a_study_that_comes_with_mrsynth_can_be_planned(name: str, tmp_path: Path):
    study = load_study(name)
    for scale in ("smoke", "small"):
        items = plan_study(study, scale, tmp_path)
        left_out = OTHERS.get(name, set()) | (LEFT_OUT.get((name, scale)) or LEFT_OUT.get((name, "any"), set()))
        everything = {n for names in study.trainings.values() for n in names} | {*study.jobs}
        assert {item.name for item in items if not isinstance(item, Dataset)} == everything - left_out
        assert study.scales[scale].phantoms is not None
        recipes = [item.recipe for item in items if isinstance(item, Cell)]
        asked = {column.preset for table in study.all_tables(scale).values() for column in table.columns.values()}
        assert all(asked <= set(recipe.evaluate.presets) for recipe in recipes)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "benchmarks" / "studies").glob("*.yaml")), ids=lambda p: p.stem
)
def test_a_study_on_real_patients_can_be_planned(path: Path, tmp_path: Path):
    study = load_study(str(path))
    for scale, settings in study.scales.items():
        assert settings.phantoms is None
        assert plan_study(study, scale, tmp_path)


@pytest.mark.parametrize("name", list(list_studies()))
def test_the_scale_paper_changes_nothing_and_needs_the_papers_cohort(name: str):
    scale = load_study(name).scales["paper"]
    # The paper's weights have to be at hand for li2022.
    assert scale.variants == {"li2022": ["imagenet"]}.get(name, [])
    beyond = {
        "li2022": {"planes-t1", "neighbours-t1", "slices", "vgg448-t1"}
        | {f"{a}-{b}" for a in OURS for b in ("t1", "t2")},
        # ImageNet's weights are at hand there, and no patient has several low doses; what is not this paper's.
        "pinetz2023": {"vgg64", "np8", "np64", "np-image", "balance", "vcm-tenth", "gong-real", "gong-tenth", "gong"}
        | {"vcm-l1-made", "vcm-np-made", "leak"}
        | {"features", "vcm-features", "vcm-series", "vcm-series-true", "doses-contrast", "doses-mean"}
        | {"np-series", "features-series", "l1-series", "doses-noise", "fig4"},
    }
    assert set(scale.leave_out) == beyond.get(name, set())  # what is not the paper's
    assert (scale.set, scale.cells, scale.phantoms) == ([], {}, None)


def test_long_trains_with_seeds_and_shares_the_first_stage_of_chen2022(tmp_path: Path):
    """A part of the study: planning all of it builds sixty networks."""
    study = load_study("chen2022")
    kept = {"ours2d", "sweep", "lambda-1", "delta-0.3", "dose-34", "cut-difference", "unet2d", "unet2d-plain"}
    jobs = {"ours2d-stage-1", "unet2d-stage-1", "sweep-stage-1"}
    long = study.scales["long"]
    less = study.model_copy(
        update={
            "cells": {name: cell for name, cell in study.cells.items() if name in kept},
            "jobs": {name: job for name, job in study.jobs.items() if name in jobs},
            "scales": {"long": long.model_copy(update={"cells": {n: c for n, c in long.cells.items() if n in kept}})},
        }
    )
    items = plan_study(less, "long", tmp_path)
    seeds = {name: [i.seed for i in items if i.name == name] for name in ("ours2d", "unet2d", "unet2d-plain")}
    assert seeds == {"ours2d": [0, 1, 2], "unet2d": [0, 1, 2], "unet2d-plain": [0]}
    assert [i.label for i in items if i.name == "ours2d-stage-1"][1:] == [
        f"ours2d.seed{seed}/ours2d-stage-1" for seed in (1, 2)
    ]
    started = {i.name: i.start[0].label for i in items if isinstance(i, Cell) and i.start}
    assert started == dict.fromkeys(("sweep", "lambda-1", "delta-0.3", "dose-34", "cut-difference"), "ours2d")


def test_every_two_stage_system_of_the_tables_of_chen2022_is_judged_after_its_first_stage_too():
    study = load_study("chen2022")
    judged = {job.cell for job in study.jobs.values() if job.stage == 1}
    others = {"pix2pix", "decnn", "lagan", "medgan", "medgan-vgg", "kleesiek2019", "unet2d-plain", "unet3d-plain"}
    tables = [
        study.tables[name] for name in ("table1", "table2", "table3", "table3-2d", "table4", "table5", "table5-2d")
    ]
    shown = {str(source) for table in tables for source in table.rows.values()}
    assert {name for name in shown if name in study.cells} - judged == others  # one stage


def test_the_numbers_of_chen2022_agree_with_each_other():
    """The paper prints its own system in four tables: the same numbers each time."""
    tables = load_study("chen2022").tables
    rows = {name: t.published.rows for name, t in tables.items() if isinstance(t.published, PublishedNumbers)}
    assert rows["table2"]["Ours (3D)"] == rows["table4"]["Ours (3D)"]
    full, final = rows["table3"]["T1+T2+ADC"], rows["table5"]["Final-Model"]
    assert full["PSNR, A-brain"] == rows["table1"]["Ours (3D)"]["PSNR"] == final["A-Brain"] == (28.24, 1.26)
    assert full["SSIM, A-brain"] == rows["table1"]["Ours (3D)"]["SSIM"]
    assert full["PSNR, B-brain"] == rows["table2"]["Ours (3D)"]["PSNR, brain"] == final["B-Brain"]
    assert full["PSNR, B-tumour"] == rows["table2"]["Ours (3D)"]["PSNR, tumour"] == final["B-Tumour"]


def test_the_numbers_of_pinetz2023_agree_with_each_other_and_with_the_recipe():
    """Table 3's right column is Table 1's last row, and both stand in the recipe."""
    tables = load_study("pinetz2023").tables
    rows = {name: t.published.rows for name, t in tables.items() if isinstance(t.published, PublishedNumbers)}
    assert rows["table3"]["Separate"] == rows["table1"]["NP"]
    metrics = {"PSNR": "psnr", "SSIM": "ssim", "MAE_CE": "mae_ce_mean", "MAE_σ": "mae_sigma"}
    for variant, row in {"np": "NP", "l1": "ℓ1", "vgg": "VGG"}.items():
        published = load_recipe(f"pinetz2023/{variant}").published
        assert published is not None
        found = published.translations["t1+t1ce-t1ld"]
        assert {metrics[column]: value for column, value in rows["table1"][row].items()} == found


def change(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that puts a value at a place of nested mappings."""

    def apply(data: dict[str, Any]) -> None:
        *way, last = path
        for key in way:
            data = data[key]
        data[last] = to

    return apply


WRONG = {
    "a job of no cell": (change("jobs", "no-t2", "cell", to="bot"), r"job no-t2: there is no cell 'bot'.*\n.*\n.*both"),
    "an imputer that is no cell": (change("jobs", "filled", "imputers", to={"t2": "full"}), "there is no cell 'full'"),
    "an imputer of a real image": (change("jobs", "filled", "imputers", to={"t1": "fill"}), "imputes what it does not"),
    "a row of nothing": (change("tables", "table1", "rows", "Both", to="botth"), "there is no cell or job 'botth'"),
    "a preset": (change("tables", "table1", "columns", "PSNR", "preset", to="osman"), "there is no preset 'osman'"),
    "a test of no row": (change("tables", "table1", "tests", to=[{"a": "X", "b": "T1", "column": "PSNR"}]), "row 'X'"),
    "published for no row": (change("tables", "table1", "published", "rows", "X", to={}), "there is no row 'X'"),
    "a point of nothing": (change("curves", "sweep", "points", to={1: "x"}), "table sweep: there is no cell or job"),
    "a change of no cell": (change("scales", "small", "cells", to={"x": {}}), "scale small: there is no cell 'x'"),
    "left out": (change("scales", "small", "leave_out", to=["x"]), "there is no cell, job, table or curve 'x'"),
    "a key": (change("cells", "both", "sets", to=[]), "unknown key 'cells.both.sets'"),
    "a path as a name": (change("cells", "../x", to={}), "cannot name a folder"),
    "one name twice": (
        change("jobs", "both", to={"cell": "both", "without": ["t2"]}),
        "a cell and a job have one name",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_named(spoil: Callable[[dict[str, Any]], None], message: str, tmp_path: Path):
    data = study_data(Path("tiny.yaml"))
    spoil(data)
    with pytest.raises(RecipeError, match=message):
        load_study(write_study(tmp_path, data))


def test_a_study_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"no study 'chen2021'(.|\n)*chen2022"):
        load_study("chen2021")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(RecipeError, match="is not a study"):
        load_study(str(tmp_path / "list.yaml"))


@pytest.mark.parametrize("name", list_studies())
def test_every_cell_of_the_smallest_scale_is_small(name: str, tmp_path: Path):
    """A cell whose variant brings a preparation of its own once trained on 1 mm, for minutes, at every commit."""
    for item in plan_study(load_study(name), "smoke", tmp_path):
        if isinstance(item, Cell):
            shapes = [step["resample"]["shape"] for step in item.recipe.prepare if "resample" in step]
            assert all(shape is None or max(shape) <= 128 for shape in shapes), item.name
