"""A study small enough to run in seconds: a cohort of balls with three contrasts, and variations of one tiny recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mrsynth.index.find import index_folder
from mrsynth.io import write_cohort
from mrsynth.recipes.recipe import dump_recipe, load_recipe
from small_cases import brain_case
from tiny import STEPS, write_scan

NAMES = {"t1": "t1n", "t2": "t2w", "flair": "t2f"}
STAGED = "{second: {from_epoch: 2, learning_rate: 0.001, loss: {mse: 2}}}"


def study_recipe(folder: Path) -> Path:
    """T1 and T2 → FLAIR in two stages, as a file."""
    changes = [
        f"prepare={STEPS!r}",
        "task={inputs: [t1, t2], target: flair}",
        "net.settings.inputs=2",
        "net.settings.widths=[4, 8]",
        "net.settings.dropout=[0.1, 0.1]",
        "train.epochs=3",
        "train.batch_size=8",
        "train.learning_rate=0.005",
        f"train.stages={STAGED}",
        "evaluate.presets=[osman2022]",
    ]
    path = folder / "tiny.yaml"
    path.write_text(dump_recipe(load_recipe("osman2022", changes)).replace("name: osman2022", "name: tiny"))
    return path


def study_cohort(folder: Path, cases: int = 6) -> Path:
    """A cohort table: of six patients two test."""
    for seed in range(cases):
        name = f"BraTS-GLI-{seed:05d}-000"
        for contrast, image in brain_case(seed=seed, contrasts=tuple(NAMES)).images.items():
            write_scan(image.data, folder / "scans" / name / f"{name}-{NAMES[contrast]}.nii.gz")
    write_cohort(index_folder(folder / "scans", (3, 1, 2)), folder / "cohort.csv")
    return folder / "cohort.csv"


def study_data(recipe: Path) -> dict[str, Any]:
    """A study of four cells, two of which share a stage, with a job, a table and a curve."""
    psnr = {"preset": "osman2022", "metric": "psnr", "region": "volume"}
    return {
        "name": "tiny",
        "title": "Balls",
        "recipe": str(recipe),
        "scales": {
            "smoke": {"phantoms": None, "seeds": [0], "variants": [], "set": []},
            "small": {
                "phantoms": None,
                "seeds": [0, 1],
                "variants": [],
                "set": ["train.epochs=4"],
                "cells": {"both": {"set": ["train.batch_size=4"]}},
                "leave_out": ["fill"],
            },
        },
        "cells": {
            "both": {},
            "strong": {"set": ["train.stages.second.loss.mse=5"]},
            "t1": {"set": ["task.inputs=[t1]", "net.settings.inputs=1"]},
            "fill": {"set": ["task={inputs: [t1], target: t2}", "net.settings.inputs=1"]},
        },
        "jobs": {
            "no-t2": {"cell": "both", "without": ["t2"], "missing": "zeros"},
            "filled": {"cell": "both", "without": ["t2"], "imputers": {"t2": "fill"}},
        },
        "tables": {
            "table1": {
                "title": "Table 1",
                "rows": {"Both": "both", "T1": "t1", "No T2": "no-t2", "T2 filled": "filled", "Ref": None},
                "columns": {"PSNR": psnr},
                "tests": [{"a": "Both", "b": "T1", "column": "PSNR", "published": "0.01"}],
                "published": {"source": "a paper", "rows": {"Both": {"PSNR": [30, 1]}, "Ref": {"PSNR": [20, 2]}}},
            }
        },
        "curves": {
            "sweep": {
                "title": "Weight",
                "x": "weight",
                "log": False,
                "points": {2: "both", 5: "strong"},
                "series": {"PSNR": psnr},
            }
        },
    }


def write_study(folder: Path, data: dict[str, Any]) -> str:
    """Write a study as a file and return its name."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return str(path)
