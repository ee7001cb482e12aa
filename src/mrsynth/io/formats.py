"""What a file is by its name or first bytes: DICOM under any name, and other image formats with what converts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_CONVERTERS: Mapping[str, tuple[str, str]] = {
    r"\.mgz|\.mgh": ("FreeSurfer's image format", "convert it to NIfTI: mri_convert T1.mgz T1.nii.gz"),
    r"\.nrrd|\.nhdr": ("the image format NRRD", "convert it to NIfTI, in 3D Slicer or by SimpleITK: "
                       "python -c 'import SimpleITK as s; s.WriteImage(s.ReadImage(\"T1.nrrd\"), \"T1.nii.gz\")'"),
    r"\.mha|\.mhd": ("the image format MetaImage", "convert it to NIfTI by SimpleITK: "
                     "python -c 'import SimpleITK as s; s.WriteImage(s.ReadImage(\"T1.mha\"), \"T1.nii.gz\")'"),
    r"\.hdr|\.img": ("a pair of Analyze or NIfTI files", "convert it to one NIfTI file: "
                     "python -c 'import nibabel as n; n.save(n.load(\"T1.img\"), \"T1.nii.gz\")'"),
    r"\.hdr\.gz|\.img\.gz": ("a compressed pair of NIfTI files", "unpack it and convert it to one NIfTI file"),
    r"\.mnc": ("the image format MINC", "convert it to NIfTI: mnc2nii T1.mnc T1.nii"),
    r"\.par|\.rec": ("Philips' PAR/REC", "convert it to NIfTI: dcm2niix -o nifti FOLDER, or parrec2nii T1.PAR"),
    r"\.head|\.brik|\.brik\.gz": ("AFNI's image format", "convert it to NIfTI: 3dAFNItoNIFTI T1+orig"),
    r"\.mif|\.mif\.gz|\.mih": ("MRtrix's image format", "convert it to NIfTI: mrconvert T1.mif T1.nii.gz"),
    r"\.vmr|\.v16": ("BrainVoyager's image format", "export it from BrainVoyager as NIfTI"),
    r"\.fdf|\.2dseq|\.ms": ("a scanner's raw format", "convert it to NIfTI with the scanner maker's own program"),
    r"\.nii\.(?:zip|bz2|xz|zst|lz4)": ("a packed NIfTI file", "unpack it, or pack it as .nii.gz"),
    r"(?:\.dcm|\.ima|\.dicom)\.(?:gz|bz2|xz|zip)": ("packed DICOM files", "unpack them first: gunzip *.dcm.gz"),
    r"(?:\.tar)?\.(?:gz|bz2|xz|zst)|\.zip|\.tar|\.tgz|\.7z|\.rar": ("an archive or a packed file", "unpack it first"),
}  # fmt: skip
"""Suffix → (what such a file is, what to do)."""

_DOUBLE = re.compile(r"\.(?:nii|dcm|ima|dicom|tar|img|hdr|mif|brik)\.[a-z0-9]{2,4}$", re.I)


def suffix_of(path: Path) -> str:
    """Return a file's suffix in lower case, both where two belong together (.dcm.gz, .tar.gz)."""
    double = _DOUBLE.search(path.name)
    return (double.group() if double else path.suffix).lower()


def format_of(path: Path) -> str | None:
    """Return which other image format or archive a file's name says it is, None for all others."""
    return next((what for pattern, (what, _) in _CONVERTERS.items() if re.fullmatch(pattern, suffix_of(path))), None)


def convert_words(suffix: str) -> str:
    """Return what a file with such a suffix is and how it is brought to NIfTI ("…: …"), "" where it is none of
    these."""
    told = next((told for pattern, told in _CONVERTERS.items() if re.fullmatch(pattern, suffix)), None)
    return "" if told is None else f"{told[0]}: {told[1]}"


def looks_like_dicom(path: Path) -> bool:
    """Say whether a file begins like DICOM, with or without the preamble of 128 bytes.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    # Without preamble: a first element of group 2 or 8, its VR (or, implicit, its length) as it can only be there.
    length = int.from_bytes(head[4:8], "little")
    return head[:2] in (b"\x02\0", b"\x08\0") and (head[4:6] in (b"UL", b"CS", b"UI", b"DA") or 0 < length < 256)
