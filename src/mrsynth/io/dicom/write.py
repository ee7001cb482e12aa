"""Writes an image that a model made as a DICOM series of the study whose scan it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, MRImageStorage

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.files import NOTHING, kind_of
from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Image
from mrsynth.io.dicom.derived import derived_uid
from mrsynth.io.dicom.enhanced import enhanced
from mrsynth.io.dicom.file import Damaged, quiet, read_header, text
from mrsynth.io.dicom.sheet import Maker, Sheet, ds, make_sheet, measures, references


def write_dicom(
    image: Image, like: Path, folder: Path, maker: Maker, *, multi_frame: bool = False, compress: bool = False
) -> list[Path]:
    """Write an image as a DICOM series in the study, on the grid and in the frame of reference of a scan.

    The same image of the same scan gives the same UIDs and the same bytes: an archive that gets it twice keeps one.

    Args:
        image: on the grid of `like` (`Image.native`).
        like: where the scan lies (`locator`), DICOM.
        folder: for the files; one of an earlier series that mrsynth wrote is replaced.
        maker: the model that made the image.
        multi_frame: one file of Enhanced MR Image Storage instead of one file a slice.
        compress: JPEG-LS without loss (needs pyjpegls, of the extra `dicom`).

    Returns:
        The files, in the order of the slices.

    Raises:
        InputError: where `like` is not one DICOM volume, or compression is not installed.
        OutputError: where the image does not lie on that grid, the target is a CT, the folder holds other files, or
            nothing can be written there.
    """
    if image.contrast == "ct":
        raise OutputError("A synthetic CT is not written as DICOM: MR is.", do="take --format nifti")
    if compress:
        require_codec()
    require_own_series(folder)
    with quiet():
        sheet = make_sheet(image, like, maker)
        files = [("0001.dcm", enhanced(sheet))] if multi_frame else _slices(sheet)
        names = []
        with atomic_folder(folder) as temporary:
            for name, data in files:
                _save(data, temporary / name, compress)
                names.append(folder / name)
    return names


def require_own_series(folder: Path) -> None:
    """Raise OutputError where a folder that would be replaced holds anything but a series that mrsynth wrote."""
    if (kind := kind_of(folder)) == NOTHING:
        return
    strange = kind != "a folder"
    with quiet():
        for path in sorted(folder.iterdir()) if not strange else ():
            try:
                strange = strange or text(read_header(path).tags, "SyntheticData") != "YES"
            except Damaged:
                strange = True
    if strange:
        raise OutputError(
            f"{folder}: would be replaced by a synthetic series.",
            found="something that mrsynth did not write",
            do="choose another output",
        )


def _slices(sheet: Sheet) -> Iterator[tuple[str, Dataset]]:
    """Yield name and data set of each slice, MR Image Storage; one data set is filled again and again."""
    data = sheet.common
    data.SOPClassUID = MRImageStorage
    # Of the acquisition nothing is said: the image was not acquired.
    data.ScanningSequence, data.SequenceVariant = "RM", "NONE"
    for keyword in ("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"):
        setattr(data, keyword, None)
    low, high = sheet.window
    data.WindowCenter, data.WindowWidth = ds((low + high + 1) / 2), ds(high - low + 1)
    first = sheet.frames[0]
    for keyword, value in measures(sheet.frames).items():
        setattr(data, keyword, value)
    data.ImageOrientationPatient = [ds(x) for x in first.orientation]
    for k, frame in enumerate(sheet.frames):
        data.SOPInstanceUID = derived_uid(data.SeriesInstanceUID, str(k))
        data.InstanceNumber = k + 1
        data.ImagePositionPatient = [ds(x) for x in frame.position]
        if refs := references(sheet, k):
            data.SourceImageSequence = refs
        elif "SourceImageSequence" in data:
            del data.SourceImageSequence
        data.PixelData = sheet.stored[k].astype("<u2", copy=False).tobytes()
        data["PixelData"].VR = "OW"
        yield f"{k + 1:04d}.dcm", data


def _save(data: Dataset, path: Path, compress: bool) -> None:
    """Write a data set with its meta information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data.SOPClassUID, data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationVersionName = "MRSYNTH"
    data.file_meta = meta
    if compress:
        data.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def require_codec() -> None:
    """Raise InputError where nothing can write JPEG-LS."""
    if find_spec("jpeg_ls") is None:
        raise InputError("JPEG-LS cannot be written.", found="no pyjpegls", do="pip install 'mrsynth[dicom]'")
