"""Finds cases below a folder: NIfTI files by name (BraTS, BIDS, a folder a case, flat folders), DICOM by its tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.index.bids import DESCRIPTION, invalid_names, parse_bids, place_of
from mrsynth.index.corrections import Found, FoundCase, cases_of, described, has_image
from mrsynth.index.nifti_cases import find_named
from mrsynth.index.people import one_name_a_person
from mrsynth.index.pick import pick_images
from mrsynth.io.case import read_case_file
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.walk import Ignored, list_files, may_be_dicom, others


@dataclass(frozen=True)
class Intake:
    """What lies below a folder.

    Attributes:
        found: every image, used or not.
        ignored: everything else, with the reason.
        told: what was concluded about patients, in words.
    """

    found: tuple[Found, ...]
    ignored: tuple[Ignored, ...]
    told: tuple[str, ...] = ()


def find_cases(folder: Path, derivatives: Sequence[str] = ()) -> tuple[list[FoundCase], list[Ignored]]:
    """Return the cases below a folder, sorted by name, and what was left out with the reason.

    Args:
        folder: Where to look.
        derivatives: Names of the BIDS derivatives to use.

    Raises:
        InputError: As in `find_images`; or no image is in use.
    """
    intake = find_images(folder, derivatives)
    require_images(intake.found, intake, folder)
    return cases_of(intake.found), left_out(intake)


def left_out(intake: Intake) -> list[Ignored]:
    """Return everything that no case uses, sorted by path."""
    return sorted([*intake.ignored, *described(intake.found)], key=lambda i: str(i.path))


def find_images(folder: Path, derivatives: Sequence[str] = (), workers: int = 1) -> Intake:
    """Return every image below a folder with its patient, case and contrast, and the reason.

    A NIfTI file belongs to the case of its folder and of the part of its name before the contrast, or of its BIDS
    subject and session; a DICOM volume to its study. Of two images of one contrast one is taken with a stated reason,
    or neither.

    Args:
        folder: Where to look.
        derivatives: Names of the BIDS derivatives to use.
        workers: Processes that look into many DICOM files.

    Raises:
        InputError: There is no such folder or derivative.
    """
    files, ignored = list_files(folder)
    named = [path for path in files if is_nifti(path)]
    rest = [path for path in files if not is_nifti(path)]
    images = find_named(named, folder, derivatives)
    told: list[str] = []
    if any(may_be_dicom(path) for path in rest):
        from mrsynth.index.dicom_cases import find_studies  # pydicom

        studies, used, told = find_studies(folder, workers)
        listed = {item.path for item in ignored}
        images += [image for image in studies if image.path not in listed]
        rest = [path for path in rest if path not in used]
    own = ("cohort.csv", "cohort.found.csv")
    ignored += [*others(rest, folder, own), *_problems(named, folder)]
    images, joined = one_name_a_person(images)
    images = pick_images(images)
    return Intake(tuple(sorted(images, key=lambda f: (f.case, str(f.path)))), tuple(ignored), (*told, *joined))


def require_images(found: Sequence[Found], intake: Intake, folder: Path) -> None:
    """Raise InputError if none of the images is in use.

    Args:
        found: The images.
        intake: Everything that was seen, for the message.
        folder: Where it was looked for.
    """
    if has_image(found):
        return
    shown = [str(item) for item in left_out(intake)]
    more = [f"and {len(shown) - 5} more"] if len(shown) > 5 else []
    raise InputError(
        f"{folder}: no case found.",
        found="; ".join([*shown[:5], *more]) if shown else "an empty folder",
        expected="DICOM series, or NIfTI images whose names say their contrast (t1, t1ce, BraTS and BIDS names …)",
        do="give another folder, or write a CSV table by hand (columns patient, case, t1, t2, …)",
    )


def _problems(paths: Sequence[Path], folder: Path) -> list[Ignored]:
    """Return what is wrong beside the images: case files that cannot be read, names that are not valid BIDS."""
    problems = [problem for place in sorted({p.parent for p in paths}) if (problem := read_case_file(place)[1])]
    sets = sorted({place_of(path, folder).base for path in paths if parse_bids(path) is not None})
    for base in sets:
        if not (base / DESCRIPTION).is_file():
            continue
        raw = [p for p in paths if p.is_relative_to(base) and parse_bids(p) and place_of(p, folder).derivative is None]
        if wrong := invalid_names(raw, base):
            shown = ", ".join(path.name for path in wrong[:3]) + (", …" if len(wrong) > 3 else "")
            problems.append(Ignored(base / DESCRIPTION, f"{len(wrong)} names below it are not valid BIDS ({shown})"))
    return problems
