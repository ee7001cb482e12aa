"""What the page of a prepared cohort shows of a case: small pictures after each step, outlines, histograms, flags.

They are taken where the case is prepared, so that the page is built from a few kilobytes a case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.feature import canny
from skimage.transform import resize

from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Case, Image
from mrsynth.core.ownership import holds_only, require_ours
from mrsynth.drawing.display import display
from mrsynth.drawing.viewer import Shown, write_case
from mrsynth.prepare.facts import FACTS, PICTURES, Facts, Histogram, Histograms, pictures_of
from mrsynth.prepare.warnings import flags_of
from mrsynth.steps import run_steps
from mrsynth.steps.reorient import axis_codes

STEP_PIXELS = 80
FINAL_PIXELS = 168
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
BINS = 48


class Snapshots:
    """Pictures of one case on its way through the steps, all through the same point of the head."""

    def __init__(self, case: Case) -> None:
        self.before = case
        self.steps: list[str] = []
        self.pictures: dict[str, np.ndarray] = {}
        self._take("as read", case)

    def after(self, step: str, case: Case) -> None:
        """Take the pictures after a step (Step's `watch`).

        Args:
            step: its name.
            case: as the step left it.
        """
        self._take(step, case)

    def write(self, folder: Path, prepared: Case, records: Sequence[Mapping[str, Any]]) -> None:
        """Write pictures.npz and facts.json into folder/qc/<case>/, whole or not at all.

        It writes the script of the case for the viewer too, into folder/viewer.

        Args:
            folder: of the prepared cohort.
            prepared: the case after all steps; its first image is the reference.
            records: what each step recorded, in order.

        Raises:
            OutputError: nothing can be written there, or other files lie there.
        """
        prepared = _upright(prepared)
        at = _middle(prepared)
        reference = next(iter(prepared.images))
        for name, image in prepared.images.items():
            for plane, axis in PLANES.items():
                self.pictures[f"final/{name}/{plane}"] = _grey(_slice(image, at, axis, FINAL_PIXELS), image)
        for plane, axis in PLANES.items():
            edges = canny(self.pictures[f"final/{reference}/{plane}"] / 255.0, sigma=2)
            self.pictures[f"edges/{plane}"] = edges.astype(np.uint8)
            if "brain" in prepared.masks:
                mask = _slice(prepared.masks["brain"], at, axis, FINAL_PIXELS) > 0.5
                self.pictures[f"outline/{plane}"] = (mask & ~ndimage.binary_erosion(mask)).astype(np.uint8)
        before = self.before.images
        facts = Facts(
            steps=self.steps,
            contrasts=list(prepared.images),
            reference=reference,
            flags=flags_of(prepared, records),
            histograms={
                name: Histograms(before=_histogram(before.get(name), None), after=_histogram(image, prepared))
                for name, image in prepared.images.items()
            },
        )
        write_case(folder, prepared.name, [_volume(image) for image in prepared.images.values()])
        place = pictures_of(folder, prepared.name)
        if not place.is_symlink():
            require_ours(place.parent, {place.name: holds_only(FACTS, PICTURES)}, "move the other files away")
        with atomic_folder(place) as temporary:
            np.savez_compressed(temporary / PICTURES, allow_pickle=False, **self.pictures)  # type: ignore[arg-type]
            facts.write(temporary / FACTS)

    def _take(self, step: str, case: Case) -> None:
        """Keep an axial picture of every image."""
        case = _upright(case)
        key = f"{len(self.steps)}/{step}"
        self.steps.append(step)
        at = _middle(case)
        for name, image in case.images.items():
            self.pictures[f"step/{key}/{name}"] = _grey(_slice(image, at, 2, STEP_PIXELS), image)


def _volume(image: Image) -> Shown:
    """Return an image for the viewer, in the grey window of its pictures."""
    low, high = _window(image)
    kept = (low, max(float(image.data.max()), high))
    return Shown("input", image.contrast.upper(), image.data, np.asarray(image.affine, float), kept, (low, high))


def _upright(case: Case) -> Case:
    """Return the case with the axes of all images nearest to RAS+: planes and sides are named by them, whatever
    reorient did."""
    if all(axis_codes(image.affine) == "RAS" for image in (*case.images.values(), *case.masks.values())):
        return case
    return run_steps(case, [{"reorient": {"axes": "RAS"}}])[0]


def _middle(case: Case) -> np.ndarray:
    """Return the point in mm through which the pictures go: the middle of the brain, else of the first image."""
    image = case.masks.get("brain") or next(iter(case.images.values()))
    voxel = (np.array(image.data.shape) - 1) / 2
    if image.contrast == "brain" and image.data.any():
        voxel = np.array([np.flatnonzero(image.data.any(axis=_others(a)))[[0, -1]].mean() for a in range(3)])
    return np.asarray(image.affine, float)[:3, :3] @ voxel + np.asarray(image.affine, float)[:3, 3]


def _others(axis: int) -> tuple[int, int]:
    first, second = (a for a in range(3) if a != axis)
    return first, second


def _slice(image: Image, at_mm: np.ndarray, axis: int, pixels: int) -> np.ndarray:
    """Return the slice through a point as rows and columns (anterior or superior up), its long side `pixels` long and
    its proportions those of the patient."""
    affine = np.asarray(image.affine, float)
    voxel = np.rint(np.linalg.solve(affine[:3, :3], at_mm - affine[:3, 3])).astype(int)
    plane = np.take(image.data, int(np.clip(voxel[axis], 0, image.data.shape[axis] - 1)), axis=axis)
    first, second = _others(axis)
    size_mm = np.array([plane.shape[0] * image.spacing_mm[first], plane.shape[1] * image.spacing_mm[second]])
    shape = np.maximum(1, np.rint(size_mm / size_mm.max() * pixels)).astype(int)
    small = resize(plane.astype(np.float32), tuple(shape), order=1, anti_aliasing=max(plane.shape) > 1.5 * pixels)
    return display(small)


def _grey(picture: np.ndarray, image: Image) -> np.ndarray:
    """Return a picture as uint8 in the grey window from the image's 1st to its 99.5th percentile."""
    low, high = _window(image)
    return np.rint(np.clip((picture - low) / max(high - low, 1e-12), 0, 1) * 255).astype(np.uint8)


def _window(image: Image) -> tuple[float, float]:
    """Return an image's 1st and 99.5th percentile."""
    low, high = np.percentile(image.data[:: max(1, image.data.shape[0] // 64), ::2, ::2], [1, 99.5])
    return float(low), float(high)


def _histogram(image: Image | None, case: Case | None) -> Histogram | None:
    """Return counts and range of an image's values: in the brain where there is a mask, else of what is not 0."""
    if image is None:
        return None
    brain = None if case is None else case.masks.get("brain")
    values = image.data[image.data != 0] if brain is None else image.data[brain.data > 0]
    if values.size == 0:
        return None
    low, high = (float(v) for v in np.percentile(values, [0.1, 99.9]))
    if not high > low:
        return None
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    return Histogram(low=low, high=high, counts=counts.tolist())
