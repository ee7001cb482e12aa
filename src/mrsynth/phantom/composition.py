"""What each voxel of a person is made of: fractions of all tissues, cut from the template's maps.

The template's probabilities are averages of many people and blurred. A person's borders are made crisp by a logistic
function of the log-odds, steeper than one, and individual by smooth random fields added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from mrsynth.core.seeds import generator
from mrsynth.phantom.anatomy import COARSE_MAPS, Anatomy
from mrsynth.phantom.shape import Shape
from mrsynth.phantom.template import COARSE, FINE, Grid, channels_last, sample
from mrsynth.phantom.tissues import tissue_names

FIELDS: dict[str, float] = {
    "gyri": 2.2,
    "sulci": 3.0,
    "myelin": 5.0,
    "bone": 14.0,
    "fat": 10.0,
    "rough": 3.5,
    "extent": 8.0,
}
"""The random fields of a person and their smoothness (Gaussian sigma in mm), each of mean 0 and variance 1."""

SHARPNESS = 3.2
FLUID_BIAS, WHITE_BIAS = 0.6, 0.3
"""Added to the log-odds: averaging fills the template's sulci and blurs its thin white matter."""

SMALL = 0.012  # keeps the log-odds finite
SLAB = 40
DURA_MM, TABLE_MM, DIPLOE_MM, SKIN_MM, FAT_MM = 0.9, 1.6, 3.0, 2.0, 3.2
SULCI_MM = 6.0
"""Half the width of the sulci over which a mask that a program finds is closed."""


@dataclass(frozen=True, eq=False)
class Composition:
    """What a person's voxels are made of. Only the n voxels in or near the tissue are held; the rest is background.

    Attributes:
        grid: that they lie on.
        index: (n,) position of each in the flattened grid, rising.
        points_mm: (n, 3) where they lie in the template.
        fractions: (tissues, n) in 0 to 1, sum 1, rows as in `tissue_names`.
        brain: (n,) bool, all inside the dura.
    """

    grid: Grid
    index: Tensor
    points_mm: Tensor
    fractions: Tensor
    brain: Tensor

    def mix(self, values: np.ndarray) -> np.ndarray:
        """Return the volume (x, y, z) of a tissue property (tissues,), averaged with the fractions."""
        weights = torch.from_numpy(values.astype(np.float32))
        return self.volume(weights @ self.fractions, float(values[0]))

    def volume(self, values: Tensor, outside: float) -> np.ndarray:
        """Return the volume (x, y, z) of one value for each held voxel and a constant elsewhere.

        Args:
            values: one for each held voxel.
            outside: the constant.
        """
        full = torch.full((int(np.prod(self.grid.shape)),), outside, dtype=values.dtype)
        full[self.index] = values
        return full.view(self.grid.shape).numpy()


def near_tissue(composition: Composition, margin_mm: float) -> np.ndarray:
    """Return where a brain mask as programs find it would lie: the tissue, closed over its sulci, and a margin.

    Args:
        composition: a person's.
        margin_mm: how far the mask reaches beyond the closed tissue.

    Returns:
        bool, (x, y, z).
    """
    around = [tissue_names().index(name) for name in ("csf", "dura", "venous_blood", "arterial_blood", "background")]
    tissue = composition.volume((composition.fractions[around].sum(0) < 0.5) & composition.brain, False)
    edge_mm = composition.grid.spacing_mm
    reached = distance_transform_edt(~tissue, sampling=edge_mm) <= SULCI_MM
    return distance_transform_edt(reached, sampling=edge_mm) > SULCI_MM - margin_mm


def random_fields(seed: int) -> Float[Tensor, "f x y z"]:
    """Return a person's random fields (see FIELDS) on COARSE."""
    fields = []
    for name, sigma_mm in FIELDS.items():
        noise = generator(seed, "field", name).standard_normal(COARSE.shape, np.float32)
        smooth = gaussian_filter(noise, sigma_mm / COARSE.spacing_mm, truncate=3.0)
        fields.append(smooth / smooth.std())
    return torch.from_numpy(np.stack(fields, axis=-1)).movedim(-1, 0)


def compose(
    anatomy: Anatomy, shape: Shape, fields: Float[Tensor, "f x y z"], atrophy: float, grid: Grid, brain_only: bool
) -> Composition:
    """Return a person's healthy tissue on a grid, slab by slab to bound the memory.

    Args:
        anatomy: the template's tissue.
        shape: the map from the template to the person.
        fields: smooth random fields that vary the tissue, (f, x, y, z).
        atrophy: 0 (none) to about 1 (marked).
        grid: where the tissue is wanted.
        brain_only: hold the voxels up to a few mm outside the brain rather than the whole head.
    """
    smooth = channels_last(torch.cat([anatomy.coarse, fields]))
    parts = []
    for start in range(0, grid.shape[0], SLAB):
        box = (slice(start, min(start + SLAB, grid.shape[0])), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
        points = shape.to_template(grid.part(box).points_mm())
        name, reach_mm = ("hull", 8.0) if brain_only else ("head", 2.0)
        outline = anatomy.coarse[[COARSE_MAPS.index(name)]]
        near = (sample(outline, COARSE, points)[0] < reach_mm).nonzero().squeeze(1)
        if len(near) == 0:
            continue
        points = points[near]
        fine, coarse = sample(anatomy.fine, FINE, points), sample(smooth, COARSE, points)
        fractions, inside = _fractions(fine, coarse, atrophy, max(grid.spacing_mm, 1.0))
        parts.append((near + start * grid.shape[1] * grid.shape[2], points, fractions, inside & (points[:, 2] > -74.0)))
    index, at, held, brain = zip(*parts, strict=True)
    return Composition(grid, torch.cat(index), torch.cat(at), torch.cat(held, dim=1), torch.cat(brain))


def soft(level: Tensor, width_mm: float) -> Tensor:
    """Return the fraction of a voxel inside a surface: 1 well inside, 1/2 on it, 0 outside.

    Args:
        level: signed distance to the surface in mm, negative inside.
        width_mm: over which the fraction falls, linearly.
    """
    return (0.5 - level / width_mm).clamp_(0.0, 1.0)


def _fractions(fine: Tensor, coarse: Tensor, atrophy: float, width_mm: float) -> tuple[Tensor, Tensor]:
    """Return the fractions (tissues, n) at n voxels, and which of them are brain or its fluid (bool)."""
    out = torch.zeros((len(tissue_names()), fine.shape[1]))
    row = {name: out[i] for i, name in enumerate(tissue_names())}
    grey, white, ventricle, vein, artery, choroid, sheet = fine
    hull, mixed, thalamus, caudate, putamen, pallidum, head, air, eye = coarse[:9]
    gyri, sulci, myelin, bone, fat = coarse[9:14]
    fluid = (1.0 - grey - white).clamp(0.0)
    to_dura = hull - (0.8 + 1.2 * atrophy + 0.3 * bone)
    inside = soft(to_dura, width_mm)
    wet = inside * _fluid_share(grey, white, fluid, sulci + 0.9 * atrophy)
    dry = inside - wet
    row["white"][:] = dry * _white_share(grey, white, mixed, gyri, myelin)
    row["grey"][:] = dry - row["white"]
    row["ventricles"][:] = wet * ventricle
    row["csf"][:] = wet - row["ventricles"]
    wide = 1.6 * width_mm
    _move(row, ("grey", "white"), "pallidum", soft(pallidum, wide))
    _move(row, ("grey", "white"), "putamen", soft(putamen, wide) * (0.35 + grey).clamp(max=1.0))
    _move(row, ("grey",), "caudate", soft(caudate, 2 * width_mm))
    _move(row, ("grey", "white"), "thalamus", 0.8 * soft(thalamus, 2 * wide))
    _move(row, ("ventricles",), "choroid_plexus", 0.9 * soft(choroid, width_mm))
    _move(row, ("csf",), "venous_blood", ((gyri - 1.5) * 1.5).clamp(0.0, 0.8))  # pial veins
    _shells(row, to_dura, inside, bone, width_mm)
    _outer_head(row, head, eye, air, fat, gyri, width_mm)
    open_fluid = (4.0 * fluid).clamp(max=1.0)
    everything = tuple(name for name in row if name not in ("background", "choroid_plexus"))
    _move(row, ("csf", "grey"), "dura", 0.9 * soft(sheet, width_mm) * open_fluid)
    _move(row, everything, "arterial_blood", soft(artery, width_mm) * open_fluid)
    _move(row, everything, "venous_blood", soft(vein, width_mm) * open_fluid)
    row["background"][:] = (1.0 - out.sum(0)).clamp(0.0)
    out /= out.sum(0)
    return out, to_dura < 0.0


def _fluid_share(grey: Tensor, white: Tensor, fluid: Tensor, sulci: Tensor) -> Tensor:
    """Return how much of a voxel inside the dura is fluid rather than tissue, crisp at a person's own border."""
    odds = torch.log((fluid + SMALL) / (grey + white + SMALL))
    return torch.sigmoid(SHARPNESS * (odds + FLUID_BIAS + 0.35 * sulci))


def _white_share(grey: Tensor, white: Tensor, mixed: Tensor, gyri: Tensor, myelin: Tensor) -> Tensor:
    """Return how much of the tissue is white matter: crisp at the cortex, as the template says where both are mixed."""
    odds = torch.log((white + SMALL) / (grey + SMALL)) + (WHITE_BIAS + 0.22 * gyri) * (1.0 - mixed)
    share = torch.sigmoid((1.0 + (SHARPNESS - 1.0) * (1.0 - mixed)) * odds)
    return share * (0.95 - 0.025 * myelin).clamp(0.8, 1.0)  # fibre density varies in white matter


def _shells(row: Mapping[str, Tensor], to_dura: Tensor, inside: Tensor, bone: Tensor, width_mm: float) -> None:
    """Fill dura and the three layers of the skull, whose thickness varies from place to place."""
    before, depth = inside, torch.zeros_like(bone)
    for name, thickness in (
        ("dura", torch.full_like(bone, DURA_MM)),
        ("skull_inner", (TABLE_MM + 0.25 * bone).clamp(min=1.0)),
        ("diploe", (DIPLOE_MM + 1.2 * bone).clamp(min=0.4)),
        ("skull_outer", (TABLE_MM + 0.25 * bone).clamp(min=1.0)),
    ):
        depth = depth + thickness
        after = soft(to_dura - depth, width_mm)
        row[name][:] = after - before
        before = after
    row["skin"][:] = 1.0 - before  # all that is left outside the skull; _outer_head divides it


def _outer_head(
    row: Mapping[str, Tensor], head: Tensor, eye: Tensor, air: Tensor, fat: Tensor, gyri: Tensor, width_mm: float
) -> None:
    """Divide what lies outside the skull into skin, fat, muscle, eyes, airways and background."""
    outside = row["skin"].clone()
    layer = (FAT_MM + 1.4 * fat).clamp(min=0.8)
    whole, below_skin = soft(head, width_mm), soft(head + SKIN_MM, width_mm)
    below_fat = soft(head + SKIN_MM + layer, width_mm)
    planes = (0.12 + 0.35 * (gyri - 0.6)).clamp(0.05, 0.9)  # fat between the muscles
    row["skin"][:] = outside * (whole - below_skin)
    row["fat"][:] = outside * (below_skin - below_fat + below_fat * planes)
    row["muscle"][:] = outside * below_fat * (1.0 - planes)
    _move(row, ("muscle",), "fat", soft(eye - 5.0, width_mm))
    _move(row, ("muscle", "fat", "skin"), "vitreous", soft(eye, width_mm))
    hollow = soft(air, width_mm) * below_skin
    for name in ("skin", "fat", "muscle", "vitreous", "diploe"):
        row[name] *= 1.0 - hollow


def _move(row: Mapping[str, Tensor], sources: tuple[str, ...], target: str, share: Tensor) -> None:
    """Turn a share (0 to 1, mostly 0) of each source tissue into the target tissue."""
    where = share.nonzero().squeeze(1)
    share = share[where]
    for source in sources:
        if source != target:
            moved = row[source][where] * share
            row[source][where] -= moved
            row[target][where] += moved
