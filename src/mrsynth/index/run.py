"""mrsynth index: a folder of scans → the cohort table, and beside it every image seen, with the reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from mrsynth.core.errors import CohortError, InputError
from mrsynth.core.files import printable
from mrsynth.core.ownership import replace_keeping
from mrsynth.core.text import counted
from mrsynth.core.types import in_order
from mrsynth.index.corrections import first_correction, found_table, write_found
from mrsynth.index.evidence import UNSURE
from mrsynth.index.find import IndexedCohort, index_folder
from mrsynth.index.people import describe_people
from mrsynth.io import write_cohort
from mrsynth.io.walk import Ignored

SHOWN = 12
"""Groups of cases, and things left out, that the terminal shows before it counts the rest."""


def index(
    folder: Path,
    out: Path,
    seed: int = 0,
    *,
    derivatives: Sequence[str] = (),
    found: Path | None = None,
    labels: str = "",
    workers: int = 1,
) -> tuple[IndexedCohort, Path | None]:
    """Find the cases below a folder, split them by patient, and write the cohort table and its found table.

    Args:
        folder: Where to look.
        out: The cohort table to write.
        seed: Of the split.
        derivatives: Names of BIDS derivatives to use.
        found: A found table that the user has corrected: its word counts more than what is found.
        labels: The convention of all lesion masks, "" to assume it.
        workers: Processes that look into many DICOM files.

    Returns:
        The cohort, and where the cohort table is kept that this one has replaced (<out>.bak), if there was another.

    Raises:
        CohortError: The found table beside it holds corrections and `found` is not given: they would be lost.
    """
    cohort = index_folder(folder, seed=seed, derivatives=derivatives, corrections=found, labels=labels, workers=workers)
    table = found_table(out)
    if found is None and table.exists() and (line := _correction(table)):
        raise CohortError(
            f"{table}: holds corrections, which would be lost.",
            found=line,
            do=f"give --found {table} to use them, or remove the file to begin anew",
        )
    previous = replace_keeping(out, partial(write_cohort, cohort))
    write_found(cohort.found, table)
    return cohort, previous


def _correction(table: Path) -> str | None:
    """Return a found table's first correction, None where it has none; raises CohortError where the file is none."""
    try:
        return first_correction(table)
    except (InputError, CohortError) as error:
        raise CohortError(
            f"{table}: is not a found table, and would be overwritten.",
            found=str(error).splitlines()[0],
            do="give the cohort table another name with -o, or remove the file",
        ) from error


def describe(cohort: IndexedCohort, out: Path, previous: Path | None) -> list[str]:
    """Return the lines that `mrsynth index` prints: cases, contrasts, patients, what was left out, with the reasons.

    Args:
        cohort: What was found.
        out: Where its table stands.
        previous: Where the cohort table is kept that this one has replaced.
    """
    patients = {row.patient for row in cohort.rows}
    splits = Counter(row.split for row in cohort.rows)
    images = Counter(name for row in cohort.rows for name in row.files)
    asked = [item for item in cohort.ignored if item.reason.startswith(UNSURE)]
    rest = [item for item in cohort.ignored if not item.reason.startswith(UNSURE)]
    lines = [
        f"{counted(len(cohort.rows), 'case')} of {counted(len(patients), 'patient')} in {out}",
        "  split:  " + ", ".join(f"{name} {n}" for name, n in splits.items()),
        "  images: " + ", ".join(f"{name} {images[name]}" for name in in_order(images)),
        *_recognised(cohort),
        "  patients:",
        *(f"    {line}" for line in describe_people(cohort.found)),
        *(f"    {line}" for line in cohort.told),
        *_listed("unsure, say what they are in the found table", asked),
        *_listed("left out", rest),
        *([f"The cohort table that this one replaced is {previous}"] if previous else []),
        f"Every image seen stands in {found_table(out)}: correct contrast, patient or case there, then",
        f"  mrsynth index DIR --found {found_table(out)} -o {out}",
    ]
    return [printable(line) for line in lines]  # names of files may hold line breaks and escape sequences


def _recognised(cohort: IndexedCohort) -> Iterator[str]:
    """Yield case by case what was recognised and why; cases that agree in all of it are told once."""
    reasons = {(image.case, image.contrast): image.reason for image in cohort.found}
    alike: dict[tuple[tuple[str, str], ...], list[str]] = defaultdict(list)
    for row in cohort.rows:
        alike[tuple((name, reasons.get((row.case, name), "")) for name in in_order(row.files))].append(row.case)
    groups = sorted(alike.items(), key=lambda group: -len(group[1]))
    for signature, cases in groups[:SHOWN]:
        yield f"  {cases[0]}" + (f" and {len(cases) - 1} like it, to {cases[-1]}" if len(cases) > 1 else "")
        width = max(len(name) for name, _ in signature)
        yield from (f"    {name:<{width}}  {reason}" for name, reason in signature)
    if rest := groups[SHOWN:]:
        more = sum(len(cases) for _, cases in rest)
        yield f"  and {more} more case{'s' * (more != 1)}"


def _listed(title: str, ignored: Sequence[Ignored]) -> Iterator[str]:
    """Yield what was not used, the same reason told once."""
    if not ignored:
        return
    yield f"  {title} ({len(ignored)}):"
    by_reason: dict[str, list[Ignored]] = defaultdict(list)
    for item in ignored:
        by_reason[item.reason.removeprefix(UNSURE)].append(item)
    for reason, items in list(by_reason.items())[:SHOWN]:
        more = f" and {len(items) - 1} more" if len(items) > 1 else ""
        yield f"    {items[0].path}{more}: {reason}"
    if len(by_reason) > SHOWN:
        yield f"    and {sum(len(items) for items in list(by_reason.values())[SHOWN:])} more"
