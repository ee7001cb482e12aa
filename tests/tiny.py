"""A prepared cohort and a recipe small enough to train in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from laws import brain_case

from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.prepare import run_steps

STEPS = [
    {"brain_mask": {"source": "auto", "max_fraction": 0.6}},
    {"drop_empty_slices": {}},
    {"zscore": {}},
    {"unit": {"upper_percentile": 100}},
    {"field_of_view": {"size_mm": [280, 280]}},
    {"resize": {"size": [32, 32], "antialias": False}},
]
SPLITS = ("train", "train", "train", "val", "test")


def tiny_prepared(folder: Path) -> PreparedCohort:
    """Five phantom balls, prepared: three for training, one for validation, one for the test."""
    cohort = PreparedCohort.create(folder, recipe="tiny", steps=STEPS, contrasts=["t1", "t2"])
    for seed, split in enumerate(SPLITS):
        case, records = run_steps(brain_case(seed=seed), STEPS)
        row = CaseRow(f"p{seed}", f"case-{seed}", split, {})
        cohort.write_case(row, replace(case, history=()), records, f"f{seed}")
    cohort.finish([f"case-{seed}" for seed in range(len(SPLITS))])
    return PreparedCohort.open(folder)
