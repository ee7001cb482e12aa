"""Balls with an enhancing spot, at a low and the standard dose: cases, a prepared cohort and a recipe of seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mrsynth.core.image import Case
from mrsynth.core.seeds import generator
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.steps import complete_steps, run_steps
from small_cases import brain_case

STEPS = [
    {"brain_mask": {"source": "auto"}},
    {"radiometric": {"reference": "t1", "images": ["t1ce", "t1ld"]}},
    {"q95": {"contrasts": ["t1", "t1ce", "t1ld"], "like": {"t1ce": "t1", "t1ld": "t1"}}},
]
STRATA = ((0.1, 3.0), (0.2, 1.5), (0.33, 3.0), (0.2, 3.0), (0.33, 1.5))
SPLITS = ("train", "train", "train", "val", "test")
SMALL = (
    f"prepare={STEPS!r}",
    "net.settings={width: 6, scales: 2}",
    "method.critic.settings={width: 4, scales: 2}",
    "samples.patch={size: [8, 8, 8], per_epoch: 12, within: brain}",
    "train.batch_size=2",
    "train.epochs=2",
    "train.learning_rate=0.001",
    "method.learning_rate=0.001",
    "method.critic_steps=3",
    "train.workers=0",
    "train.accelerator=cpu",
)


def dose_case(seed: int) -> Case:
    """A stripped T1 with noise before, after a share of, and after the full dose, on one grid; scanner gains differ."""
    dose, b0_tesla = STRATA[seed]
    case = brain_case((20, 22, 18), ("t1",), seed)
    t1 = case.images["t1"]
    brain, draw = t1.data > 0, generator(seed, "dose_case")
    x, y, z = np.indices(t1.data.shape)
    spot = 400 * np.exp(-((x - 10) ** 2 + (y - 12) ** 2 + (z - 9) ** 2) / 6)
    images = {}
    for name, share, gain in (("t1", 0.0, 1.0), ("t1ce", 1.0, 1.3), ("t1ld", dose, 0.8)):
        noisy = gain * (t1.data + share * spot + draw.normal(0, 15, t1.data.shape))
        images[name] = replace(t1, data=np.where(brain, np.maximum(noisy, 1), 0).astype(np.float32), contrast=name)
    return replace(case, images=images, metadata={**case.metadata, "dose": dose, "b0_tesla": b0_tesla})


def dose_prepared(folder: Path) -> PreparedCohort:
    """Five cases, prepared: three for training, one for validation, one for the test."""
    contrasts = ["t1", "t1ce", "t1ld"]
    cohort = PreparedCohort.create(folder, recipe="tiny", steps=complete_steps(STEPS), contrasts=contrasts)
    for seed, split in enumerate(SPLITS):
        case, records = run_steps(dose_case(seed), STEPS)
        dose, b0_tesla = STRATA[seed]
        row = CaseRow(f"p{seed}", f"case-{seed}", split, {}, b0_tesla, dose)
        cohort.write_case(row, replace(case, history=()), records, f"f{seed}")
    cohort.finish([f"case-{seed}" for seed in range(len(SPLITS))])
    return PreparedCohort.open(folder)


def dose_recipe(*overrides: str) -> Recipe:
    """pinetz2023 shrunk to the tiny cases."""
    return load_recipe("pinetz2023", [*SMALL, *overrides])
