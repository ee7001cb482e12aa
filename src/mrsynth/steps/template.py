"""The template that heads are brought to: ICBM 152 2009a, in MNI space (mm, RAS+, origin at the anterior commissure).

Its grey and white matter maps ship with the phantom (`simulate/assets`, with their licence). They make a contrast like
T1's, which is all that mutual information needs; nothing is downloaded. The template has no skull: only its brain and
a thin rim are compared, so that heads with and without skull come out alike.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import numpy as np

from mrsynth.core.image import Image
from mrsynth.steps.transform import Grid

GREY, WHITE, FLUID = 0.65, 1.0, 0.25
"""Intensities of the tissues, about those of a T1-weighted image relative to white matter."""

RIM_MM = 1


def template_grid() -> Grid:
    """Return the 1 mm grid on which ICBM 152 2009a is published (Fonov et al., NeuroImage 54:313, 2011)."""
    affine = np.eye(4)
    affine[:3, 3] = (-98.0, -134.0, -72.0)
    return Grid((197, 233, 189), affine)


@cache
def template() -> tuple[Image, Image]:
    """Return the template's image (float32, 0 to 1, 0 outside the brain) and the mask of the brain and its rim."""
    from scipy.ndimage import binary_dilation

    with as_file(files("mrsynth.phantom") / "assets" / "icbm152_2009a.npz") as path, np.load(path) as asset:
        grey, white = (asset[name].astype(np.float32) / 255.0 for name in ("grey", "white"))
        brain = np.unpackbits(asset["brain"])[: grey.size].reshape(grey.shape).astype(np.float32)
        origin_mm = asset["origin_mm"]
    fluid = np.clip(brain - grey - white, 0.0, 1.0)
    half = brain * (GREY * grey + WHITE * white + FLUID * fluid)
    # one half is kept, with the plane x = 0 as its last; room for the rim
    room = ((RIM_MM, RIM_MM),) * 3
    data = np.pad(np.concatenate([half, half[-2::-1]]), room)
    solid = np.pad(np.concatenate([brain, brain[-2::-1]]), room) > 0
    affine = np.eye(4)
    affine[:3, 3] = origin_mm - RIM_MM
    rim = binary_dilation(solid, iterations=RIM_MM).astype(np.uint8)
    return Image(data, affine, "template"), Image(rim, affine, "brain")
