"""DICOM objects as they come over a network and go out again: what they are, before anything is made of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from mrsynth.io.dicom.derived import valid_uid
from mrsynth.io.dicom.file import Damaged

IMAGE_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
)
"""What a model can be given; everything else of a study is not asked for."""

TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)),
)
"""What can be read (`pixels.CODECS`). Deflated is not among them: a few bytes of it may unpack to a full memory."""


@dataclass(frozen=True)
class Received:
    """Which image some bytes hold: its UIDs.

    Attributes:
        sop_class, instance, study: SOPClassUID, SOPInstanceUID and StudyInstanceUID.
    """

    sop_class: str
    instance: str
    study: str


def look(content: bytes) -> Received:
    """Return which image the bytes of a DICOM file hold.

    Args:
        content: a file with its meta information.

    Raises:
        Damaged: where they cannot be read, or a UID is missing or none.
    """
    keywords = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]
    try:
        data = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=list(keywords))
        # As they stand in the file: nothing is converted, so that nothing remarks on it (several threads come here).
        uids = [_raw(data, keyword) for keyword in keywords]
    except Exception as error:  # pydicom raises many kinds on damaged bytes
        raise Damaged("its header cannot be read") from error
    for keyword, uid in zip(keywords, uids, strict=True):
        if not valid_uid(uid):
            raise Damaged(f"{keyword} is missing or no UID")
    return Received(*uids)


def _raw(data: Dataset, keyword: str) -> str:
    """Return a UID without its padding, "" where it is missing."""
    element = data.get_item(keyword)
    value = b"" if element is None else element.value
    return value.rstrip(b"\0 ").decode("ascii") if isinstance(value, bytes) else str(value or "")


def read_syntax(path: Path) -> tuple[str, str]:
    """Return the SOP class and the transfer syntax of a file that mrsynth wrote."""
    meta = pydicom.filereader.read_file_meta_info(path)
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
