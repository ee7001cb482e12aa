"""mrsynth simulate: a phantom cohort as NIfTI files, a folder a case, with its cohort table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from mrsynth.core.errors import InputError
from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Case
from mrsynth.core.locks import one_writer
from mrsynth.core.ownership import holds_only, replace_keeping, require_ours
from mrsynth.core.progress import track
from mrsynth.core.types import in_order
from mrsynth.io import CaseRow, Cohort, write_cohort, write_image
from mrsynth.io.case import CASE_FILE, read_case_file, write_case_file
from mrsynth.io.cohort import FRACTIONS, split_patients
from mrsynth.io.nifti_stream import read_description
from mrsynth.io.overwrite import require_place
from mrsynth.io.sidecar import stem_of
from mrsynth.io.synthetic import PHANTOM
from mrsynth.phantom import Member, Sites, cohort_members

Profile = Literal["brats", "ct", "dose", "tumour"]


@one_writer("simulate")
def simulate(
    out: Path,
    subjects: int,
    seed: int,
    profile: Profile = "brats",
    *,
    spacing_mm: float = 1.0,
    sites: Sites = "usual",
    fractions: tuple[float, float, float] = FRACTIONS,
) -> Path:
    """Write a phantom cohort.

    A case folder holds <contrast>.nii.gz, the masks and case.json (patient, field strength, dose, every random draw).
    A case that is there already is not made again, so that an interrupted run goes on where it stopped. Another cohort
    table that stands there is kept as cohort.csv.bak.

    Args:
        out: the folder of the cohort.
        subjects: how many phantoms.
        seed: the same seed gives the same bytes.
        profile: which scans each phantom gets.
        spacing_mm: edge of a voxel.
        sites: `usual`, those of the profile, or `drawn`, a scanner of each patient's own.
        fractions: shares of patients in train, val and test.

    Returns:
        The path of out/cohort.csv.

    Raises:
        OutputError: where nothing can be written, or a phantom's folder holds files that are not its own.
    """
    require_place(out, folder=True)
    table = out / "cohort.csv"
    write_members(cohort_members(seed, subjects, profile=profile, spacing_mm=spacing_mm, sites=sites), out)
    rows = [read_case_folder(file.parent) for file in sorted(out.glob(f"*/{CASE_FILE}"))]
    cohort = Cohort(tuple(rows)).with_splits(split_patients([row.patient for row in rows], fractions, seed))
    replace_keeping(table, partial(write_cohort, cohort))
    return table


def write_members(members: Sequence[Member], out: Path) -> None:
    """Write the case folder of each patient below `out`, unless it is there already.

    Args:
        members: the patients to simulate.
        out: the folder of the cohort.

    Raises:
        OutputError: a folder cannot be written, or holds anything but a phantom.
    """
    for member in track(members, "simulate", len(members)):
        if not is_there(member, out / member.name):
            write_case_folder(member.simulate(), out / member.name)


def is_there(member: Member, folder: Path) -> bool:
    """Say whether a folder holds this patient, simulated with the same seed and settings.

    Args:
        member: the patient.
        folder: the case folder; its case.json is read.
    """
    draws = read_case_file(folder)[0].get("draws", {})
    wanted = member.settings.model_dump(mode="json")
    return draws.get("seed") == member.seed and draws.get("settings") == wanted


def write_case_folder(case: Case, folder: Path) -> None:
    """Write a case's images, masks and metadata into a folder, all or nothing.

    Args:
        case: the simulated case.
        folder: its place; a phantom that lies there is replaced.

    Raises:
        OutputError: the folder holds anything but a phantom.
    """
    require_ours(folder.parent, {folder.name: _is_phantom}, "name another folder, or move these files away")
    with atomic_folder(folder) as temporary:
        for name, image in {**case.images, **case.masks}.items():
            write_image(image, temporary / f"{name}.nii.gz", description=f"SYNTHETIC {name} by mrsynth simulate")
        write_case_file(temporary, case.metadata)


def _is_phantom(folder: Path) -> bool:
    """Say whether a folder holds nothing but what `write_case_folder` left, whole or not."""
    if not holds_only("*.nii.gz", CASE_FILE)(folder):
        return False
    images = [path for path in folder.glob("*.nii.gz") if path.stat().st_size > 0]
    told = "draws" in read_case_file(folder)[0]
    return all(_says_phantom(path) for path in images) and (told or not (folder / CASE_FILE).exists())


def _says_phantom(path: Path) -> bool:
    try:
        return PHANTOM in read_description(path)
    except InputError:
        return False


def read_case_folder(folder: Path) -> CaseRow:
    """Return the row of a case that `write_case_folder` left, without a split.

    Args:
        folder: the case folder.

    Raises:
        InputError: case.json is damaged, or names no patient, no case or nothing that was drawn.
    """
    known, problem = read_case_file(folder)
    if problem is not None or not {"patient", "case", "draws"} <= set(known):
        raise InputError(
            f"{folder / CASE_FILE}: is not what mrsynth simulate wrote.",
            found=problem.reason if problem is not None else "no patient, no case or nothing that was drawn",
            do=f"remove {folder.name}, and run mrsynth simulate again",
        )
    files = {stem_of(path): path for path in folder.glob("*.nii.gz")}
    ordered = {name: files[name] for name in in_order(files)}
    return CaseRow(known["patient"], known["case"], "", ordered, known.get("b0_tesla"), known.get("dose"))
