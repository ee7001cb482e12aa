"""mrsynth simulate: a phantom cohort as NIfTI files, a folder a case, with its cohort table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Case
from mrsynth.core.locks import one_writer
from mrsynth.core.progress import track
from mrsynth.core.types import in_order
from mrsynth.io import CaseRow, Cohort, write_cohort, write_image
from mrsynth.io.case import CASE_FILE, read_case_file
from mrsynth.io.cohort import FRACTIONS, split_patients
from mrsynth.io.overwrite import require_place
from mrsynth.io.sidecar import stem_of
from mrsynth.phantom import Member, cohort_members

Profile = Literal["brats", "ct", "dose", "tumour"]


@one_writer("simulate")
def simulate(
    out: Path,
    subjects: int,
    seed: int,
    profile: Profile = "brats",
    *,
    spacing_mm: float = 1.0,
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Path:
    """Write `subjects` phantom cases below out and return the path of out/cohort.csv.

    fractions: shares of patients in train, val and test.

    A case folder holds <contrast>.nii.gz, the masks and case.json (patient, field strength, dose, every random draw).
    A case that is there already is not made again, so that an interrupted run goes on where it stopped. Raises
    OutputError where nothing can be written.
    """
    require_place(out, folder=True)
    table = out / "cohort.csv"
    write_members(cohort_members(seed, subjects, profile=profile, spacing_mm=spacing_mm), out)
    rows = [read_case_folder(file.parent) for file in sorted(out.glob(f"*/{CASE_FILE}"))]
    write_cohort(Cohort(tuple(rows)).with_splits(split_patients([r.patient for r in rows], fractions, seed)), table)
    return table


def write_members(members: Sequence[Member], out: Path) -> None:
    """Write the case folder of each patient below out, unless it is there already."""
    for member in track(members, "simulate", len(members)):
        if not is_there(member, out / member.name):
            write_case_folder(member.simulate(), out / member.name)


def is_there(member: Member, folder: Path) -> bool:
    """Say whether a folder holds this patient, simulated with the same seed and settings."""
    try:
        draws = json.loads((folder / CASE_FILE).read_text())["draws"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    wanted = member.settings.model_dump(mode="json")
    return bool(draws.get("seed") == member.seed and draws.get("settings") == wanted)


def write_case_folder(case: Case, folder: Path) -> None:
    """Write a case's images, masks and metadata into a folder, all or nothing."""
    with atomic_folder(folder) as temporary:
        for name, image in {**case.images, **case.masks}.items():
            write_image(image, temporary / f"{name}.nii.gz", description=f"SYNTHETIC {name} by mrsynth simulate")
        (temporary / CASE_FILE).write_text(json.dumps(dict(case.metadata), indent=1) + "\n")


def read_case_folder(folder: Path) -> CaseRow:
    """Return the row of a case that `write_case_folder` left, without a split."""
    known = read_case_file(folder)[0]
    files = {stem_of(path): path for path in folder.glob("*.nii.gz")}
    ordered = {name: files[name] for name in in_order(files)}
    return CaseRow(known["patient"], known["case"], "", ordered, known.get("b0_tesla"), known.get("dose"))
