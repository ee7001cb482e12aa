"""Finds the matrix that brings one image onto another: Mattes' mutual information, coarse to fine, by SimpleITK.

One thread: with more, ITK adds its sums in another order each time, and the levels are so small that threads gain
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.steps.pyramid import Pyramid
from mrsynth.steps.transform import Grid, apply_affine, mean_shift_mm
from mrsynth.steps.turned import better_turned

Kind = Literal["translation", "rigid", "affine"]

FIRST_STEP_MM = {8.0: 4.0, 4.0: 1.0, 2.0: 0.5, 1.0: 0.1}
"""How far the first step of the descent moves the image on each level; it ends at a fiftieth of that."""

SAMPLES, MIDDLE_SAMPLES, FINE_SAMPLES = 50_000, 25_000, 150_000
"""Of a level; of one that a finer one follows; of the last descent, which takes the noise of the samples out."""
FINE_STEP_MM = 0.06
"""With which the last descent begins; it ends at a twentieth of that."""
BINS, STARTS, MOST_DESCENTS = 32, 3, 3
LEAST_GAIN = 2e-3
"""An affine descent begins anew while it gains more information than this, in nats."""
MIN_OVERLAP = 0.3
MIN_SHARE = 0.05
"""Least share of the information that an image has about itself: FLAIR and ADC of one patient have 0.12, noise
0.003."""
HARMLESS_MM = 3.0
DOUBTFUL_MM = 10.0
DOUBTFUL_SHARE = 0.2
"""A match that moves the head further, or has less of the information that an image has about itself, is compared with
other orientations. Right matches of raw clinical T1, T2 and FLAIR have 0.28 to 0.6."""
TURN_DEG, MAX_TURN_DEG, SCALES = 20.0, 60.0, (0.7, 1.4)


@dataclass(frozen=True, eq=False)
class Match:
    """How one image moves onto another one.

    Attributes:
        world: 4×4, moves the moving image's mm onto the fixed one's.
        before, after: mutual information in nats without and with it, on the same samples of the finest level (before:
            0 where the images do not overlap).
        moved_mm: how far it moves the points of the fixed image's head or brain on average.
    """

    world: np.ndarray
    before: float
    after: float
    moved_mm: float


def match(fixed: Pyramid, moving: Pyramid, kind: Kind) -> Match:
    """Return the movement of one image that makes it most informative about another one.

    It starts from the positions in the files, the centres of the fields of view and the centres of mass, each also
    turned by 20° about each axis. The same images give the same bytes.

    Args:
        fixed: levels of the image that stays.
        moving: levels of the image that moves.
        kind: rigid or affine.

    Raises:
        InputError: where nothing overlaps or the result is no plausible head.
    """
    with _one_thread():
        return _match(fixed, moving, kind)


def _match(fixed: Pyramid, moving: Pyramid, kind: Kind) -> Match:
    levels = [mm for mm in fixed.levels if mm in moving.levels]
    metrics = [_Metric(fixed, moving, mm, MIDDLE_SAMPLES if mm in levels[1:-1] else SAMPLES) for mm in levels]
    found = _best_start(metrics[0], "translation" if kind == "translation" else "rigid")
    if found is None:
        raise _failed(fixed, moving, "no start gives them a common field of view", "images of one head")
    for metric in metrics[1:] or metrics:
        if kind == "affine" and metric is metrics[min(1, len(metrics) - 1)]:
            found = metric.descend(found, "rigid")
        found = metric.descend(found, kind)
    return _judged(metrics, metrics[-1].refined(found, kind))


def _judged(metrics: Sequence[_Metric], found: np.ndarray) -> Match:
    """Return the result with its measures; raises InputError if no head moves like that, or if the image fits much
    better in another orientation."""
    metric = metrics[-1]
    fixed, moving = metric.fixed, metric.moving
    left, scales, right = np.linalg.svd(found[:3, :3])
    turn_deg = float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))
    low, high = float(scales.min()), float(scales.max())
    if low < SCALES[0] or high > SCALES[1] or turn_deg > MAX_TURN_DEG or np.linalg.det(found[:3, :3]) < 0:
        expected = f"at most {MAX_TURN_DEG:.0f}°, scales of {SCALES[0]} to {SCALES[1]}"
        raise _failed(fixed, moving, f"turned by {turn_deg:.0f}°, scaled by {low:.2f} to {high:.2f}", expected)
    share = _overlap(found, fixed, moving)
    if share < MIN_OVERLAP:
        expected = f"at least {100 * MIN_OVERLAP:.0f} %"
        raise _failed(fixed, moving, f"{100 * share:.0f} % of the head in common", expected)
    world = np.linalg.inv(found)
    moved_mm = mean_shift_mm(world, fixed.head)
    before = metric.information(np.eye(4)) if _overlap(np.eye(4), fixed, moving) >= MIN_OVERLAP else 0.0
    after = metric.information(found)
    most = metric.most_information()
    least = MIN_SHARE * most
    if after < least or (after <= before and moved_mm > HARMLESS_MM):
        told = f"mutual information {after:.3f} after, {before:.3f} before"
        raise _failed(fixed, moving, told, f"more after than before, and at least {least:.3f}")
    doubtful = moved_mm > DOUBTFUL_MM or after < DOUBTFUL_SHARE * most
    if doubtful and (better := better_turned(metrics, found)):
        own, other, how = better
        told = f"mutual information {own:.3f}, but {other:.3f} where it is {how}"
        raise _failed(
            fixed, moving, told, "a head that lies as its header says: the orientation got lost in conversion"
        )
    return Match(world, before, after, moved_mm)


def _failed(fixed: Pyramid, moving: Pyramid, found: str, expected: str) -> InputError:
    return InputError(
        f"{moving.image.contrast} could not be registered to {fixed.image.contrast}.",
        found=found,
        expected=expected,
        do="look at both images: another head, another part of it, or wrong positions in the file?",
    )


# --- starts; all matrices from here on take a point of the fixed image to one of the moving image, as ITK does


def _starts(fixed: Pyramid, moving: Pyramid, turned: bool) -> Iterator[np.ndarray]:
    """Yield matrices to start from: three shifts, each with turns about three axes."""
    centre = fixed.head.mean(axis=1)
    of_view = Grid.of(moving.image).centre_mm() - Grid.of(fixed.image).centre_mm()
    of_mass = moving.head.mean(axis=1) - centre
    turns = [np.eye(3)]
    if turned:
        for axis, angle in product(range(3), np.radians([-TURN_DEG, TURN_DEG])):
            i, j = [(1, 2), (2, 0), (0, 1)][axis]
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            turns.append(turn)
    for shift, turn in product((np.zeros(3), of_view, of_mass), turns):
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = centre + shift - turn @ centre
        yield matrix


def _overlap(matrix: np.ndarray, fixed: Pyramid, moving: Pyramid) -> float:
    """Return which part of the fixed image's head the moving image saw."""
    indices = apply_affine(np.linalg.inv(np.asarray(moving.image.affine, float)) @ matrix, fixed.head)
    size = np.array(moving.image.data.shape)[:, None]
    return float(((indices > -0.5) & (indices < size - 0.5)).all(axis=0).mean())


def _best_start(metric: _Metric, kind: Kind) -> np.ndarray | None:
    """Return the best of the most promising starts after a descent on the coarsest level; None where none overlaps."""

    def overlaps(matrix: np.ndarray) -> bool:
        return _overlap(matrix, metric.fixed, metric.moving) >= MIN_OVERLAP

    starts = [start for start in _starts(metric.fixed, metric.moving, kind != "translation") if overlaps(start)]
    starts.sort(key=metric.information, reverse=True)
    ends = [end for end in (metric.descend(start, kind) for start in starts[:STARTS]) if overlaps(end)]
    return max(ends, key=metric.information) if ends else None


# --- ITK


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let ITK's metric, which has no setting of its own, work in one thread."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


class _Metric:
    """Mutual information of two images on one level, and the descent on it."""

    def __init__(self, fixed: Pyramid, moving: Pyramid, spacing_mm: float, samples: int = SAMPLES) -> None:
        self.fixed, self.moving, self.spacing_mm, self.samples = fixed, moving, spacing_mm, samples
        self.images = fixed.levels[spacing_mm], moving.levels[spacing_mm]

    @property
    def heads(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (3, n) in mm of the fixed and the moving image's head."""
        return self.fixed.head, self.moving.head

    def most_information(self) -> float:
        """Return the most that any image can say of both, in nats: what the poorer one says of itself."""
        alone = [_Metric(image, image, self.spacing_mm) for image in (self.fixed, self.moving)]
        return min(one.information(np.eye(4)) for one in alone)

    def _method(self) -> Any:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(BINS)
        share = self.samples / self.images[0].GetNumberOfPixels()
        if share < 1.0:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(share, 1)
        if self.spacing_mm in self.fixed.masks:
            method.SetMetricFixedMask(self.fixed.masks[self.spacing_mm])
        if self.spacing_mm in self.moving.masks:
            method.SetMetricMovingMask(self.moving.masks[self.spacing_mm])
        # Gradients at the samples instead of two filtered volumes.
        method.SetMetricUseFixedImageGradientFilter(False)
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetInterpolator(sitk.sitkLinear)
        return method

    def information(self, matrix: np.ndarray) -> float:
        """Return the mutual information in nats; 0 where ITK finds no overlap.

        On the samples of the descent: these lie between the voxels. On the voxels themselves, a position at which two
        grids coincide needs no interpolation and looks better than it is.
        """
        method = self._method()
        method.SetInitialTransform(_transform(matrix, "affine", np.zeros(3)))
        method.SetOptimizerAsExhaustive([0] * 12)
        try:
            method.Execute(*self.images)
        except RuntimeError:
            return 0.0
        return -float(method.GetMetricValue())

    def descend(self, matrix: np.ndarray, kind: Kind) -> np.ndarray:
        """Return the matrix after a descent, turning about the middle of the head.

        Where the way led to less information it is gone again in smaller steps. An affine descent begins anew from
        where it ended until it gains no more: its twelve directions are unlike each other.

        Args:
            matrix: where it begins, 4×4.
            kind: rigid or affine.
        """
        step_mm = FIRST_STEP_MM[self.spacing_mm] / (2 if kind == "affine" else 1)
        start = best = self.information(matrix)
        for _ in range(MOST_DESCENTS):
            found = self._descend(matrix, kind, step_mm, step_mm / 50)
            after = self.information(found)
            if after > best:
                matrix, gain, best = found, after - best, after
                if gain < LEAST_GAIN or kind != "affine":
                    break
            elif best > start:
                break
            else:
                step_mm /= 4
        return matrix

    def refined(self, matrix: np.ndarray, kind: Kind) -> np.ndarray:
        """Return the matrix after a short descent on more samples, where the level has them; as it was where that leads
        to less information.

        Args:
            matrix: where it begins, 4×4, close to the end.
            kind: rigid or affine.
        """
        if self.images[0].GetNumberOfPixels() <= FINE_SAMPLES:
            return matrix
        fine = _Metric(self.fixed, self.moving, self.spacing_mm, FINE_SAMPLES)
        found = fine._descend(matrix, kind, FINE_STEP_MM, FINE_STEP_MM / 20)
        return found if fine.information(found) > fine.information(matrix) else matrix

    def _descend(self, matrix: np.ndarray, kind: Kind, step_mm: float, last_mm: float) -> np.ndarray:
        method = self._method()
        method.SetOptimizerAsRegularStepGradientDescent(step_mm, last_mm, 100, 0.8, 1e-6)
        method.SetOptimizerScalesFromPhysicalShift()
        transform = _transform(matrix, kind, self.fixed.head.mean(axis=1))
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(*self.images)
        except RuntimeError:  # the images slid apart
            return matrix
        return _matrix(transform)


def _transform(matrix: np.ndarray, kind: Kind, centre: np.ndarray) -> Any:
    """Return ITK's transform of a matrix, turning about a centre."""
    import SimpleITK as sitk

    if kind == "translation":
        return sitk.TranslationTransform(3, matrix[:3, 3].tolist())
    transform: Any = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation((matrix[:3, :3] @ centre + matrix[:3, 3] - centre).tolist())
    return transform


def _matrix(transform: Any) -> np.ndarray:
    """Return the 4×4 matrix of a linear ITK transform."""
    points = [transform.TransformPoint(point) for point in ([0.0] * 3, *np.eye(3).tolist())]
    matrix = np.eye(4)
    matrix[:3, 3] = points[0]
    matrix[:3, :3] = np.array(points[1:]).T - matrix[:3, 3:]
    return matrix
