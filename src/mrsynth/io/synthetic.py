"""Tells an image that a model made from a scan: by the header, or by the .json file beside a NIfTI image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.core.files import printable
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_header import SYNTHETIC
from mrsynth.io.nifti_stream import is_nifti, read_description
from mrsynth.io.sidecar import small_json, stem_of

PHANTOM = "by mrsynth simulate"
"""What the description of a phantom holds: it is the scan of a digital patient, not a model's image."""


def why_synthetic(path: Path) -> str | None:
    """Return what says that a model made an image, in words; None where nothing does.

    An image that cannot be read says nothing here: whoever reads its voxels tells what is wrong.

    Args:
        path: An image's place in a table (`locator`), NIfTI or DICOM. Headers alone are read.
    """
    file, selection = split_locator(path)
    return _of_nifti(file) if is_nifti(file) else _of_dicom(file, selection)


def says_synthetic(tags: Mapping[str, object]) -> str | None:
    """Return which DICOM tag says that a model made the image, in words; None where none does.

    Args:
        tags: Keyword → text, several values joined by a backslash.
    """
    if str(tags.get("SyntheticData", "")).upper() == "YES":
        return "SyntheticData (0008,001C) is YES"
    if SYNTHETIC in str(tags.get("ImageType", "")).upper().split("\\"):
        return f"ImageType {tags['ImageType']}"
    return None


def _of_dicom(file: Path, selection: Mapping[str, str]) -> str | None:
    """Return why a DICOM volume is synthetic."""
    from mrsynth.io.dicom.series import find_volume  # pydicom

    try:
        return says_synthetic(find_volume(file, selection).tags)
    except InputError:
        return None


def _of_nifti(file: Path) -> str | None:
    """Return why a NIfTI image is synthetic."""
    try:
        said = read_description(file)
    except InputError:
        said = ""
    if said.startswith(SYNTHETIC) and PHANTOM not in said:
        return f"its header says '{printable(said)}'"
    beside = file.with_name(f"{stem_of(file)}.json")
    sidecar = small_json(beside)
    # x.json may speak of x.nii.gz: x.nii is then a scan, where both are there.
    others = [name for end in (".nii", ".nii.gz") if (name := stem_of(file) + end) != file.name]
    speaks_of_another = sidecar.get("image") in [name for name in others if file.with_name(name).is_file()]
    if sidecar.get("synthetic") is True and not speaks_of_another:
        return f"{beside.name} beside it says so (if a scan took its place, remove {beside.name})"
    return None
