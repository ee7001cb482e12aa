"""Tells an image that a model made from a scan: by its header's description, or by the .json file beside it."""

from __future__ import annotations

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

    path: an image's place in a table (`locator`). Of a NIfTI file some hundred bytes are read; one that cannot be read
    says nothing here, whoever reads its voxels will tell. mrsynth writes no DICOM.
    """
    file, _ = split_locator(path)
    if not is_nifti(file):
        return None
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
