"""What the files of a synthetic series are written from, of whichever kind they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

import mrsynth
from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.image import Image
from mrsynth.core.types import CONTRASTS, in_order
from mrsynth.io.dicom.derived import code, derived_uid, digest, scanner_of, study_of, valid_uid
from mrsynth.io.dicom.file import Damaged, read_header, text
from mrsynth.io.dicom.frames import Frame
from mrsynth.io.dicom.geometry import normal_of, stack
from mrsynth.io.dicom.series import find_volume
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti import on_native_grid

BITS = 12
"""Stored a voxel: what every viewer of MR can show."""

LEVELS = (1 << BITS) - 1

BRIGHT = 0.995
"""Share of the voxels above the least that the display window holds."""

IMAGE_TYPE = ("DERIVED", "SECONDARY", "OTHER", "SYNTHETIC")

Kind = Literal["image", "error map"]


@dataclass(frozen=True)
class Maker:
    """Which model made an image.

    Attributes:
        model: its recipe's name.
        weights_sha256: of its weights.
        inputs: the contrasts that it was given.
        limits: the values that 0 and the largest stored value stand for; by default the image's own.
        words: what else tells the image from others of its contrast (its dose), in ASCII.
        kind: the image itself, or a map of its expected error.
    """

    model: str
    weights_sha256: str
    inputs: tuple[str, ...] = ()
    limits: tuple[float, float] | None = None
    words: str = ""
    kind: Kind = "image"


@dataclass(frozen=True, eq=False)
class Sheet:
    """What the files of a series are written from.

    Attributes:
        common: every attribute that does not change from slice to slice.
        frames: the scan's slices in the order of the image's.
        sources: for each slice, the scan's images in its place.
        source_class: the SOP class of the scan's images.
        multi_frame: whether several of them stand in one file.
        stored: (slice, row, column) uint16.
        scale: slope and intercept: value = slope · stored + intercept.
        window: of the display, lowest and highest stored value.
    """

    common: Dataset
    frames: tuple[Frame, ...]
    sources: tuple[tuple[Frame, ...], ...]
    source_class: str
    multi_frame: bool
    stored: np.ndarray
    scale: tuple[float, float]
    window: tuple[int, int]


def make_sheet(image: Image, like: Path, maker: Maker) -> Sheet:
    """Return what the series' files are written from; call it inside `quiet`.

    Args:
        image: what is written, on the grid of `like` (`Image.native`).
        like: where the scan lies (`locator`), DICOM.
        maker: the model that made the image.

    Raises:
        InputError: where `like` is not one DICOM volume, or its file cannot be used.
        OutputError: where the image does not lie on that grid, or holds voxels that are not finite.
    """
    path, selection = split_locator(like)
    volume = find_volume(path, selection)
    frames, _ = stack(volume.stacks[0], str(like))
    stacks = [frames, *(stack(other, str(like))[0] for other in volume.stacks[1:])]
    values = np.ascontiguousarray(on_native_grid(image, image.data, like).transpose(2, 1, 0))
    stored, scale = _stored(values, maker.limits)
    try:
        source = read_header(frames[0].path).tags
    except Damaged as error:
        raise InputError(f"{frames[0].path}: the file cannot be used.", found=str(error)) from error
    common = _common(source, frames, image.contrast, maker)
    seed = [text(source, "SeriesInstanceUID"), *(frame.uid for frame in frames), maker.weights_sha256, maker.kind]
    common.SeriesInstanceUID = derived_uid(*seed, maker.words, digest(stored.data), repr(scale))
    sources = tuple(zip(*stacks, strict=True))
    source_class = text(source, "SOPClassUID")
    source_class = source_class if valid_uid(source_class) else str(MRImageStorage)
    multi_frame = "PerFrameFunctionalGroupsSequence" in source
    sheet = Sheet(common, tuple(frames), sources, source_class, multi_frame, stored, scale, _window(stored))
    common.RealWorldValueMappingSequence = real_world_values(sheet)
    return sheet


def _stored(values: np.ndarray, limits: tuple[float, float] | None) -> tuple[np.ndarray, tuple[float, float]]:
    """Return values in BITS bits, with (slope, intercept) of the way back: at most half a step is lost."""
    found = float(values.min()), float(values.max())
    if not all(np.isfinite(found)):
        raise OutputError("The image is not written: it holds voxels that are NaN or infinite.")
    low, high = limits or found
    slope = (high - low) / LEVELS or 1.0
    levels = np.subtract(values, low, dtype=np.float32)
    levels *= np.float32(1 / slope)
    np.rint(levels, out=levels)
    np.clip(levels, 0, LEVELS, out=levels)
    return levels.astype(np.uint16), (slope, low)


def _window(stored: np.ndarray) -> tuple[int, int]:
    """Return the stored values between which a viewer shows black to white: the least, and that of BRIGHT."""
    counts = np.bincount(stored.ravel(), minlength=LEVELS + 1)
    least = int(np.flatnonzero(counts)[0])
    counts[least] = 0
    total = np.cumsum(counts)
    bright = int(np.searchsorted(total, BRIGHT * total[-1])) if total[-1] else LEVELS
    return least, max(bright, least + 1)


def _common(source: Dataset, frames: list[Frame], contrast: str, maker: Maker) -> Dataset:
    """Return the attributes that all images of a series share, but for the series' UID."""
    data = study_of(source)
    said = " ".join(part for part in (contrast, maker.words, maker.kind.removeprefix("image")) if part)
    data.Modality, data.SyntheticData = "MR", "YES"
    data.ImageType = [*IMAGE_TYPE, *(["ERROR MAP"] if maker.kind == "error map" else [])]
    data.SeriesDescription = f"SYNTHETIC {said} (mrsynth)"[:64]
    data.SeriesNumber = _series_number(frames[0].series.number, contrast, maker.kind)
    data.BodyPartExamined = "BRAIN"
    data.DerivationDescription = (
        f"mrsynth {mrsynth.__version__} made this image of {', '.join(maker.inputs) or 'the source images'} with the "
        f"model {maker.model}, weights SHA-256 {maker.weights_sha256}"
    )[:1024]
    data.ImageComments = "Synthetic image made by research software. Not a medical device, not for diagnosis."
    data.DerivationCodeSequence = code("SYNTHESIS", "99MRSYNTH", "Image synthesis by a neural network")
    data.Manufacturer, data.ManufacturerModelName = "mrsynth", f"mrsynth {maker.model}"[:64]
    data.SoftwareVersions = mrsynth.__version__
    data.ContributingEquipmentSequence = scanner_of(source)
    data.BurnedInAnnotation = "NO"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = frames[0].rows, frames[0].columns
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, BITS, BITS - 1, 0
    return data


def _series_number(source: int | None, contrast: str, kind: Kind) -> int:
    """Return a series number that stands behind the source's own: one for each contrast and kind of image."""
    known = in_order((*CONTRASTS, contrast))
    base = source if source is not None and 0 <= source < 20_000_000 else 0
    return base * 100 + 1 + 2 * known.index(contrast) + (kind == "error map")


def measures(frames: tuple[Frame, ...]) -> dict[str, Any]:
    """Return pixel spacing, thickness and distance of slices, as the scan has them."""
    first = frames[0]
    between = first.between_mm
    if len(frames) > 1:
        way = np.subtract(frames[-1].position, first.position) @ normal_of(first)
        between = abs(float(way)) / (len(frames) - 1)
    thickness = first.thickness_mm or between
    return {
        "PixelSpacing": [ds(x) for x in first.spacing_mm],
        "SliceThickness": ds(thickness) if thickness else None,
        **({"SpacingBetweenSlices": ds(between)} if between else {}),
    }


def real_world_values(sheet: Sheet) -> Sequence:
    """Return how stored values become the model's own, without a unit (RealWorldValueMappingSequence)."""
    item = Dataset()
    item.LUTExplanation, item.LUTLabel = "value of the synthetic image", "SYNTHETIC"
    item.MeasurementUnitsCodeSequence = code("1", "UCUM", "no units")
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, LEVELS
    for keyword in ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"):
        item[keyword].VR = "US"
    item.RealWorldValueSlope, item.RealWorldValueIntercept = sheet.scale
    return Sequence([item])


def references(sheet: Sheet, k: int) -> Sequence:
    """Return the images of the scan that a slice was made of (SourceImageSequence).

    Args:
        sheet: the series.
        k: the slice's index, from 0 on.

    Returns:
        An item for each image; those without a valid UID are left out.
    """
    items = []
    for frame in sheet.sources[k]:
        if not (valid_uid(frame.uid) and valid_uid(frame.series.uid)):
            continue
        item = Dataset()
        item.ReferencedSOPClassUID = sheet.source_class
        item.ReferencedSOPInstanceUID = frame.uid
        if sheet.multi_frame:
            item.ReferencedFrameNumber = frame.index + 1
        item.PurposeOfReferenceCodeSequence = code("121322", "DCM", "Source image for image processing operation")
        items.append(item)
    return Sequence(items)


def ds(number: float) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    return format_number_as_ds(float(number))
