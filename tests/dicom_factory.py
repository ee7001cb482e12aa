"""Small DICOM series for tests, written with pydicom: any geometry, classic or enhanced, plain or compressed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big_endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg": JPEGLosslessSV1,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
}
ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "jpeg": lambda frame: imagecodecs.jpeg8_encode(frame, lossless=True),
    "jpeg_ls": imagecodecs.jpegls_encode,
    "jpeg_2000": lambda frame: imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True),
}

AXIAL = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
CORONAL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Rows: the directions of a row, of a column, and from slice to slice (LPS+)."""


def stored(shape: tuple[int, int, int] = (6, 5, 4), seed: int = 0, low: int = 0, high: int = 4096) -> np.ndarray:
    """Return stored values (slice, row, column)."""
    kind = np.int16 if low < 0 else np.uint16
    return np.random.default_rng(seed).integers(low, high, shape[::-1]).astype(kind)


def slice_file(frame: np.ndarray, position: Sequence[float], axes: np.ndarray = AXIAL, **tags: Any) -> Dataset:
    """Return one classic MR slice; tags: keyword → value on top."""
    data = base(frame, MRImageStorage)
    data.ImagePositionPatient = [f"{x:.9f}" for x in position]
    data.ImageOrientationPatient = [f"{x:.12f}" for x in axes[:2].ravel()]
    data.PixelSpacing = [0.9, 0.8]
    data.SliceThickness = 3.0
    put(data, tags)
    return data


def base(frame: np.ndarray, kind: str, series: str = "1.2.3.4.1", frames: int | None = None) -> Dataset:
    """Return a data set with pixels and what any image has, without a place in space."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = kind
    data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.Modality = "CT" if kind == CTImageStorage else "MR"
    data.PatientID, data.PatientName = "P1", "Doe^Jane"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = "1.2.3.4", series, 3
    data.SeriesDescription = "t1 tra"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.InstanceNumber = 1
    data.Rows, data.Columns = frame.shape[-2:]
    if frames is not None:
        data.NumberOfFrames = frames
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 8 * frame.dtype.itemsize
    data.BitsStored = min(data.BitsAllocated, 16 if frame.dtype.kind == "i" else 12)
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(frame.dtype.kind == "i")
    data.PixelData = np.ascontiguousarray(frame).tobytes()
    data["PixelData"].VR = "OW"
    return data


def put(data: Dataset, tags: Mapping[str, Any]) -> None:
    """Set tags; None removes one; values that their VR cannot hold are set as they are."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        for key, value in tags.items():
            if value is None:
                del data[key]
            elif isinstance(value, DataElement):
                data.add(value)
            else:
                setattr(data, key, value)


def save(data: Dataset, path: Path, syntax: str = "explicit") -> Path:
    """Write a data set, compressing its pixels where the syntax says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", MRImageStorage)
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "1.2")
    uid = SYNTAXES[syntax]
    if uid.is_compressed and syntax != "deflated":
        _compress(data, syntax)
    if syntax == "big_endian":
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    data.file_meta.TransferSyntaxUID = uid
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def _compress(data: Dataset, syntax: str) -> None:
    if syntax == "rle":
        data.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        return
    # JPEG codes have no sign: what is coded is the two's complement.
    pixels = np.frombuffer(data.PixelData, np.uint16 if data.BitsAllocated == 16 else np.uint8)
    frames = pixels.reshape(-1, data.Rows, data.Columns)
    data.PixelData = encapsulate([ENCODERS[syntax](frame) for frame in frames])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True


def series(
    folder: Path,
    values: np.ndarray | None = None,
    axes: np.ndarray = AXIAL,
    *,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    step: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    syntax: str = "explicit",
    each: Callable[[int], Mapping[str, Any]] = lambda k: {},
    **tags: Any,
) -> list[Path]:
    """Write a classic series, a file a slice. values: (slice, row, column) stored; step: from slice to slice in mm, by
    default 3 along the third of `axes`; each: tags of slice k; tags: of all."""
    values = stored() if values is None else values
    step = 3.0 * axes[2] if step is None else np.asarray(step)
    paths = []
    for k, frame in enumerate(values):
        data = slice_file(frame, np.asarray(origin) + k * step, axes, InstanceNumber=k + 1, **tags)
        put(data, each(k))
        name = names[k] if names is not None else f"IM{k:04d}"
        paths.append(save(data, folder / name, syntax))
    return paths


def enhanced(
    path: Path,
    values: np.ndarray | None = None,
    axes: np.ndarray = AXIAL,
    *,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    order: Sequence[int] | None = None,
    syntax: str = "explicit",
    each: Callable[[int], Mapping[str, Any]] = lambda k: {},
    **tags: Any,
) -> Path:
    """Write an enhanced multi-frame MR file. order: which slice each frame is; each: b, echo, slope of frame k."""
    values = stored() if values is None else values
    order = range(len(values)) if order is None else order
    data = base(values[list(order)], EnhancedMRImageStorage, frames=len(order))
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[f"{x:.12f}" for x in axes[:2].ravel()])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[0.9, 0.8], SliceThickness=3.0)]
    shared.MRTimingAndRelatedParametersSequence = [_item(RepetitionTime=500.0, FlipAngle=90.0)]
    data.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for k in order:
        more = each(k)
        at = np.asarray(origin) + more.get("place", k) * 3.0 * axes[2]
        group = Dataset()
        group.PlanePositionSequence = [_item(ImagePositionPatient=[f"{x:.9f}" for x in at])]
        group.FrameContentSequence = [_item(StackID="1", InStackPositionNumber=k + 1)]
        slope, intercept = more.get("slope", 1.0), more.get("intercept", 0.0)
        group.PixelValueTransformationSequence = [_item(RescaleSlope=slope, RescaleIntercept=intercept)]
        group.MREchoSequence = [_item(EffectiveEchoTime=more.get("echo", 12.0))]
        if "b" in more:
            group.MRDiffusionSequence = [_item(DiffusionBValue=float(more["b"]))]
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    put(data, tags)
    return save(data, path, syntax)


def _item(**tags: Any) -> Dataset:
    item = Dataset()
    put(item, tags)
    return item
