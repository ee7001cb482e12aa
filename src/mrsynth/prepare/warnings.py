"""What a look at a prepared case should begin with: sentences about what is unlikely in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.steps.alignment import misalignments
from mrsynth.steps.brain_stripped import volume_ml
from mrsynth.steps.same_head import doubts
from mrsynth.steps.transform import Grid, apply_affine

BRAIN_ML = (700.0, 2100.0)
"""Volumes of a whole brain outside of which a mask is doubtful: small children to large adults, with margin."""

UNCOVERED_SHARE = 0.01
"""Share of the brain beyond an image's field of view from which a flag is raised."""

SAMPLED = 50_000
"""About as many voxels of the brain are asked whether an image has seen them."""

CLIPPED_SHARE = 0.02
"""Share of the brain beyond the range of a normalisation from which a flag is raised."""


def flags_of(prepared: Case, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences about a prepared case, [] where nothing is unlikely.

    Args:
        prepared: the case after all steps.
        records: what each step recorded, in order.
    """
    return [
        *_mask_flags(prepared),
        *_coverage_flags(prepared, records),
        *_place_flags(prepared),
        *doubts(records),
        *_record_flags(prepared, records),
    ]


def _mask_flags(case: Case) -> list[str]:
    """Return what is unlikely about the brain mask."""
    if "brain" not in case.masks:
        return []
    mask = case.masks["brain"]
    inside = mask.data > 0
    ml = volume_ml(inside, mask)
    flags = []
    if not BRAIN_ML[0] <= ml <= BRAIN_ML[1]:
        flags.append(f"The brain mask holds {ml:.0f} ml (a brain has {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f}).")
    faces = {
        "left": inside[0],
        "right": inside[-1],
        "back": inside[:, 0],
        "front": inside[:, -1],
        "top": inside[..., -1],
    }
    touching = [name for name, face in faces.items() if face.mean() > 0.02]
    if touching:
        flags.append(f"The brain is cut off at the {' and '.join(touching)} of the image.")
    return flags


def _coverage_flags(case: Case, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return which images end inside the brain: beyond, resampling has put the background."""
    mask = case.masks.get("brain")
    if mask is None or not mask.data.any():
        return []
    inside = np.argwhere(mask.data > 0)
    places = apply_affine(np.asarray(mask.affine, float), inside[:: max(1, len(inside) // SAMPLED)].T.astype(float))
    flags = []
    for record in records:
        for name, own in record.get("grids", {}).items() if record["step"] == "resample" else ():
            grid = Grid.recorded(own)
            at = apply_affine(np.linalg.inv(grid.affine), places)
            beyond = ((at < -0.5) | (at > np.array(grid.shape)[:, None] - 0.5)).any(axis=0).mean()
            if name in case.images and beyond > UNCOVERED_SHARE:
                flags.append(f"{name} ends before the brain does: {100 * beyond:.0f} % of the brain were not scanned.")
    return flags


def _place_flags(case: Case) -> list[str]:
    """Return which images do not lie on the first one."""
    flags = []
    for first, name, found in misalignments({name: _as_signal(case, name) for name in case.images}):
        if isinstance(found, InputError):  # too small a part of a head to tell
            continue
        if found.mirrored:
            flags.append(f"{name} fits {first} better when it is mirrored left–right.")
        elif found.shifted:
            flags.append(f"{name} seems to lie {found.distance_mm:.1f} mm off {first}.")
    return flags


def _as_signal(case: Case, name: str) -> Image:
    """Return an image as a stripped scan looks: above 0 in the brain, whatever its normalisation, and 0 outside."""
    image, mask = case.images[name], case.masks.get("brain")
    if mask is None or not mask.data.any():
        return image
    brain = mask.data > 0
    low, high = (float(v) for v in np.percentile(image.data[brain], [0.1, 99.9]))
    scaled = (image.data - low) / max(high - low, 1e-12)
    return image.with_data(np.where(brain, np.clip(scaled, 0, 1) + 0.2, 0).astype(np.float32))


def _record_flags(case: Case, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the steps' own records say that a reader should know."""
    brain = int((case.masks["brain"].data > 0).sum()) if "brain" in case.masks else None
    flags = []
    for record in records:
        for name, found in record.get("images", {}).items():
            if brain and found.get("clipped", 0) > CLIPPED_SHARE * brain:
                share = 100 * found["clipped"] / brain
                flags.append(f"{record['step']} clipped {share:.1f} % of the brain of {name}.")
    return flags
