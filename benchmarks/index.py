"""`index` of a folder of DICOM files beside pydicom, which reads their headers alone; and what the start costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from benchmarks.machine import environment, row, sized
from mrsynth.index.find import index_folder
from mrsynth.io.dicom import scan

FILES, SLICES = sized((24_000, 120), (20, 5))
"""Four series a study, one study a patient."""
CONTRASTS = ("t1 tse tra", "t2 tse tra", "flair tra", "t1 tse tra km")
REPEATS = sized(3, 1)

TYPICAL = {
    "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "InstanceCreationDate": "20200103", "InstanceCreationTime": "101112.130000", "StudyDate": "20200103",
    "SeriesDate": "20200103", "AcquisitionDate": "20200103", "ContentDate": "20200103", "StudyTime": "100000.000000",
    "SeriesTime": "101010.000000", "AcquisitionTime": "101011.000000", "ContentTime": "101112.130000",
    "AccessionNumber": "A1", "Modality": "MR", "Manufacturer": "SIEMENS", "InstitutionName": "Hospital",
    "ReferringPhysicianName": "", "StationName": "MR1", "StudyDescription": "Head", "ManufacturerModelName": "Model",
    "PatientBirthDate": "19700101", "PatientSex": "F", "PatientAge": "050Y", "PatientSize": 1.7, "PatientWeight": 70,
    "BodyPartExamined": "HEAD", "ScanningSequence": "SE", "SequenceVariant": ["SK", "SP"], "ScanOptions": "PFP",
    "MRAcquisitionType": "2D", "SequenceName": "*tse2d1_3", "SliceThickness": 1, "RepetitionTime": 500, "EchoTime": 8.8,
    "NumberOfAverages": 1, "ImagingFrequency": 63.68, "ImagedNucleus": "1H", "EchoNumbers": 1,
    "MagneticFieldStrength": 1.5, "SpacingBetweenSlices": 1, "NumberOfPhaseEncodingSteps": 255, "EchoTrainLength": 3,
    "PercentSampling": 100, "PercentPhaseFieldOfView": 100, "PixelBandwidth": 130, "DeviceSerialNumber": "12345",
    "SoftwareVersions": "syngo", "ProtocolName": "tse", "TransmitCoilName": "Body",
    "AcquisitionMatrix": [0, 256, 256, 0], "InPlanePhaseEncodingDirection": "ROW", "FlipAngle": 90,
    "VariableFlipAngleFlag": "N", "SAR": 0.1, "dBdt": 0,
    "PatientPosition": "HFS", "StudyID": "1", "AcquisitionNumber": 1, "PositionReferenceIndicator": "",
    "PixelSpacing": [0.8984375, 0.8984375], "ImageOrientationPatient": [0.998, 0.01, -0.06, 0, 0.986, 0.164],
    "SmallestImagePixelValue": 0, "LargestImagePixelValue": 900, "WindowCenter": 400, "WindowWidth": 900,
    "RequestedProcedureDescription": "MR Head", "PerformedProcedureStepStartDate": "20200103",
    "PerformedProcedureStepID": "1", "PerformedProcedureStepDescription": "Head",
}  # fmt: skip
"""What a scanner writes into a classic image, beside what names it and says where it lies."""


def slices_of(series: int) -> list[bytes]:
    """Return the files of one series of patient P999999.

    Args:
        series: which, from 0 on.
    """
    found = []
    for k in range(SLICES):
        data = Dataset()
        for keyword, value in TYPICAL.items():
            setattr(data, keyword, value)
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, f"1.2.826.999999.{series}.{k + 1}"
        data.PatientName = data.PatientID = "P999999"
        data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.826.999999", "1.2.826.999999.9"
        data.SeriesInstanceUID, data.SeriesNumber = f"1.2.826.999999.{series}", series + 1
        data.SeriesDescription, data.InstanceNumber = CONTRASTS[series], k + 1
        data.ImagePositionPatient = [-115.7675, -110.6607 - 0.164 * k, -29.9541 + 0.986 * k]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows = data.Columns = 16
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = np.full((16, 16), k, "<u2").tobytes()
        data["PixelData"].VR = "OW"
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        buffer = pydicom.filebase.DicomBytesIO()
        data.save_as(buffer, enforce_file_format=True)
        found.append(buffer.getvalue())
    return found


def write_studies(folder: Path) -> None:
    """Write FILES files, a folder a series, with a patient of its own each four."""
    made = [slices_of(series) for series in range(len(CONTRASTS))]
    for number in range(FILES // SLICES):
        study, series = divmod(number, len(CONTRASTS))
        place = folder / f"study{study:04d}" / str(series)
        place.mkdir(parents=True)
        for k, content in enumerate(made[series]):
            (place / f"IM{k:04d}").write_bytes(content.replace(b"999999", f"{study + 100_000:06d}".encode()))


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the processor's and the wall's seconds of a call."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - began


def headers(paths: Sequence[Path]) -> None:
    """Let pydicom read the headers alone."""
    for path in paths:
        pydicom.dcmread(path, stop_before_pixels=True)


def index(folder: Path) -> None:
    """Index the folder, from nothing that was kept of an earlier look."""
    scan._scan.cache_clear()
    assert len(index_folder(folder).found) == FILES // SLICES


def main() -> None:
    place = environment("pydicom")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_studies(folder)
        paths = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
        index_folder(folder / "study0000")  # imports
        rounds = [(spent(lambda: headers(paths)), spent(lambda: index(folder))) for _ in range(REPEATS)]
    command = [sys.executable, "-c", "import mrsynth.index.run, mrsynth.index.dicom_cases, mrsynth.io.dicom.scan"]
    start = median(spent(lambda: subprocess.run(command, check=True))[1] for _ in range(REPEATS))
    row("index", "start of index in a fresh process", start, "s", **place)
    for which, name in enumerate(("processor time", "wall time")):
        alone, ours = (median(one[way][which] for one in rounds) for way in (0, 1))
        row("index", f"{FILES} DICOM files: headers read by pydicom, {name}", alone, "s", **place)
        row("index", f"{FILES} DICOM files indexed, {name}", ours, "s", **place)
        ratio = median(own[which] / bare[which] for bare, own in rounds)
        row("index", f"… over pydicom, {name}", ratio, "×", "≤ 2" if which == 0 else "", **place)


if __name__ == "__main__":
    main()
