"""Scans of three contrasts, of which a patient lacks one, prepared as anycontrast does, and small enough to train in
seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mrsynth.io import CaseRow, Cohort, PreparedCohort
from mrsynth.model import save_model
from mrsynth.nets import build_net
from mrsynth.nets.anycontrast import AnyContrast
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.steps import complete_steps
from small_cases import brain_case
from tiny import trained, write_scan

CONTRASTS = ("t1", "t2", "flair")
SPLITS = ("train", "train", "train", "val", "test")

CHANGES = [
    "prepare=[{brain_mask: {source: auto}}, {field_of_view: {size_mm: [280, 320]}}, {curve: {images: [t1ce]}}, "
    "{robust: {like: {t1ce: t1}}}, {window: {low: -5, high: 10}}]",
    "contrasts=[t1, t2, flair]",
    "task={inputs: [t1, flair], target: t2}",
    "method.contrasts=[t1, t2, flair]",
    "method.crop=[24, 24]",
    "net.settings={contrasts: 3, slices: 3, widths: [8, 16]}",
    "samples.augment.resolution=1",
    "train.epochs=3",
    "train.samples_per_epoch=null",
    "train.batch_size=8",
    "train.schedule.warmup_steps=1",
    "train.log=[csv]",
]
"""Of the recipe anycontrast."""


def contrasts_recipe(*more: str) -> Recipe:
    """anycontrast shrunk to the tiny cases."""
    return load_recipe("anycontrast", [*CHANGES, *more])


def contrasts_cohort(folder: Path) -> Cohort:
    """Five balls of three contrasts; the second has no FLAIR."""
    rows = []
    for seed, split in enumerate(SPLITS):
        images = brain_case(contrasts=CONTRASTS, seed=seed).images
        files = {
            name: write_scan(image.data, folder / f"case-{seed}" / f"{name}.nii.gz")
            for name, image in images.items()
            if (seed, name) != (1, "flair")
        }
        rows.append(CaseRow(f"p{seed}", f"case-{seed}", split, files))
    return Cohort(tuple(rows))


def contrasts_prepared(folder: Path) -> PreparedCohort:
    """The balls, prepared."""
    prepare(contrasts_cohort(folder / "scans"), contrasts_recipe(), folder / "prepared")
    return PreparedCohort.open(folder / "prepared")


STEPS: list[dict[str, dict[str, object]]] = [
    {"brain_mask": {"source": "auto"}},
    {"field_of_view": {"size_mm": [280, 320]}},
    {"robust": {}},
    {"window": {"low": -5, "high": 10}},
]


def save_any_run(folder: Path, members: int = 1, **more: Any) -> Path:
    """Save a run of any contrast from any others whose networks were not trained; more: of its contract, and
    net_settings beside the usual ones."""
    settings: dict[str, Any] = {"contrasts": len(CONTRASTS), "slices": 3, "widths": [8, 16]}
    settings |= more.pop("net_settings", {})
    torch.manual_seed(0)
    name = "anycontrast"
    if members > 1:
        name, settings = "ensemble", {"net": "anycontrast", "settings": settings, "members": members}
    net = build_net(name, **settings)
    with torch.no_grad():
        for one in net.modules():
            if isinstance(one, AnyContrast):
                one.mix.normal_(0, 0.2)
                one.leave.weight.normal_(0, 0.05)
    contract = {"recipe": "anycontrast", "inputs": ["t1", "flair"], "target": "t2", "net": name}
    rest = {"net_settings": settings, "patch": None, "neighbours": 1, "flags": True, "contrasts": list(CONTRASTS)}
    known = {"steps": complete_steps(STEPS), "range": [0, 1], "intensity": [], **trained()}
    save_model(folder / "model", net.state_dict(), {**contract, **rest, **known, **more}, "# card\n")
    return folder


def scans_of(folder: Path, *contrasts: str) -> dict[str, Path]:
    """Scans of one head."""
    images = brain_case(contrasts=contrasts, seed=1).images
    return {name: write_scan(image.data, folder / f"{name}.nii.gz") for name, image in images.items()}
