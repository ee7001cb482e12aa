"""How the slices of a volume lie: their order, the matrix from voxel to mm, and what is missing between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.io.dicom.frames import Frame
from mrsynth.io.nifti_header import EDGE_MM, MAX_VOXELS, MOST_VOXELS

SAME_PLACE_MM = 0.01
"""Slices nearer than this lie in one place; no scanner steps so little."""

UNEVEN = 0.1
"""How far a slice may lie off its place in an even stack: this share of the step, at most this many mm. Positions are
stored as text, by some scanners rounded to 0.1 mm."""

LEAST_SLOPE = 0.5
"""Cosine between the way from slice to slice and the slices' normal: gantries tilt by 30° (0.87) at most."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def normal_of(frame: Frame) -> np.ndarray:
    """Return the unit vector perpendicular to a slice (row × column), LPS+; zeros where the orientation is none."""
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    length = float(np.linalg.norm(normal))
    return normal / length if length > 0 else normal


def places(frames: Sequence[Frame]) -> np.ndarray:
    """Return for each slice the number of its place along the normal, from 0 on; slices in one place share it."""
    along = np.array([frame.position for frame in frames]) @ normal_of(frames[0])
    order = np.argsort(along, kind="stable")
    numbers = np.empty(len(frames), int)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_PLACE_MM)])
    return numbers


def stack(frames: Sequence[Frame], where: str) -> tuple[list[Frame], np.ndarray]:
    """Put the slices of one volume in order, and find where their voxels lie.

    The positions are those of ImagePositionPatient alone. A stack whose slices are shifted against each other (gantry
    tilt) gets a sheared affine.

    Args:
        frames: the slices, in any order.
        where: the volume's name, for messages.

    Returns:
        The slices in order along their normal, and the affine (4 × 4): (column, row, slice) → mm, RAS+.

    Raises:
        InputError: where slices differ in size, orientation or pixel spacing, share a place, are missing, or lie
            unevenly; where the voxels' size is impossible or unknown, or where they are too many.
    """
    first = frames[0]
    _require_alike(frames, where)
    along = np.array([frame.position for frame in frames]) @ normal_of(first)
    order = np.argsort(along, kind="stable")
    ordered, along = [frames[i] for i in order], along[order]
    positions = np.array([frame.position for frame in ordered])
    if len(ordered) == 1:
        step = _only_step(first, where) * normal_of(first)
    else:
        _require_even(ordered, along, where)
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        _require_line(ordered, positions, step, where)
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(first.orientation[:3], first.spacing_mm[1])
    affine[:3, 1] = np.multiply(first.orientation[3:], first.spacing_mm[0])
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if edges.min() < EDGE_MM[0] or edges.max() > EDGE_MM[1]:
        raise InputError(
            f"{where}: the voxels' size is impossible.",
            found=" × ".join(f"{edge:.4g}" for edge in edges) + " mm",
            expected=f"edges from {EDGE_MM[0]:g} to {EDGE_MM[1]:g} mm",
            do="export the series again",
        )
    return ordered, LPS_TO_RAS @ affine


def _require_alike(frames: Sequence[Frame], where: str) -> None:
    """Raise InputError if a slice differs from the first in size, spacing or orientation, or if there are too many."""
    first = frames[0]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(row @ column) > 1e-3 or max(abs(length - 1) for length in lengths) > 1e-3:
        raise InputError(
            f"{where}: the slices' orientation is damaged.",
            found="ImageOrientationPatient " + " ".join(f"{x:g}" for x in first.orientation),
            expected="two perpendicular directions of length 1",
            do="export the series again",
        )
    for frame in frames[1:]:
        if (frame.rows, frame.columns) != (first.rows, first.columns):
            raise InputError(
                f"{where}: slices differ in size.",
                found=f"{frame.columns} × {frame.rows} pixels in {frame.name}",
                expected=f"{first.columns} × {first.rows} as in {first.name}",
                do="export the series again, or take the odd slices out",
            )
        if not np.allclose(frame.spacing_mm, first.spacing_mm, rtol=1e-4, atol=0):
            raise InputError(
                f"{where}: slices differ in pixel size.",
                found=f"{frame.spacing_mm[1]:g} × {frame.spacing_mm[0]:g} mm in {frame.name}",
                expected=f"{first.spacing_mm[1]:g} × {first.spacing_mm[0]:g} mm as in {first.name}",
                do="export the series again, or take the odd slices out",
            )
        if not np.allclose(frame.orientation, first.orientation, rtol=0, atol=1e-3):
            raise InputError(
                f"{where}: slices differ in orientation.",
                found="ImageOrientationPatient " + " ".join(f"{x:g}" for x in frame.orientation) + f" in {frame.name}",
                expected=" ".join(f"{x:g}" for x in first.orientation) + f" as in {first.name}",
                do="export the series again, or take the odd slices out",
            )
    if first.rows * first.columns * len(frames) > MAX_VOXELS:
        raise InputError(
            f"{where}: the image is too large.",
            found=f"{first.columns} × {first.rows} × {len(frames)} voxels",
            expected=MOST_VOXELS,
        )


def _only_step(frame: Frame, where: str) -> float:
    """Return the thickness of the only slice; its neighbours cannot tell."""
    step = frame.between_mm or frame.thickness_mm
    if step is None or not EDGE_MM[0] <= step <= EDGE_MM[1]:
        raise InputError(
            f"{where}: one slice of unknown thickness.",
            found="no SliceThickness" if step is None else f"SliceThickness {step:g} mm",
            expected="a thickness in mm",
            do="export the series again",
        )
    return step


def _require_even(frames: Sequence[Frame], along: np.ndarray, where: str) -> None:
    """Raise InputError if slices share a place, are missing, or lie unevenly along their normal."""
    gaps = np.diff(along)
    step = float(np.median(gaps))
    closest = int(np.argmin(gaps))
    if gaps[closest] <= SAME_PLACE_MM:
        raise InputError(
            f"{where}: two different slices in one place.",
            found=f"{frames[closest].name} and {frames[closest + 1].name}, {_place(frames[closest])}",
            expected="one slice a place, or a tag that tells two volumes apart",
            do="take one of the two out; or, where a diffusion image's b-value stands in a tag that is not known here, "
            "convert the series with dcm2niix and give the .nii.gz with its .bval",
        )
    widest = int(np.argmax(gaps))
    _require_one_step(frames, gaps, where)
    if gaps[widest] > 1.5 * step and abs(gaps[widest] / step - round(gaps[widest] / step)) < UNEVEN:
        holes = [int(i) for i in np.flatnonzero(gaps > 1.5 * step)]
        lost = sum(round(float(gaps[i]) / step) - 1 for i in holes)
        raise InputError(
            f"{where}: {lost} slice{'s are' if lost > 1 else ' is'} missing.",
            found="; ".join(
                f"{gaps[i]:.4g} mm between {frames[i].name} ({_place(frames[i])}) and {frames[i + 1].name}"
                for i in holes[:3]
            )
            + ("; …" if len(holes) > 3 else ""),
            expected=f"a slice every {step:.4g} mm",
            do="export or copy the series again, with all its slices",
        )
    _require_step(frames, step, where)


def _require_one_step(frames: Sequence[Frame], gaps: np.ndarray, where: str) -> None:
    """Raise InputError if a part of the stack has another slice distance: thick slices below, thin ones above."""
    wide = gaps > 1.25 * gaps.min() + UNEVEN
    runs = np.split(gaps, np.flatnonzero(np.diff(wide.astype(int))) + 1)
    long = [run for run in runs if len(run) >= 2]
    steps = sorted({round(float(np.median(run)), 2) for run in long})
    even = all(np.ptp(run) <= UNEVEN * max(1.0, float(run.min())) for run in long)
    if len(steps) < 2 or not even or sum(map(len, long)) < len(gaps) - 1 or len(long) > 4:
        return
    raise InputError(
        f"{where}: the slices have {len(steps)} distances.",
        found=", ".join(f"{step:g} mm" for step in steps) + f" between {frames[0].name} and {frames[-1].name}",
        expected="one distance in the whole stack",
        do="ask the scanner's console for an even reformat, or keep the part that covers the brain",
    )


def extent_mm(frames: Sequence[Frame]) -> tuple[int, float, float]:
    """Return which axis (0 to 2, LPS) the slices of a stack are nearest to perpendicular to, and from where to where
    along it they reach in mm: measured from positions, thickness says nothing of distance."""
    normal = normal_of(frames[0])
    axis = int(np.argmax(np.abs(normal)))
    along = np.sort(np.array([frame.position for frame in frames])[:, axis])
    gaps = np.diff(along)
    step = float(np.median(gaps)) if len(gaps) else (frames[0].between_mm or frames[0].thickness_mm or 0.0)
    return axis, float(along[0]) - step / 2, float(along[-1]) + step / 2


def _require_step(frames: Sequence[Frame], step: float, where: str) -> None:
    """Raise InputError if the slices of an even stack lie twice as far apart as the file says, or three times, …

    SpacingBetweenSlices is the distance of the slices' centres; some vendors write the gap between them instead, which
    is mostly less than their thickness.
    """
    between, thickness = frames[0].between_mm, frames[0].thickness_mm
    if between is None or thickness is None or between < thickness:
        return
    _require_as_dense(frames, step, between, where)
    times = round(step / between)
    if times >= 2 and abs(step / between - times) < UNEVEN:
        raise InputError(
            f"{where}: {times - 1} of every {times} slices {'are' if times > 2 else 'is'} missing.",
            found=f"{step:.4g} mm between {frames[0].name} ({_place(frames[0])}) and {frames[1].name}, and so on",
            expected=f"a slice every {between:.4g} mm (SpacingBetweenSlices)",
            do="export or copy the series again, with all its slices; if it has no more, convert it to NIfTI",
        )


def _require_as_dense(frames: Sequence[Frame], step: float, between: float, where: str) -> None:
    """Raise InputError if the slices of a stack lie twice as dense as the file says: two volumes in one."""
    times = round(between / step)
    if times >= 2 and abs(between / step - times) < UNEVEN:
        raise InputError(
            f"{where}: {times} volumes stand between each other's slices.",
            found=f"{step:.4g} mm between {frames[0].name} ({_place(frames[0])}) and {frames[1].name}",
            expected=f"a slice every {between:.4g} mm (SpacingBetweenSlices)",
            do="export the volumes as series of their own",
        )


def _require_line(frames: Sequence[Frame], positions: np.ndarray, step: np.ndarray, where: str) -> None:
    """Raise InputError if a slice lies off its place in an even stack, or the stack leans too far."""
    length = float(np.linalg.norm(step))
    off = np.linalg.norm(positions - positions[0] - np.arange(len(frames))[:, None] * step, axis=1)
    worst = int(np.argmax(off))
    if off[worst] > UNEVEN * min(length, 1.0):
        raise InputError(
            f"{where}: the slices lie unevenly.",
            found=f"{frames[worst].name} ({_place(frames[worst])}) lies {off[worst]:.3g} mm off its place",
            expected=f"a slice every {length:.4g} mm along one line",
            do="export the series again, or reformat it to even slices",
        )
    if step @ normal_of(frames[0]) < LEAST_SLOPE * length:
        raise InputError(
            f"{where}: the slices do not lie above each other.",
            found=f"{length:.4g} mm from slice to slice, {step @ normal_of(frames[0]):.4g} mm of it upwards",
            expected="a stack that leans by 60° at most",
            do="export the series again",
        )


def _place(frame: Frame) -> str:
    """Say where a slice lies along the axis that its normal is nearest to, as radiologists write it (LPS+)."""
    axis = int(np.argmax(np.abs(normal_of(frame))))
    return f"{'xyz'[axis]} = {frame.position[axis]:.4g} mm"
