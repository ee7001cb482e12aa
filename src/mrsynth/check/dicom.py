"""What a DICOM series says of itself that its volume alone does not show: slices that never came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mrsynth.check.problem import Problem
from mrsynth.core.errors import InputError
from mrsynth.core.text import counted
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_stream import is_nifti


def dicom_problems(case: str, path: Path) -> Iterator[Problem]:
    """Yield what a series lacks, by its own tags; nothing for NIfTI files.

    Args:
        case: The case's name.
        path: An image's place in a table, which could be read.
    """
    file, selection = split_locator(path)
    if is_nifti(file):
        return
    from mrsynth.io.dicom.series import find_volume  # pydicom

    try:
        volume = find_volume(file, selection)
    except InputError:
        return
    if lacking := volume.images_lacking:
        yield Problem(
            case,
            "warning",
            f"{path}: {counted(lacking, 'slice')} at its end may be missing.",
            found=f"{counted(volume.shape[2], 'slice')}",
            expected=f"{volume.shape[2] + lacking}, as ImagesInAcquisition (0020,1002) says",
            do="compare with the scanner or the PACS, and export or copy the series again, with all its slices",
        )
