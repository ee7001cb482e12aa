"""Looks at every file of a cohort once and reports every problem in words that a user can act on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from mrsynth.check.dicom import dicom_problems
from mrsynth.check.image import image_problems
from mrsynth.check.problem import Problem, of_error
from mrsynth.check.table import table_problems
from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image, grid_error, same_grid
from mrsynth.core.progress import track
from mrsynth.core.types import contrast_name, is_contrast
from mrsynth.io.cohort import CaseRow, Cohort
from mrsynth.io.labels import COLUMN, read_lesion
from mrsynth.io.read import read_image, read_mask

OUTSIDE_SHARE = 0.05
"""The share of a lesion outside of the brain mask from which on it is told: outlines differ by a voxel."""

__all__ = ["Problem", "check_cohort"]


def check_cohort(
    cohort: Cohort,
    needs: Sequence[str] = (),
    compare: Callable[[Case], Iterable[Problem]] | None = None,
) -> list[Problem]:
    """Return every problem of a cohort, those of the whole table first, then case by case.

    Each file is read once, one case is in memory at a time.

    Args:
        cohort: The cohort, sound or not.
        needs: Contrasts that every case must have; where given, only these (and the masks) are read.
        compare: Finds problems between the images of a case (misregistration).
    """
    wanted = [contrast_name(name) for name in needs]
    problems = list(table_problems(cohort))
    seen: dict[bytes, tuple[CaseRow, str]] = {}
    for row in track(cohort.rows, "check", len(cohort.rows)):
        problems += _case_problems(row, wanted, seen, compare)
    return problems


def _case_problems(
    row: CaseRow,
    wanted: Sequence[str],
    seen: dict[bytes, tuple[CaseRow, str]],
    compare: Callable[[Case], Iterable[Problem]] | None,
) -> Iterator[Problem]:
    """Yield the problems of one case; seen: digest of each image's voxels → where it was met first, extended here."""
    for name in wanted:
        if name not in row.files:
            yield Problem(
                row.case,
                "error",
                f"{row.case}: no {name} image.",
                found=", ".join(n for n in row.files if is_contrast(n)) or "no image at all",
                expected=name,
                do=f"add {name} to this case or leave the case out",
            )
    images: list[Image] = []
    for name, path in row.files.items():
        if wanted and is_contrast(name) and name not in wanted:
            continue
        try:
            image = _read(row, name, path)
        except InputError as error:
            yield of_error(row.case, error)
            continue
        yield from image_problems(row.case, image, path)
        yield from dicom_problems(row.case, path)
        if is_contrast(name):
            yield from _copies(row, image, seen)
        images.append(image)
    yield from _grid_problems(row, images)
    yield from _lesion_problems(row, images)
    if compare is not None:
        scans = {image.contrast: image for image in images if is_contrast(image.contrast)}
        masks = {image.contrast: image for image in images if not is_contrast(image.contrast)}
        yield from compare(Case(scans, masks, {"patient": row.patient, "case": row.case}))


def _read(row: CaseRow, name: str, path: Path) -> Image:
    """Return an image or mask of a case."""
    if is_contrast(name):
        return read_image(path, name)
    return read_lesion(path, row.metadata.get(COLUMN, "")) if name == "lesion" else read_mask(path, name)


def _grid_problems(row: CaseRow, images: Sequence[Image]) -> Iterator[Problem]:
    """Yield the images that lie on another grid than most, so that the odd one is named."""
    agreeing = [sum(same_grid(one, other) for other in images) for one in images]
    for image in images:
        if error := grid_error(row.case, images[agreeing.index(max(agreeing))], image):
            do = "prepare with register (where the head moved) and resample"
            told = InputError(error.what, found=error.found, expected=error.expected, do=do)
            yield of_error(row.case, told, "warning")


def _lesion_problems(row: CaseRow, images: Sequence[Image]) -> Iterator[Problem]:
    """Yield a problem where a part of the lesion lies outside of the brain mask: nothing is predicted there."""
    masks = {image.contrast: image for image in images if not is_contrast(image.contrast)}
    brain, lesion = masks.get("brain"), masks.get("lesion")
    if brain is None or lesion is None or not same_grid(brain, lesion):
        return
    if not (brain.data.any() and lesion.data.any()):
        return
    labelled = lesion.data > 0
    share = float((labelled & (brain.data == 0)).sum() / labelled.sum())
    if share >= OUTSIDE_SHARE:
        yield Problem(
            row.case,
            "warning",
            f"{row.case}: a part of the lesion lies outside of the brain mask.",
            found=f"{share:.0%} of it",
            expected=f"less than {OUTSIDE_SHARE:.0%}",
            do="compare the two masks; what the brain mask cuts off is neither predicted nor judged",
        )


def _copies(row: CaseRow, image: Image, seen: dict[bytes, tuple[CaseRow, str]]) -> Iterator[Problem]:
    """Yield a problem if an image with the same voxels was met before (whatever its file's name or compression)."""
    digest = hashlib.sha256(repr(image.data.shape).encode() + image.data.T.tobytes()).digest()
    before = seen.setdefault(digest, (row, image.contrast))
    if before != (row, image.contrast):
        other, contrast = before
        across = f", {other.split} and {row.split}" if other.split != row.split else ""
        yield Problem(
            row.case,
            "error",
            f"{row.case}: {image.contrast} has the same voxels as {contrast} of {other.case}{across}.",
            found=f"{other.files[contrast]} and {row.files[image.contrast]}",
            expected="another image",
            do="remove one of the two, or correct its path",
        )
