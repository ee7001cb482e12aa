"""Reads an image by its place in a cohort table: a NIfTI file, one volume of it, or a DICOM series."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.core.files import NOTHING, kind_of, sha256_file
from mrsynth.core.image import Image
from mrsynth.io import nifti
from mrsynth.io.diffusion import bval_file, read_shells, shell_of
from mrsynth.io.formats import convert_words, looks_like_dicom, suffix_of
from mrsynth.io.locator import split_locator, whole_number
from mrsynth.io.nifti_stream import is_nifti


def read_image(path: Path, contrast: str) -> Image:
    """Read a volume as an image of a contrast: float32, axes nearest to RAS+, voxels only flipped and permuted.

    Args:
        path: a NIfTI file (of a 4-D one `dwi.nii.gz#volume=2`, or `#b=500` with a .bval file beside it), or a DICOM
            folder or file (`study#series=301`). Several volumes of one b-value give their geometric mean.
        contrast: any spelling that `types` knows.

    Raises:
        InputError: where there is no such volume, or as `nifti.read_image` and `read_dicom` do.
    """
    file, selection = split_locator(path)
    if not is_nifti(file):
        _require_there(file)
        from mrsynth.io.dicom.series import read_dicom  # pydicom

        return read_dicom(file, selection, contrast)
    return nifti.read_image(file, contrast, _volumes(file, selection))


def read_prediction(path: Path, contrast: str) -> Image:
    """Read an image that a model made, as `read_image` does; but a NIfTI file may be constant.

    A constant image is no damaged file but a bad prediction, which is judged as any other.

    Args:
        path: as of `read_image`.
        contrast: any spelling that `types` knows.

    Raises:
        InputError: as `read_image` does.
    """
    file, selection = split_locator(path)
    if not is_nifti(file):
        return read_image(path, contrast)
    return nifti.read_image(file, contrast, _volumes(file, selection), constant=True)


def read_mask(path: Path, name: str = "brain") -> Image:
    """Read a NIfTI file as a mask.

    Args:
        path: the file.
        name: of MASKS.

    Raises:
        InputError: as `nifti.read_mask` does.
    """
    return nifti.read_mask(path, name)


def file_digest(path: Path) -> str:
    """Return a SHA-256 that changes with the bytes an image is read from: the NIfTI file (and its b-values), or the
    DICOM files of the series. Raises OSError or InputError if they cannot be read."""
    file, selection = split_locator(path)
    if not is_nifti(file):
        _require_there(file)
        from mrsynth.io.dicom.series import digest_dicom

        return digest_dicom(file, selection)
    if not selection:
        return sha256_file(file)
    parts = [sha256_file(file), *(f"{key}={value}" for key, value in sorted(selection.items()))]
    if "b" in selection:
        read_shells(file)  # says what is wrong with the .bval, or that there is none
        parts.append(sha256_file(bval_file(file)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _require_there(file: Path) -> None:
    """Raise InputError unless a file or a folder stands there."""
    if (words := convert_words(suffix_of(file))) and not (kind_of(file) == "a file" and looks_like_dicom(file)):
        raise InputError(
            f"{file}: is no image that can be read.", found=words.partition(": ")[0], do=words.partition(": ")[2]
        )
    kind = kind_of(file)
    if kind == NOTHING:
        raise InputError(f"{file}: there is no such file.", do="check the path")
    if kind not in ("a file", "a folder"):
        raise InputError(
            f"{file}: is no file that can be read.",
            found=kind,
            expected="a NIfTI file, or a DICOM file or folder",
            do="check the path and who may read it",
        )


def _volumes(file: Path, selection: Mapping[str, str]) -> list[int] | None:
    """Return the volumes of a NIfTI file that a selection means, None where it says nothing."""
    unknown = sorted(set(selection) - {"b", "volume"})
    if unknown or len(selection) > 1:
        raise InputError(
            f"{file}: cannot be selected from.",
            found=", ".join(f"{key}={value}" for key, value in selection.items()),
            expected="#volume=… or #b=… for a NIfTI file",
        )
    for key, value in selection.items():
        number = whole_number(value)
        if number is None:
            raise InputError(f"{file}: {key} is no number.", found=repr(value), expected="a whole number")
        if key == "volume":
            return [number]
        shells = read_shells(file)
        if shell_of(number) not in shells:
            raise InputError(f"{file}: has no volume at b = {value} s/mm².", found="b = " + ", ".join(map(str, shells)))
        return shells[shell_of(number)]
    return None
