"""Brain mask of a head with skull, by deepbet's trained network (Fisch et al., Comput Biol Med 179:108845, 2024).

The weights come in deepbet's own wheel, so that nothing is fetched; torch reads them from where the package lies. They
were trained on T1-weighted heads of adults; on the phantom they find the brain in T2 and FLAIR as well, in thick
slices too, but not in CT.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image, describe_grid
from mrsynth.steps.brain_stripped import brain_region

COARSEST_MM = 4.5
"""In-plane voxels above this were not tried and are refused (measured: 1 to 4 mm, slices up to 6 mm)."""

FEWEST_SLICES = 2
"""deepbet fails on a single slice along any axis; from two on it finds a phantom's brain (4 mm)."""


@cache
def _network() -> Any:
    """Return deepbet's two networks, on the CPU: the same scan gives the same bytes everywhere."""
    with warnings.catch_warnings():
        # deepbet ships TorchScript, whose reader torch deprecates
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        from deepbet import BrainExtraction

        return BrainExtraction(no_gpu=True)


def deepbet_mask(case: str, image: Image, threshold: float) -> np.ndarray:
    """Return the brain of a head that deepbet's network finds: the largest region, filled.

    Args:
        case: its name, for messages.
        image: with axes nearest to RAS+.
        threshold: of the network's probability.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: where there is no brain, the voxels are too coarse or the slices too few.
    """
    in_plane = sorted(image.spacing_mm)[1]
    if in_plane > COARSEST_MM:
        raise InputError(
            f"{case}: the images are not skull-stripped, and {image.contrast} is too coarse to find the brain.",
            found=describe_grid(image),
            expected=f"voxels of at most {COARSEST_MM} mm in plane",
            do="prepare finer images, strip the skull first, or give a brain mask (column or input `brain`)",
        )
    if min(image.data.shape) < FEWEST_SLICES:
        raise InputError(
            f"{case}: the images are not skull-stripped, and {image.contrast} has too few slices to find the brain.",
            found=describe_grid(image),
            expected=f"at least {FEWEST_SLICES} slices",
            do="prepare the whole volume, or give a brain mask (column or input `brain`)",
        )
    data = np.nan_to_num(image.data.astype(np.float32), posinf=0.0, neginf=0.0)
    try:
        probability = _network().run_model(np.ascontiguousarray(data))
        mask = probability > threshold
    except (AssertionError, ValueError):  # deepbet's own words where its first network sees no brain
        mask = np.zeros(data.shape, dtype=bool)
    except RuntimeError as error:  # torch's, where the box around what it sees is empty
        if "should be greater than 0" not in str(error):
            raise
        mask = np.zeros(data.shape, dtype=bool)
    return brain_region(
        mask,
        image,
        f"{case}: the images are not skull-stripped, and deepbet finds no brain in {image.contrast}.",
        do="check orientation and spacing (mrsynth check), choose another contrast (`of`), or give a brain mask",
    )
