"""Lesions: tumours with core, rim and oedema, metastases and multiple-sclerosis plaques.

Drawn in template space (so that they sit in the right tissue), applied to a person's fractions. Draw, then apply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mrsynth.phantom.anatomy import Anatomy
from mrsynth.phantom.composition import FIELDS, Composition, soft
from mrsynth.phantom.shape import Shape
from mrsynth.phantom.template import COARSE, Grid, sample
from mrsynth.phantom.tissues import tissue_names

KINDS: tuple[str, ...] = ("glioma_high", "glioma_low", "metastases", "ms", "none")

LABELS: dict[str, int] = {
    "necrosis": 1,
    "oedema": 2,
    "enhancing_tumour": 3,
    "non_enhancing_tumour": 5,
    "ms_plaque": 6,
}
"""Tissue → number in the lesion mask (mrsynth.types.LESION_LABELS)."""

REPLACEABLE = ("csf", "grey", "white", "thalamus", "caudate", "putamen", "pallidum")
"""Tissues that a lesion replaces; ventricles, dura and the large vessels stay."""

Lesion = dict[str, Any]


def draw_lesions(rng: np.random.Generator, kind: str, anatomy: Anatomy) -> list[Lesion]:
    """Draw the lesions of a kind.

    Args:
        rng: the generator of random numbers.
        kind: one of KINDS.
        anatomy: where lesions may lie.

    Returns:
        Each lesion, JSON-able. tissue: what fills it; centre_mm in template space; radii_mm and axes (rows: unit
            vectors); rim_mm: thickness of the enhancing rim around a necrotic core (absent: solid); oedema_mm;
            rough_mm: unevenness of the surface; edge_mm: width of a blurred edge (absent: sharp); push_mm: how far it
            moves its surroundings.
    """
    draw = {
        "glioma_high": _draw_glioma_high,
        "glioma_low": _draw_glioma_low,
        "metastases": _draw_metastases,
        "ms": _draw_plaques,
    }
    return draw[kind](rng, anatomy) if kind != "none" else []


def apply_lesions(
    composition: Composition,
    lesions: Sequence[Mapping[str, Any]],
    shape: Shape,
    fields: Float[Tensor, "f x y z"],
) -> None:
    """Replace tissue by lesions in place; each lesion touches only its own box of the grid.

    Args:
        composition: the person's tissue, which is changed.
        lesions: as `draw_lesions` draws them.
        shape: the map from the template to the person.
        fields: smooth random fields for the unevenness of surfaces, (f, x, y, z).
    """
    grid = composition.grid
    held = torch.full(grid.shape, -1, dtype=torch.int32)
    held.view(-1)[composition.index] = torch.arange(len(composition.index), dtype=torch.int32)
    uneven = fields[[list(FIELDS).index(name) for name in ("rough", "extent")]]
    for lesion in lesions:
        where = held[_box(lesion, shape, grid)].flatten()
        where = where[where >= 0].long()
        points = composition.points_mm[where]
        rough, extent = sample(uneven, COARSE, points)
        fractions = composition.fractions[:, where]
        _replace(fractions, lesion, _level(lesion, points), rough, extent, max(grid.spacing_mm, 1.2))
        composition.fractions[:, where] = fractions


def lesion_labels(composition: Composition) -> Float[Tensor, "n"]:
    """Return the label of each held voxel: of its leading lesion tissue where lesions make up half of it, else 0."""
    parts = composition.fractions[[tissue_names().index(name) for name in LABELS]]
    where = (parts.sum(0) >= 0.5).nonzero().squeeze(1)
    labels = torch.zeros(parts.shape[1], dtype=torch.uint8)
    labels[where] = torch.tensor(list(LABELS.values()), dtype=torch.uint8)[parts[:, where].argmax(0)]
    return labels


def nearest_lesion(composition: Composition, lesions: Sequence[Mapping[str, Any]]) -> Tensor:
    """Return the lesion whose surface lies nearest to each held voxel.

    Args:
        composition: whose voxels.
        lesions: one or more.

    Returns:
        Its number, (n,).
    """
    levels = torch.stack([_level(lesion, composition.points_mm) for lesion in lesions])
    return levels.argmin(dim=0)


def _draw_glioma_high(rng: np.random.Generator, anatomy: Anatomy) -> list[Lesion]:
    radius = float(rng.uniform(11.0, 21.0))
    lesion = _ellipsoid(rng, _pick(rng, anatomy.deep_white_mm), radius, 0.18)
    lesion |= {"tissue": "enhancing_tumour", "rim_mm": float(rng.uniform(3.0, 6.0)), "rough_mm": 0.14 * radius}
    return [lesion | {"oedema_mm": float(rng.uniform(8.0, 24.0)), "push_mm": float(rng.uniform(2.0, 5.5))}]


def _draw_glioma_low(rng: np.random.Generator, anatomy: Anatomy) -> list[Lesion]:
    radius = float(rng.uniform(13.0, 25.0))
    lesion = _ellipsoid(rng, _pick(rng, anatomy.deep_white_mm), radius, 0.22)
    lesion |= {"tissue": "non_enhancing_tumour", "rough_mm": 0.12 * radius, "edge_mm": 4.0}
    return [lesion | {"oedema_mm": float(rng.uniform(0.0, 4.0)), "push_mm": float(rng.uniform(1.0, 3.0))}]


def _draw_metastases(rng: np.random.Generator, anatomy: Anatomy) -> list[Lesion]:
    lesions = []
    for _ in range(int(rng.integers(3, 9))):
        radius = float(rng.uniform(2.5, 8.0))
        lesion = _ellipsoid(rng, _pick(rng, anatomy.junction_mm), radius, 0.1)
        lesion |= {"tissue": "enhancing_tumour", "rough_mm": 0.08 * radius, "push_mm": 0.1 * radius}
        if radius > 5.5:  # larger ones outgrow their supply
            lesion["rim_mm"] = float(rng.uniform(2.0, 3.5))
        lesions.append(lesion | {"oedema_mm": float(rng.uniform(0.5, 1.8) * radius)})
    return lesions


def _draw_plaques(rng: np.random.Generator, anatomy: Anatomy) -> list[Lesion]:
    lesions = []
    for _ in range(int(rng.integers(8, 26))):
        row = anatomy.periventricular[rng.integers(len(anatomy.periventricular))]
        short = float(rng.uniform(1.6, 3.2))
        # plaques follow the veins, which run away from the ventricles (Dawson's fingers)
        axes = _frame(row[3:])
        radii = [short * float(rng.uniform(1.3, 2.4)), short, short * float(rng.uniform(0.8, 1.4))]
        centre = [float(v) for v in row[:3] + rng.uniform(0.0, 5.0) * row[3:]]
        lesions.append(
            {"tissue": "ms_plaque", "centre_mm": centre, "radii_mm": radii, "axes": axes.tolist()}
            | {"rough_mm": 0.12 * short, "oedema_mm": 0.0, "push_mm": 0.0}
        )
    return lesions


def _pick(rng: np.random.Generator, places_mm: np.ndarray) -> list[float]:
    return [float(v) for v in places_mm[rng.integers(len(places_mm))]]


def _ellipsoid(rng: np.random.Generator, centre_mm: list[float], radius_mm: float, spread: float) -> Lesion:
    """Return centre, radii (log-normal around radius_mm) and randomly turned axes."""
    radii = radius_mm * np.exp(rng.normal(0.0, spread, 3))
    return {"centre_mm": centre_mm, "radii_mm": radii.tolist(), "axes": _frame(rng.normal(size=3)).tolist()}


def _frame(direction: np.ndarray) -> np.ndarray:
    """Return three orthonormal rows, the first along a direction."""
    first = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.argmin(np.abs(first))]
    second = np.cross(first, helper)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)])


def _level(lesion: Mapping[str, Any], points_mm: Tensor) -> Tensor:
    """Return about the distance (mm) outside the lesion's ellipsoid at template points (..., 3)."""
    radii = torch.tensor(lesion["radii_mm"], dtype=torch.float32)
    axes = torch.tensor(lesion["axes"], dtype=torch.float32)
    offset = (points_mm - torch.tensor(lesion["centre_mm"], dtype=torch.float32)) @ axes.T
    return ((offset / radii).norm(dim=-1) - 1.0) * radii.mean()


def _replace(
    fractions: Tensor, lesion: Mapping[str, Any], level: Tensor, rough: Tensor, extent: Tensor, width_mm: float
) -> None:
    """Write one lesion into the fractions (tissues, n) of the voxels that it may reach."""
    names = tissue_names()
    row = {name: fractions[i] for i, name in enumerate(names)}
    level = level + float(lesion["rough_mm"]) * (0.7 * rough + 0.7 * extent)
    whole = soft(level, max(width_mm, float(lesion.get("edge_mm", 0.0))))
    lost = torch.zeros_like(level)
    for name in REPLACEABLE:
        part = row[name] * whole
        row[name] -= part
        lost += part
    rim_mm = lesion.get("rim_mm")
    core = soft(level + float(rim_mm) * (1.0 + 0.45 * rough).clamp(min=0.35), width_mm) if rim_mm else None
    if core is None:
        # solid tumours and plaques are never quite uniform
        loose = lost * (0.15 + 0.12 * rough + 0.08 * extent).clamp(0.0, 0.45)
        row["oedema"] += loose
        row[lesion["tissue"]] += lost - loose
    else:
        core = torch.minimum(core, whole)
        share = torch.where(whole > 0, core / whole.clamp(min=1e-6), torch.zeros(()))
        share = share + (1.0 - share) * (0.1 + 0.1 * extent - 0.08 * rough).clamp(0.0, 0.35)  # gaps in the rim
        row["necrosis"] += lost * share
        row[lesion["tissue"]] += lost * (1.0 - share)
    oedema_mm = float(lesion["oedema_mm"])
    if oedema_mm > 0.5:
        # oedema spreads along white matter and spares the cortex
        reach = soft(level - oedema_mm * (0.7 + 0.5 * extent + 0.2 * rough).clamp(min=0.1), 6.0) * (
            0.9 + 0.06 * rough
        ).clamp(0.6, 1.0)
        for name, share_of in (("white", 1.0), ("grey", 0.12)):
            part = row[name] * reach * share_of
            row[name] -= part
            row["oedema"] += part


def _box(lesion: Mapping[str, Any], shape: Shape, grid: Grid) -> tuple[slice, slice, slice]:
    """Return the part of the grid that a lesion can reach (margin for its unevenness and the person's shape)."""
    centre = torch.tensor(lesion["centre_mm"], dtype=torch.float32)[None]
    at = shape.to_person(centre)[0].numpy()
    rough = 2.5 * float(lesion["rough_mm"])
    reach = (max(lesion["radii_mm"]) + rough + 1.8 * float(lesion["oedema_mm"]) + float(lesion["push_mm"]) + 3.0) * 1.2
    low = np.floor((at - reach - grid.origin_mm) / grid.spacing_mm).astype(int)
    high = np.ceil((at + reach - grid.origin_mm) / grid.spacing_mm).astype(int) + 1
    x, y, z = (slice(max(0, a), max(0, min(n, b))) for a, b, n in zip(low, high, grid.shape, strict=True))
    return x, y, z
