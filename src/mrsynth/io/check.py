"""Looks at every file of a cohort once and reports every problem in words that a user can act on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mrsynth.errors import InputError, MrsynthError
from mrsynth.image import Image, grid_error, same_grid
from mrsynth.io.cohort import SPLITS, CaseRow, Cohort
from mrsynth.io.nifti import read_image, read_mask
from mrsynth.types import contrast_name, is_contrast


@dataclass(frozen=True)
class Problem:
    """One problem. case: its name, or "cohort"; severity: an "error" stops later commands, a "warning" does not."""

    case: str
    severity: Literal["error", "warning"]
    what: str
    found: str | None = None
    expected: str | None = None
    do: str | None = None

    def __str__(self) -> str:
        error = MrsynthError(self.what, found=self.found, expected=self.expected, do=self.do)
        return f"{self.severity}: {error}"


def check_cohort(
    cohort: Cohort, needs: Sequence[str] = (), progress: Callable[[str], None] | None = None
) -> list[Problem]:
    """Return every problem of a cohort, those of the whole table first, then case by case.

    needs: contrasts that every case must have; where given, only these (and the masks) are read. progress: called with
    a case's name when that case has been read. Each file is read once, one case is in memory at a time.
    """
    wanted = [contrast_name(name) for name in needs]
    problems = list(_table_problems(cohort))
    seen: dict[bytes, tuple[CaseRow, str]] = {}
    for row in cohort.rows:
        problems += _case_problems(row, wanted, seen)
        if progress is not None:
            progress(row.case)
    return problems


def _table_problems(cohort: Cohort) -> Iterator[Problem]:
    """Yield what can be seen without opening an image."""
    for case in cohort.duplicate_cases():
        yield Problem(
            case,
            "error",
            f"{case}: the case stands in more than one row.",
            expected="one row a case",
            do="give each examination a name of its own",
        )
    for patient, splits in cohort.leaking_patients().items():
        cases = [row.case for row in cohort.rows if row.patient == patient]
        yield Problem(
            cases[0],
            "error",
            f"Patient {patient} stands in more than one split.",
            found=f"{', '.join(cases)} in {', '.join(splits)}",
            expected="all cases of a patient in one split",
            do="correct the split column",
        )
    for split in SPLITS:
        if not cohort.select(split):
            yield Problem(
                "cohort",
                "warning",
                f"The split {split} is empty.",
                found=f"{len({row.patient for row in cohort.rows})} patient(s) in all",
                do="add patients, or move some in the split column",
            )


def _case_problems(row: CaseRow, wanted: Sequence[str], seen: dict[bytes, tuple[CaseRow, str]]) -> Iterator[Problem]:
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
            image = read_image(path, name) if is_contrast(name) else read_mask(path, name)
        except InputError as error:
            yield _of_error(row.case, error)
            continue
        yield from _image_problems(row, image, path)
        if is_contrast(name):
            yield from _copies(row, image, seen)
        images.append(image)
    # Against the grid that most images share, so that the odd one is named.
    agreeing = [sum(same_grid(one, other) for other in images) for one in images]
    for image in images:
        if other_grid := grid_error(row.case, images[agreeing.index(max(agreeing))], image):
            yield _of_error(row.case, other_grid)


def _of_error(case: str, error: InputError) -> Problem:
    found, expected = (None if value is None else str(value) for value in (error.found, error.expected))
    return Problem(case, "error", error.what, found, expected, error.do)


def _image_problems(row: CaseRow, image: Image, path: Path) -> Iterator[Problem]:
    """Yield what is odd about the voxels of a readable image or mask."""
    if image.contrast == "brain" and not image.data.any():
        yield Problem(
            row.case, "error", f"{path}: the brain mask is empty.", expected="a brain", do="make the mask again"
        )
    if is_contrast(image.contrast) and image.contrast != "ct" and float(image.data.min()) < 0:
        negative = int(np.count_nonzero(image.data < 0))
        yield Problem(
            row.case,
            "warning",
            f"{path}: the image has negative voxels.",
            found=f"{negative} ({100 * negative / image.data.size:.2g} %), down to {float(image.data.min()):.4g}",
            expected="magnitudes (negative ones mostly come from interpolation)",
            do="nothing, if the recipe clips at 0",
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
