"""A prepared cohort and a recipe small enough to train in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.recipes.recipe import dump_recipe, load_recipe
from mrsynth.recipes.sections import TrainSettings
from mrsynth.steps import complete_steps, run_steps
from small_cases import brain_case

STEPS = [
    {"brain_mask": {"source": "auto", "max_fraction": 0.6}},
    {"drop_empty_slices": {}},
    {"zscore": {}},
    {"unit": {"upper_percentile": 100}},
    {"field_of_view": {"size_mm": [280, 280]}},
    {"resize": {"size": [32, 32], "antialias": False}},
]
TRAIN = TrainSettings(
    epochs=4,
    batch_size=8,
    learning_rate=0.002,
    betas=(0.9, 0.999),
    patience=10,
    samples_per_epoch=None,
    stages={},
    seed=3,
    in_memory_gb=1,
    workers=0,
    channels_last=False,
    precision="32-true",
    accelerator="cpu",
    devices=1,
    nodes=1,
    strategy="auto",
)
BRATS_NAMES = {"t1": "t1n", "t2": "t2w"}
SPLITS = ("train", "train", "train", "val", "test")


def trained(**changes: object) -> dict[str, object]:
    """What a contract says of a training, some of it changed; of nobody, where no patients are given."""
    training = {
        "recipe": "tiny",
        "title": "Tiny",
        "paper": "none",
        "translation": "t1-t2",
        "inputs": ["t1"],
        "target": "t2",
        "seed": 0,
        "n_cases": {"train": 0, "val": 0, "test": 0},
        "patients": {},
        "scans": [],
        "epochs": 1,
        "best_epoch": 0,
        "best_val_loss": 0.5,
        "device": "CPU",
        "commit": "unknown",
        "versions": {},
        "parameters": 1,
        "seconds": 1.0,
        "samples": {"kind": "slices", "train": 1, "val": 1},
    }
    began = {"data_fingerprint": "f", "started": "2026-01-01T00:00:00+00:00", "start": None}
    return {"began": began, "training": {**training, **changes}}


def tiny_prepared(folder: Path) -> PreparedCohort:
    """Five phantom balls, prepared: three for training, one for validation, one for the test."""
    cohort = PreparedCohort.create(folder, recipe="tiny", steps=complete_steps(STEPS), contrasts=["t1", "t2"])
    for seed, split in enumerate(SPLITS):
        case, records = run_steps(brain_case(seed=seed), STEPS)
        row = CaseRow(f"p{seed}", f"case-{seed}", split, {})
        cohort.write_case(row, replace(case, history=()), records, f"f{seed}")
    cohort.finish([f"case-{seed}" for seed in range(len(SPLITS))])
    return PreparedCohort.open(folder)


def tiny_recipe(folder: Path) -> Path:
    """osman2022 shrunk to the tiny cases, as a file."""
    changes = [
        f"prepare={STEPS!r}",
        "contrasts=[t1, t2]",
        "net.settings.widths=[4, 8]",
        "net.settings.dropout=[0.1, 0.1]",
        "train.epochs=3",
        "train.batch_size=8",
        "train.learning_rate=0.005",
    ]
    path = folder / "tiny.yaml"
    path.write_text(dump_recipe(load_recipe("osman2022", changes)).replace("name: osman2022", "name: tiny"))
    return path


def tiny_scans(folder: Path, cases: int = 5) -> Path:
    """The tiny cases as NIfTI files in BraTS's manner, stored L P S."""
    for seed in range(cases):
        name = f"BraTS-GLI-{seed:05d}-000"
        for contrast, image in brain_case(seed=seed).images.items():
            write_scan(image.data, folder / name / f"{name}-{BRATS_NAMES[contrast]}.nii.gz")
    return folder


def write_scan(data: np.ndarray, path: Path) -> Path:
    """Write voxels of 10 mm as a file with axes L P S."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-10.0, -10.0, 10.0, 1.0])
    nib.save(nib.Nifti1Image(data[::-1, ::-1].astype(np.float32), affine), path)
    return path
