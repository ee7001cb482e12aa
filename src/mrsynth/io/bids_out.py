"""Synthetic images as a BIDS derivative: their names, what their sidecars say, and the data set's description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

import mrsynth
from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.files import absolute, write_json, write_text
from mrsynth.io.locator import split_locator
from mrsynth.io.sidecar import small_json

DESCRIPTION = "dataset_description.json"

VERSION = "1.10.0"

SUFFIXES: Mapping[str, tuple[str, str]] = {
    "t1": ("", "T1w"),
    "t1ce": ("ce-gadolinium", "T1w"),
    "t1ld": ("ce-gadolinium", "T1w"),
    "t2": ("", "T2w"),
    "flair": ("", "FLAIR"),
}
"""Contrast → entity and suffix of its name; BIDS has none for an ADC map or a CT among the anatomical images."""

KEPT = ("sub", "ses")
"""Entities of the scan's name that its synthetic image has too; the others say how the scan was acquired."""


def derivative_name(like: Path, contrast: str, dose: float | None = None) -> str:
    """Return where a synthetic image stands in the derivative's folder.

    Args:
        like: the scan whose grid it has, named as BIDS wants it.
        contrast: of the image.
        dose: where several are made, a fraction of the full one.

    Returns:
        A relative path, sub-X/ses-Y/anat/sub-X_ses-Y_desc-synthetic_T2w.nii.gz.

    Raises:
        InputError: where the scan has no BIDS name, or BIDS has none for the contrast.
    """
    entities = dict(re.findall(r"(?:^|_)(sub|ses)-([A-Za-z0-9]+)(?=_)", split_locator(like)[0].name))
    if "sub" not in entities or contrast not in SUFFIXES:
        raise InputError(
            f"{like}: its synthetic {contrast} has no name in BIDS.",
            found="no entity sub- in the file's name" if "sub" not in entities else f"contrast {contrast}",
            expected=f"sub-X_….nii.gz, and one of {', '.join(SUFFIXES)}",
            do="take --format nifti",
        )
    agent, suffix = SUFFIXES[contrast]
    kept = [f"{key}-{entities[key]}" for key in KEPT if key in entities]
    made = "desc-synthetic" if dose is None else f"desc-syntheticDose{round(dose * 1000):04d}permille"
    name = "_".join([*kept, *([agent] if agent else []), made, suffix])
    return "/".join([*kept, "anat", f"{name}.nii.gz"])


def sidecar(record: Mapping[str, Any], inputs: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the .json beside an image says.

    Args:
        record: which model made it (`synthesize.run.provenance`).
        inputs: the scans it was made of; those that have no place in a BIDS data set are left out.

    Returns:
        The record with the keys that BIDS asks of a derivative.
    """
    files = {name: split_locator(path)[0] for name, path in inputs.items()}
    bases = {name: base for name, path in files.items() if (base := _base(path)) is not None}
    sources = [f"bids:raw:{files[name].relative_to(base).as_posix()}" for name, base in bases.items()]
    said = f"{record['target']} made by the network {record['recipe']}; not acquired, not for diagnosis"
    return {"Description": said, "Sources": sources, "SkullStripped": True, "SpatialReference": "orig", **record}


def write_description(folder: Path, like: Path) -> None:
    """Write the derivative's dataset_description.json and what a validator is to leave alone, where they are not there.

    Args:
        folder: of the derivative.
        like: one of the scans.

    Raises:
        OutputError: where the folder is a data set that mrsynth did not make, or cannot be written.
    """
    path = folder / DESCRIPTION
    if path.exists():
        generated = small_json(path).get("GeneratedBy")
        makers = generated if isinstance(generated, list) else []
        if not any(isinstance(maker, dict) and maker.get("Name") == "mrsynth" for maker in makers):
            raise OutputError(
                f"{folder}: is a data set that mrsynth did not make.",
                found=f"{DESCRIPTION} without GeneratedBy mrsynth",
                do="write below it, to derivatives/mrsynth",
            )
        return
    base = _base(split_locator(like)[0])
    links = {} if base is None else {"DatasetLinks": {"raw": Path(relpath(base, absolute(folder))).as_posix()}}
    generated_by = {
        "Name": "mrsynth",
        "Version": mrsynth.__version__,
        "Description": "synthetic MR images made by neural networks; research software, not for diagnosis",
    }
    write_json(
        path,
        {
            "Name": "Synthetic MR images",
            "BIDSVersion": VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [generated_by],
            **links,
        },
    )
    write_text(folder / ".bidsignore", "predictions.json\n")
    write_text(folder / "README.md", "Synthetic MR images made by mrsynth. Not acquired, not for diagnosis.\n")


def _base(path: Path) -> Path | None:
    """Return the folder of the data set in which a file stands, None where it stands in none."""
    parts = path.parts
    at = next((i for i, part in enumerate(parts[:-1]) if re.fullmatch(r"sub-[A-Za-z0-9]+", part)), None)
    return None if at is None else Path(*parts[:at])
