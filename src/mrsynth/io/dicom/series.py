"""Reads one volume of a DICOM series as an image, in its own place in space."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

from mrsynth.core.errors import InputError
from mrsynth.core.files import sha256_file
from mrsynth.core.image import Image, Native
from mrsynth.core.types import contrast_name
from mrsynth.io.dicom.frames import Frame
from mrsynth.io.dicom.geometry import stack
from mrsynth.io.dicom.pixels import read_slices
from mrsynth.io.dicom.scan import DicomVolume, scan_dicom
from mrsynth.io.locator import join_locator, whole_number

_NAMES = {"b": "b_s_mm2", "echo": "echo", "volume": "volume"}

SAME_STACK_MM = 1e-3
"""Stacks of one b-value may lie this far apart at their corners and be averaged."""


def read_dicom(path: Path, selection: Mapping[str, str], contrast: str) -> Image:
    """Read a volume as an image of a contrast: float32, axes nearest to RAS+, voxels only flipped and permuted.

    Values are slope · stored + intercept; see `pixels.read_slices` for padding. Several directions or repetitions of
    one b-value give their geometric mean: log-signals average as the ADC along the directions does, so that three
    orthogonal ones give the trace-weighted image. The scanner's own trace image is preferred.

    Args:
        path: a folder or a file.
        selection: series (number or UID), b (s/mm²), echo and volume, as far as needed to name one volume.
        contrast: any spelling that `types` knows.

    Raises:
        InputError: where no volume or several are meant, and as `geometry.stack` and `read_slices` do; where the
            volumes of one b-value do not lie on one grid; where the image is constant or not finite.
    """
    name = contrast_name(contrast)
    volume = find_volume(path, selection)
    where = str(join_locator(path, selection))
    ordered, affine = stack(volume.stacks[0], where)
    stacks = [ordered]
    for other in volume.stacks[1:]:
        more, place = stack(other, where)
        _require_same_place(more, place, ordered, affine, where)
        stacks.append(more)
    data = _fill(stacks)
    _refuse_bad_voxels(data, where)
    turn = orientations.io_orientation(affine)
    native = Native(data.shape, affine, nib.aff2axcodes(affine), None)
    ras = affine @ orientations.inv_ornt_aff(turn, data.shape)
    return Image(np.asfortranarray(orientations.apply_orientation(data, turn)), ras, name, native)


def digest_dicom(path: Path, selection: Mapping[str, str]) -> str:
    """Return a SHA-256 (64 hexadecimal digits) of a volume's files, whatever their names and order.

    Args:
        path: a folder or a file.
        selection: what names one volume, as of `read_dicom`; of a multi-frame file it counts too.

    Raises:
        InputError: where no volume or several are meant, or a file cannot be read.
    """
    volume = find_volume(path, selection)
    try:
        files = sorted(sha256_file(file) for file in volume.files)
    except OSError as error:
        raise InputError(f"{path}: cannot be read.", found=error.strerror or str(error)) from error
    # Of a multi-frame file the selected frames count too.
    chosen = ",".join(f"{key}={value}" for key, value in sorted(selection.items())) if volume.frames else ""
    return hashlib.sha256("\n".join([*files, chosen]).encode()).hexdigest()


def find_volume(path: Path, selection: Mapping[str, str]) -> DicomVolume:
    """Return the one volume below a folder (or in a file) that a selection means.

    Where volumes of one b-value are left over, the scanner's trace image is meant.

    Args:
        path: a folder or a file.
        selection: what names one volume, as of `read_dicom`; {} where there is but one.

    Raises:
        InputError: where no volume or several are meant, or the selection cannot be understood.
    """
    volumes, ignored = scan_dicom(path)
    numbers = _numbers(path, selection)
    found = [
        volume
        for volume in volumes
        if selection.get("series", str(volume.number)) in (str(volume.number), volume.series)
        and numbers.get("b", volume.b_s_mm2) == volume.b_s_mm2
        and numbers.get("echo", volume.echo) == volume.echo
        and numbers.get("volume", volume.volume) == volume.volume
    ]
    # What a selection leaves out may be what the volume lacks: an ADC map beside the b-values of its series.
    exact = [v for v in found if all((getattr(v, n) is None) == (k not in selection) for k, n in _NAMES.items())]
    found = exact if len(exact) == 1 else found
    traces = [volume for volume in found if volume.trace]
    if len(found) > 1 and len(traces) == 1 and len({v.series for v in found}) == 1 and "b" in selection:
        return traces[0]
    if len(found) == 1:
        return found[0]
    listed = found or volumes
    shown = [f"{volume.locator} ({volume.description or 'no description'})" for volume in listed[:5]]
    shown += [f"and {len(listed) - 5} more"] if len(listed) > 5 else []
    if not volumes:
        shown = [str(item) for item in ignored[:3]] or ["no DICOM file"]
    raise InputError(
        f"{join_locator(path, selection)}: {'more than one' if found else 'no such'} DICOM volume.",
        found="; ".join(shown),
        expected="one volume: folder#series=<number or UID>, with b=, echo= or volume= where a series has several",
        do="run mrsynth index to see what is there" if volumes else "check the folder, or copy the series again",
    )


def _numbers(path: Path, selection: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers of a selection."""
    found = {}
    for key, value in selection.items():
        if key == "series":
            continue
        number = whole_number(value) if key in ("b", "echo", "volume") else None
        if number is None:
            raise InputError(
                f"{path}: cannot be selected from.",
                found=f"{key}={value}",
                expected="series=<number or UID>, b=<s/mm²>, echo=<from 1 on>, volume=<from 0 on>",
            )
        found[key] = float(number)
    return found


def _require_same_place(
    frames: Sequence[Frame], affine: np.ndarray, first: Sequence[Frame], reference: np.ndarray, where: str
) -> None:
    """Raise InputError if two stacks of one b-value do not lie on one grid."""
    sizes = [(s[0].columns, s[0].rows, len(s)) for s in (frames, first)]
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)]).T
    corners[:3] *= np.array(sizes[1])[:, None]
    apart = float(np.abs((affine - reference) @ corners)[:3].max())
    if sizes[0] != sizes[1] or apart > SAME_STACK_MM:
        raise InputError(
            f"{where}: the volumes of one b-value do not lie on one grid.",
            found=f"{sizes[0]} and {sizes[1]} voxels, up to {apart:.3g} mm apart",
            expected="one grid for all directions",
            do="take the odd volume out, or give a trace-weighted series",
        )


def _fill(stacks: Sequence[Sequence[Frame]]) -> np.ndarray:
    """Return the voxels (column, row, slice), float32; of several stacks the geometric mean, 0 where any is not > 0.

    Each file is opened once; one file's slices and the result are in memory.
    """
    first = stacks[0][0]
    data = np.zeros((first.columns, first.rows, len(stacks[0])), np.float32, order="F")
    wanted: dict[Path, list[tuple[Frame, int]]] = defaultdict(list)
    for frames in stacks:
        for k, frame in enumerate(frames):
            wanted[frame.path].append((frame, k))
    for path, members in wanted.items():
        members.sort(key=lambda member: member[0].index)
        for (_, k), values in zip(members, read_slices(path, [frame for frame, _ in members]), strict=True):
            if len(stacks) > 1:
                with np.errstate(divide="ignore"):
                    values = np.log(np.maximum(values, 0))
            data[:, :, k] += values.T
    if len(stacks) > 1:
        data /= len(stacks)
        np.exp(data, out=data)
    return data


def _refuse_bad_voxels(data: np.ndarray, where: str) -> None:
    """Raise InputError if any voxel is not finite or if all are equal."""
    low, high = float(data.min()), float(data.max())
    finite = np.isfinite(low) and np.isfinite(high)
    if not finite or low == high:
        raise InputError(
            f"{where}: the image is {'beyond all numbers' if not finite else 'constant'}.",
            found=f"values from {low:g} to {high:g}",
            expected="an image",
            do="export the series again, or leave it out",
        )
