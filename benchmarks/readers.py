"""Readers of scans beside the libraries', in turns: NIfTI beside nibabel and SimpleITK, DICOM beside SimpleITK's GDCM.

Beside the time stands what each reader of NIfTI does with one flipped byte inside the packed file: 1 where it refuses
the file, 0 where it returns other voxels without a word.
"""

from __future__ import annotations

import locale
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk

from benchmarks.machine import environment, in_turns, medians, row, sized
from mrsynth.core.errors import InputError
from mrsynth.io import read_image
from mrsynth.io.dicom.series import read_dicom

SHAPE = sized((240, 240, 155), (24, 24, 6))
ERRORS = (InputError, RuntimeError, OSError, EOFError, ValueError, zlib.error)
"""What the readers raise for a file that they refuse."""


def scan() -> np.ndarray:
    """Return a ball of noise on zeros, int16, as a stripped scan is stored."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    noise = np.random.default_rng(0).integers(100, 900, SHAPE)
    return np.where(sum(axis**2 for axis in axes) < 0.5, noise, 0).astype(np.int16)


def nifti_readers(path: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Return the readers, each of which returns the voxels.

    Args:
        path: the file.
    """
    return {
        "mrsynth": lambda: read_image(path, "t1").data,
        "nibabel": lambda: np.asarray(nibabel.load(path).dataobj, dtype=np.float32),
        "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat32)),
    }


def refuses(read: Callable[[], np.ndarray]) -> bool:
    """Say whether a reader refuses its file.

    Args:
        read: the reader.
    """
    try:
        read()
    except ERRORS:
        return True
    return False


def with_a_flipped_byte(good: Path) -> Path:
    """Return a copy whose packed bytes unpack to other voxels: one stored byte differs, the checksum does not.

    Args:
        good: a packed file.
    """
    data = bytearray(nibabel.openers.Opener(str(good)).read())
    checksum = good.read_bytes()[-8:]
    data[len(data) // 2] ^= 1
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(bytes(data)) + packer.flush()
    bad = good.with_name("flipped.nii.gz")
    bad.write_bytes(packed[:-8] + checksum)
    return bad


def write_series(voxels: np.ndarray, folder: Path) -> Path:
    """Write a series of DICOM, a file a slice.

    Args:
        voxels: (x, y, z).
        folder: where, made here.
    """
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(voxels.shape[2]):
        image = sitk.GetImageFromArray(voxels[:, :, k : k + 1].T)
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"1.2.3.{k + 1}",
            "0008|0060": "MR",
            "0020|000d": "1.2.1",
            "0020|000e": "1.2.2",
            "0020|0013": str(k + 1),
            "0018|0050": "1",
            "0020|0032": f"0\\0\\{k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{k:04d}.dcm"))
        writer.Execute(image)
    return folder


@contextmanager
def one_locale() -> Iterator[None]:
    """Give the process its locale back, which GDCM sets to C: Python's default encoding would be ASCII from then on."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def gdcm(folder: Path) -> np.ndarray:
    """Return the voxels of a series as SimpleITK's example reads them.

    Args:
        folder: of the series.
    """
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    return sitk.GetArrayFromImage(reader.Execute())


def main() -> None:
    place = environment("nibabel", "pydicom", "SimpleITK")
    with tempfile.TemporaryDirectory() as temporary, one_locale():
        folder = Path(temporary)
        voxels, path = scan(), folder / "t1.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        readers = nifti_readers(path)
        size = "×".join(map(str, SHAPE))
        for name, seconds in zip(readers, medians(in_turns(*readers.values())), strict=True):
            row("readers", f"NIfTI of {size}, packed: {name}", seconds, "s", **place)
        for name, read in nifti_readers(with_a_flipped_byte(path)).items():
            wanted = "1" if name == "mrsynth" else ""
            row("readers", f"NIfTI with one flipped byte is refused: {name}", float(refuses(read)), "", wanted, **place)
        series = write_series(voxels, folder / "series")
        ways = {"mrsynth": lambda: read_dicom(series, {}, "t1").data, "SimpleITK": lambda: gdcm(series)}
        for name, seconds in zip(ways, medians(in_turns(*ways.values())), strict=True):
            row("readers", f"DICOM of {SHAPE[2]} slices: {name}", seconds, "s", **place)


if __name__ == "__main__":
    main()
