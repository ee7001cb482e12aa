"""The slices that DICOM files hold: one of a classic file, many of an enhanced multi-frame file, all as `Frame`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydicom.dataset import Dataset

from mrsynth.io.dicom.diffusion import Direction, diffusion, philips_scale, says_diffusion
from mrsynth.io.dicom.file import Damaged, Header, Tags, number, numbers, text, value_of
from mrsynth.io.diffusion import shell_of

TEXTS = (
    "Modality", "Manufacturer", "StudyDescription", "SeriesDescription", "ProtocolName", "SequenceName",
    "PulseSequenceName", "ScanningSequence", "SequenceVariant", "ScanOptions", "ImageType", "ContrastBolusAgent",
    "BodyPartExamined", "MRAcquisitionType", "AcquisitionContrast", "ConvolutionKernel", "StudyDate", "StudyTime",
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "SyntheticData",
    "ContrastBolusIngredient", "ContrastBolusRoute", "ContrastBolusAgentAdministered", "ContrastBolusStartTime",
    "ComplexImageComponent", "LUTLabel", "ImageComments", "DerivationDescription", "BurnedInAnnotation", )  # fmt: skip
"""What contrast recognition reads as text, several values joined by a backslash."""

NUMBERS = (
    "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "EchoTrainLength", "MagneticFieldStrength",
    "SliceThickness", "SpacingBetweenSlices", "DiffusionBValue", "Rows", "Columns", "ContrastBolusVolume",
    "ContrastBolusTotalDose",
)  # fmt: skip
"""What it reads as numbers: times in ms, angles in degrees, tesla, mm."""

_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "ImageType": ("FrameType",),
    "EchoTime": ("EffectiveEchoTime",),
    "InversionTime": ("InversionTimes",),
    "AcquisitionNumber": ("FrameAcquisitionNumber",),
    "TemporalPositionIdentifier": ("TemporalPositionIndex",),
}
"""What enhanced files call the same thing; the frame's own word counts before that of the file."""

SPLITTERS = (
    "ContrastBolusAgent",
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "InversionTime",
    "FlipAngle",
    "TriggerTime",
    "AcquisitionTime",
    "ContentTime",
)
"""What may tell the volumes of one series apart where slices share a place, in the order in which it is tried."""


MAX_MM = 1e5
"""Positions and distances beyond are damage."""


@dataclass(frozen=True, slots=True)
class Series:
    """What all slices of a series share.

    Attributes:
        patient: PatientID, "" where there is none.
        study, uid: StudyInstanceUID and SeriesInstanceUID.
        number: as the scanner counted it, for the user.
        description: SeriesDescription.
        person, site: hashes of birth date and sex, and of the institution, "" where these are empty, to notice one ID
            of two people.
    """

    patient: str
    study: str
    uid: str
    number: int | None
    description: str
    person: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice: where it is stored, where it lies, how its values are meant and what tells it from others.

    Attributes:
        path: the file.
        index: in a multi-frame file, 0 in a classic one.
        series: what it shares with the others.
        rows, columns: pixels.
        position: (x, y, z) of the first pixel's centre, LPS+ in mm.
        orientation: of a row, of a column, LPS+.
        spacing_mm: between rows and between columns.
        thickness_mm, between_mm: SliceThickness and SpacingBetweenSlices as the file says them, without sign, None
            where it does not.
        slope, intercept: value = slope · stored + intercept.
        image_type: ImageType, several values joined by a backslash.
        echo_ms: echo time, None where the file does not say it.
        b_s_mm2, diffusion: the nominal b-value, None without one; where it is 0, diffusion says whether that means
            anything.
        direction: of the diffusion gradient.
        splitters: the values of SPLITTERS that the file has.
        instance: its number.
        uid: its SOPInstanceUID.
        in_acquisition: how many images the scanner made in all (ImagesInAcquisition).
        modality: MR, CT …
    """

    path: Path
    index: int
    series: Series
    rows: int
    columns: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]
    thickness_mm: float | None
    between_mm: float | None
    slope: float
    intercept: float
    image_type: str
    echo_ms: float | None
    b_s_mm2: int | None
    diffusion: bool
    direction: Direction
    splitters: Mapping[str, str]
    instance: int
    uid: str
    in_acquisition: int | None = None
    modality: str = ""

    @property
    def name(self) -> str:
        """The file's name, with the frame's number (from 1) where the file holds several."""
        return self.path.name + (f", frame {self.index + 1}" if self.index else "")


class Layers:
    """Data sets on top of each other: the first that has a keyword answers."""

    def __init__(self, *layers: Dataset) -> None:
        self.layers = layers

    def get(self, key: str, default: object = None, /) -> object:
        """Return the value of a keyword, also under the name that enhanced files give it.

        Args:
            key: a keyword of the standard.
            default: what is returned where no layer has it, or has it empty.
        """
        names = (*_OTHER_NAMES.get(key, ()), key)
        for layer in self.layers:
            for name in names:
                if (value := value_of(layer, name)) not in (None, ""):
                    return value
        return default


def frames_of(path: Path, header: Header) -> list[Frame]:
    """Return the slices of a file that `not_an_image` let pass; call it inside `quiet`.

    Args:
        path: the file, which is not opened.
        header: what `read_header` returned for it.

    Raises:
        Damaged: where the file describes other frames than it declares, or where a slice has no place in space, an
            impossible pixel size or values that are coded by a table.
    """
    top = header.tags
    series = Series(
        patient=text(top, "PatientID"),
        study=text(top, "StudyInstanceUID"),
        uid=text(top, "SeriesInstanceUID"),
        number=_whole(top, "SeriesNumber"),
        description=text(top, "SeriesDescription"),
        person=_hash(text(top, "PatientBirthDate"), text(top, "PatientSex")),
        site=_hash(text(top, "InstitutionName")),
    )
    return [_frame(path, index, series, tags, top) for index, tags in enumerate(_layers(top))]


def _hash(*texts: str) -> str:
    """Return what differs where any text differs, and says nothing of them; "" where all are empty."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12] if any(texts) else ""


def tags_of(header: Header, index: int) -> dict[str, str | float]:
    """Return what contrast recognition needs of one frame; call it inside `quiet`.

    No name, birth date or other identity is among it.

    Args:
        header: what `read_header` returned for the file.
        index: the frame's, from 0 on.

    Returns:
        Keyword → text (TEXTS) or number (NUMBERS), and RealWorldUnit, the code of the values' unit; what is missing or
            unreadable is left out.

    Raises:
        Damaged: where the file has no such frame, or a sequence in it cannot be read.
    """
    tags = next((layer for i, layer in enumerate(_layers(header.tags)) if i == index), None)
    if tags is None:
        raise Damaged("its frames changed while it was read")
    found: dict[str, str | float] = {key: value for key in TEXTS if (value := text(tags, key))}
    found |= {key: figure for key in NUMBERS if (figure := number(tags, key)) is not None}
    if "ContrastBolusAgent" not in found and (agent := _items(header.tags, "ContrastBolusAgentSequence")):
        found["ContrastBolusAgent"] = text(agent[0], "CodeMeaning") or "agent"
    for unit in _items(tags, "MeasurementUnitsCodeSequence")[:1]:
        found["RealWorldUnit"] = text(unit, "CodeValue")
    return found


def _layers(top: Dataset) -> Iterator[Layers]:
    """Yield what is known of each frame: its own functional groups, the shared ones, the file's data set."""
    groups = _items(top, "PerFrameFunctionalGroupsSequence")
    if not groups:
        if (number(top, "NumberOfFrames") or 1) > 1:
            raise Damaged("several frames without a position for each")
        yield Layers(*_items(top, "RealWorldValueMappingSequence")[:1], top)
        return
    if len(groups) != (number(top, "NumberOfFrames") or 1):
        raise Damaged(f"{len(groups)} frames described, {number(top, 'NumberOfFrames') or 1:g} declared")
    shared = [item for group in _items(top, "SharedFunctionalGroupsSequence")[:1] for item in _macros(group)]
    for group in groups:
        yield Layers(*_macros(group), *shared, top)


def _macros(group: Dataset) -> list[Dataset]:
    """Return the items of a frame's functional groups, those inside them (a gradient's direction) as well."""
    found = []
    for element in group:
        if element.VR == "SQ" and element.value:
            item = element.value[0]
            found.append(item)
            found += _items(item, "DiffusionGradientDirectionSequence")[:1]
    return found


def _items(tags: Tags, keyword: str) -> list[Dataset]:
    try:
        return list(cast(Iterable[Dataset], tags.get(keyword) or []))
    except Exception as error:  # a sequence whose bytes are none
        raise Damaged(f"damaged ({keyword})") from error


def _frame(path: Path, index: int, series: Series, tags: Tags, top: Dataset) -> Frame:
    position = numbers(tags, "ImagePositionPatient", 3)
    orientation = numbers(tags, "ImageOrientationPatient", 6)
    spacing = numbers(tags, "PixelSpacing", 2)
    missing = [
        f"{what} ({keyword})"
        for what, keyword, value in (
            ("position", "ImagePositionPatient", position),
            ("orientation", "ImageOrientationPatient", orientation),
            ("pixel size", "PixelSpacing", spacing),
        )
        if value is None or max(map(abs, value)) > MAX_MM
    ]
    if missing or position is None or orientation is None or spacing is None:
        raise Damaged("no place in space: " + ", ".join(missing))
    if min(spacing) <= 0:
        raise Damaged(f"impossible pixel size (PixelSpacing {spacing[0]:g} {spacing[1]:g})")
    if "ModalityLUTSequence" in top and number(tags, "RescaleSlope") is None:
        raise Damaged("its values are coded by a table (ModalityLUTSequence): export it without")
    image_type = text(tags, "ImageType")
    b, direction = diffusion(tags, top, image_type)
    slope, intercept = _scaling(tags, top, image_type)
    echo = number(tags, "EchoTime")
    return Frame(
        path=path,
        index=index,
        series=series,
        rows=_whole(top, "Rows") or 0,
        columns=_whole(top, "Columns") or 0,
        position=position,
        orientation=orientation,
        spacing_mm=spacing,
        thickness_mm=_distance(tags, "SliceThickness"),
        between_mm=_distance(tags, "SpacingBetweenSlices"),
        slope=slope,
        intercept=intercept,
        image_type=image_type,
        echo_ms=None if echo is None else round(echo, 2),
        b_s_mm2=None if b is None else shell_of(b),
        diffusion=b is not None and (b > 0 or says_diffusion(tags, top, image_type)),
        direction=direction,
        splitters={key: value for key in SPLITTERS if (value := text(tags, key))},
        instance=_whole(top, "InstanceNumber") or 0 if index == 0 else index,
        uid=text(top, "SOPInstanceUID"),
        in_acquisition=_whole(top, "ImagesInAcquisition"),
        modality=text(top, "Modality"),
    )


def _scaling(tags: Tags, top: Dataset, image_type: str) -> tuple[float, float]:
    """Return (slope, intercept) from stored to real values.

    Philips' RescaleSlope brings the values of each series to its own display range; only its private scale slope SS
    (2005,100E) makes series comparable: (stored + RI / RS) / SS (Chenevert et al., Transl Oncol 7:65, 2014). Else
    RealWorldValueMappingSequence counts before RescaleSlope: it maps stored values directly (PS3.3 C.7.6.16.2.11).
    """
    rescale, shift = number(tags, "RescaleSlope"), number(tags, "RescaleIntercept") or 0.0
    scale = philips_scale(tags, top)
    if scale is not None and rescale and "DERIVED" not in image_type.upper() and "ADC" not in image_type.upper():
        return 1.0 / scale, shift / (rescale * scale)
    slope, intercept = number(tags, "RealWorldValueSlope"), number(tags, "RealWorldValueIntercept")
    if slope:
        return slope, intercept or 0.0
    return 1.0 if rescale is None else rescale, shift


def _distance(tags: Tags, keyword: str) -> float | None:
    """Return a distance in mm; some scanners sign it by the direction of the stack, 0 says nothing."""
    return abs(number(tags, keyword) or 0) or None


def _whole(tags: Tags, keyword: str) -> int | None:
    found = number(tags, keyword)
    return None if found is None else int(found)
