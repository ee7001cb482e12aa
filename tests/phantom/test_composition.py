"""The brain mask as programs find it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from mrsynth.phantom.composition import Composition, near_tissue
from mrsynth.phantom.template import Grid
from mrsynth.phantom.tissues import tissue_names

GRID = Grid((44, 44, 44), (-43.0, -43.0, -43.0), 2.0)


def ball() -> tuple[Composition, np.ndarray, np.ndarray]:
    """Return a ball of white matter with a sulcus 6 mm wide in 8 mm of fluid, its tissue and its sulcus (x, y, z)."""
    x, y, z = GRID.axes_mm()
    radius = np.sqrt(x * x + y * y + z * z)
    sulcus = (np.abs(x) < 3.5) & (y > 10) & (radius < 30)
    tissue = (radius < 30) & ~sulcus
    names = np.select([tissue, radius < 38], [tissue_names().index("white"), tissue_names().index("csf")], 0)
    fractions = torch.nn.functional.one_hot(torch.from_numpy(names).flatten(), len(tissue_names())).T.float()
    index = torch.arange(names.size)
    brain = torch.from_numpy(radius < 38).flatten()
    return Composition(GRID, index, GRID.points_mm(), fractions, brain), tissue, sulcus


def test_the_mask_holds_the_tissue_and_its_sulci_and_ends_before_the_dura() -> None:
    composition, tissue, sulcus = ball()
    tight = near_tissue(composition, 0.0)
    assert tight[tissue].all()
    assert tight[sulcus].mean() > 0.8
    x, y, z = GRID.axes_mm()
    radius = np.sqrt(x * x + y * y + z * z)
    assert not tight[radius > 33].any()


def test_a_wider_margin_takes_more_fluid() -> None:
    composition, tissue, _ = ball()
    masks = [near_tissue(composition, margin_mm) for margin_mm in (0.0, 2.0, 4.0)]
    assert tissue.sum() < masks[0].sum() < masks[1].sum() < masks[2].sum()
    assert all((wide | ~tight).all() for tight, wide in pairwise(masks))
