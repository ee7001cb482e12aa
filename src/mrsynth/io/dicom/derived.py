"""What a series made from a scan takes over from it: patient, study and frame of reference, repaired where damaged."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping

from pydicom import config
from pydicom.charset import convert_encodings, encode_string
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pydicom.valuerep import validate_value

from mrsynth.io.dicom.file import text

COPIED = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription", "PositionReferenceIndicator",
    "PatientPosition",
)  # fmt: skip
"""What is the patient's, the study's and the frame of reference's own."""

EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "PositionReferenceIndicator", "PatientPosition",
)  # fmt: skip
"""What must stand in every image (type 2), empty where the source does not say it."""

WORDS: Mapping[str, tuple[str, ...]] = {
    "PatientSex": ("M", "F", "O"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "PatientPosition": ("HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"),
}
"""Values that the standard allows, where it lists them (PS3.3 C.2.3, C.7.1.1, C.7.3.1.1.2)."""

POSITIVE = ("PatientSize", "PatientWeight")
"""Scanners write 0 where nobody was measured."""

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

SCANNER = ("Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName", "DeviceSerialNumber")

UTF8 = "ISO_IR 192"

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")


def derived_uid(*parts: str) -> str:
    """Return a UID that follows from the parts alone: the same series, made again, has the same."""
    return str(generate_uid(entropy_srcs=["mrsynth", *parts]))


def valid_uid(value: str) -> bool:
    """Say whether a text is a UID."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def study_of(source: Dataset) -> Dataset:
    """Return the attributes of patient, study and frame of reference of an image.

    Args:
        source: the header of one of the scan's images.

    Returns:
        A new data set with valid values only: a PatientSex that the standard does not know, a date that is none and the
        like become empty, or are left out where they may be. A study or frame of reference without a valid UID gets
        one that follows from the series.
    """
    found = Dataset()
    for keyword in COPIED:
        if (element := _sound(source, keyword)) is not None:
            found.add(element)
        elif keyword in EMPTY:
            setattr(found, keyword, "")
    if text(found, "PatientIdentityRemoved") == "YES" and "DeidentificationMethod" not in found:
        found.DeidentificationMethod = "not said by the source"
    if text(source, "LossyImageCompression") == "01":
        for keyword in LOSSY:
            if (element := _sound(source, keyword)) is not None:
                found.add(element)
    series = text(source, "SeriesInstanceUID")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        own = text(source, keyword)
        setattr(found, keyword, own if valid_uid(own) else derived_uid(keyword, own, text(source, "PatientID"), series))
    if charset := _charset(source, found):
        found.SpecificCharacterSet = charset
    return found


def scanner_of(source: Dataset) -> Sequence:
    """Return the scanner as equipment that contributed (ContributingEquipmentSequence, DCM 109101)."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = code("109101", "DCM", "Acquisition Equipment")
    for keyword in SCANNER:
        element = _sound(source, keyword)
        if element is not None and element.value:
            item.add(element)
    if "Manufacturer" not in item:
        item.Manufacturer = "unknown"
    item.ContributionDescription = "acquired the scan of which the image was made"
    return Sequence([item])


def code(value: str, scheme: str, meaning: str) -> Sequence:
    """Return a coded concept as a sequence of one item.

    Args:
        value: the code's value.
        scheme: the designator of its coding scheme ("DCM", "SCT", "UCUM").
        meaning: the same in words.
    """
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def digest(content: bytes | memoryview) -> str:
    """Return the SHA-256 of some bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _sound(source: Dataset, keyword: str) -> DataElement | None:
    """Return a copy of an element whose value keeps to its VR and to the words that are allowed, None for others."""
    try:
        if keyword not in source or source[keyword].value is None:
            return None
        element = source[keyword]
        kind = dictionary_VR(keyword)
        values = [str(value) for value in (element.value if element.VM > 1 else [element.value])]
        for value in values:
            if not value.isprintable():
                return None
            validate_value(kind, value, config.RAISE)
        sound = DataElement(element.tag, kind, element.value)
    except Exception:  # damaged bytes fail in many ways, and only when they are looked at
        return None
    if keyword in POSITIVE and not float(values[0]) > 0:
        return None
    if keyword in WORDS and values not in [[word] for word in WORDS[keyword]]:
        return None
    return sound


def _charset(source: Dataset, copied: Dataset) -> str | list[str]:
    """Return the character set in which all that is copied can be written: the source's own if it can, else UTF-8."""
    texts = [str(element.value) for element in copied if element.VR in ("PN", "LO", "SH", "ST", "LT", "UT")]
    texts += [text(source, keyword) for keyword in SCANNER]
    own = source.get("SpecificCharacterSet") or ""
    if all(words.isascii() for words in texts) and not own:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            encodings = convert_encodings(own)
            for words in texts:
                encode_string(words, encodings)
    except Exception:  # a character set that is none, or one that lacks a letter
        return UTF8
    return own if isinstance(own, str) else list(own)
