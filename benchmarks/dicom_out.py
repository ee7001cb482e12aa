"""A synthetic head (256×256×180) as a DICOM series: processor seconds of each way to write it, and what is lost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from benchmarks.machine import environment, row, sized
from mrsynth.io import read_image
from mrsynth.io.dicom.sheet import Maker
from mrsynth.io.dicom.write import write_dicom

SHAPE = sized((256, 256, 180), (16, 16, 3))
REPEATS = sized(3, 1)


def scan(folder: Path, values: np.ndarray, series: int = 1) -> Path:
    """Write a scan as a plain series; values: (x, y, z), 1 mm, from 0 to 4095."""
    folder.mkdir(parents=True)
    for k in range(values.shape[2]):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, f"1.2.3.{series}.{k + 1}"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SeriesNumber = "1.2.3", f"1.2.3.{series}", series
        data.FrameOfReferenceUID, data.Modality, data.PatientID = "1.2.3.9", "MR", "P"
        data.SeriesDescription, data.ImageType = "T1 tra", ["ORIGINAL", "PRIMARY", "M"]
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, k], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness, data.InstanceNumber = [1, 1], 1, k + 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = values.shape[1], values.shape[0]
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = values[:, :, k].T.astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)
    return folder


def head() -> np.ndarray:
    """Return stored values (x, y, z) of a ball with texture on zeros."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.7
    texture = 2000 + 1000 * np.sin(9 * axes[0]) * np.cos(7 * axes[1]) + np.random.default_rng(0).normal(0, 60, SHAPE)
    return np.where(inside, texture, 0).clip(0, 4095)


def seconds(write: Callable[[], object]) -> float:
    """Return the least processor seconds of several calls."""
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        write()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    place = environment("pydicom", "pyjpegls")
    maker = Maker("osman2022", "ab" * 32, ("t1",), (0.0, 1.0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        like = scan(folder / "t1", head())
        image = read_image(like, "t1")
        image = replace(image, data=np.sqrt(image.data / 4095), contrast="t2")
        ways = {"MR Image Storage": {}, "Enhanced MR": {"multi_frame": True}, "JPEG-LS": {"compress": True}}
        for name, options in ways.items():
            spent = seconds(lambda o=options: write_dicom(image, like, folder / "out", maker, **o))  # type: ignore[misc]
            wanted = "≤ 0.5 s" if not options else ""
            row("dicom_out", f"a head of {SHAPE[2]} slices as {name}, processor time", spent, "s", wanted, **place)
        size = sum(path.stat().st_size for path in (folder / "out").iterdir()) / 2**20
        row("dicom_out", "its size with JPEG-LS", size, "MiB", **place)
        off = float(np.abs(read_image(folder / "out", "t2").data - image.data).max()) * 4095
        row("dicom_out", "largest difference, read back", off, "grey levels", "≤ 0.5", **place)


if __name__ == "__main__":
    main()
