"""A cohort: one row an examination, its patients put into splits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mrsynth.core.errors import CohortError
from mrsynth.core.files import why_unsafe
from mrsynth.core.seeds import generator
from mrsynth.core.types import in_order, is_contrast

SPLITS = ("train", "val", "test")

FRACTIONS = (0.64, 0.16, 0.20)
"""Default shares of patients in train, val and test: 80 / 20, and 20 % of the 80 for validation."""

_SPLIT_WORDS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


@dataclass(frozen=True)
class CaseRow:
    """One row.

    Attributes:
        patient, case: their names.
        split: "train", "val", "test".
        b0_tesla: field strength.
        dose: fraction of the full contrast dose of t1ld.
        files: contrast or mask name → path.
        metadata: the table's other columns, as text.
    """

    patient: str
    case: str
    split: str
    files: Mapping[str, Path]
    b0_tesla: float | None = None
    dose: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cohort:
    """The rows of a table.

    Attributes:
        rows: in the table's order.
        remarks: what was unusual in its file and how it was taken, in words.
    """

    rows: tuple[CaseRow, ...]
    remarks: tuple[str, ...] = ()

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that any row has, in the order of `types`."""
        return tuple(name for name in in_order(n for row in self.rows for n in row.files) if is_contrast(name))

    def select(self, split: str) -> tuple[CaseRow, ...]:
        """Return the rows of a split."""
        return tuple(row for row in self.rows if row.split == split)

    def with_splits(self, split_of: Mapping[str, str]) -> Cohort:
        """Return the cohort with other splits, patient → split; patients without one are left out."""
        rows = tuple(replace(row, split=split_of[row.patient]) for row in self.rows if row.patient in split_of)
        return replace(self, rows=rows)

    def duplicate_cases(self) -> list[str]:
        """Return the case names that stand in more than one row."""
        return [case for case, n in Counter(row.case for row in self.rows).items() if n > 1]

    def unsafe_cases(self) -> dict[str, str]:
        """Return the case names that cannot be those of folders of results, each with the reason."""
        return {row.case: problem for row in self.rows if (problem := why_unsafe(row.case))}

    def leaking_patients(self) -> dict[str, list[str]]:
        """Return the patients that stand in more than one split, each with its splits."""
        splits: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            splits[row.patient].add(row.split)
        return {patient: sorted(found) for patient, found in splits.items() if len(found) > 1}


def split_patients(
    patients: Sequence[str], fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> dict[str, str]:
    """Draw a split for each patient; the same patients, in any order, and the same seed give the same splits.

    Shares are rounded by largest remainder. From three patients on no split with a share above 0 stays empty.

    Args:
        patients: their names; a name may stand there several times.
        fractions: shares of train, val and test; their sum may be any number above 0.
        seed: of the draw.

    Returns:
        Patient → split.

    Raises:
        CohortError: where a fraction is negative or all are 0.
    """
    if min(fractions) < 0 or sum(fractions) <= 0:
        raise CohortError(
            "The split fractions cannot be used.", found=fractions, expected="three shares, none negative"
        )
    names = sorted(set(patients))
    shares = [f / sum(fractions) * len(names) for f in fractions]
    counts = [int(share) for share in shares]
    order = sorted(range(3), key=lambda i: counts[i] - shares[i])
    for i in order[: len(names) - sum(counts)]:
        counts[i] += 1
    for i in range(3):
        if counts[i] == 0 and fractions[i] > 0 and len(names) >= 3:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    labels = [split for split, n in zip(SPLITS, counts, strict=True) for _ in range(n)]
    drawn = generator(seed, "split").permutation(len(names))
    return {names[j]: label for j, label in zip(drawn, labels, strict=True)}


def patient_of(name: str) -> str:
    """Return the patient that a case name belongs to.

    sub-X_ses-Y → sub-X (BIDS), BraTS-GLI-00000-001 → BraTS-GLI-00000 (the last group is the time point), 113-02 → 113
    (subject and scan of Kirby 21); any other name is its own patient.
    """
    for pattern in (
        r"(sub-[^\W_]+)",
        r"(BraTS(?:-[A-Za-z]+)+-\d+)-\d{1,3}$",
        r"(UPENN-GBM-\d+)_\d\d$",
        r"(\d+)-\d{1,2}$",
    ):
        if found := re.match(pattern, name, flags=re.I):
            return found.group(1)
    return name


def parse_number(text: str, key: str, where: str) -> float | None:
    """Return the number that a cell of the table means, None for an empty cell.

    Args:
        text: the cell.
        key: "b0_tesla" for a field strength (tesla, above 0, below 100), "dose" for a share of the full dose (0 to 1).
        where: table and line, for the message.

    Raises:
        CohortError: where the cell holds no number, or one outside of these bounds.
    """
    if not text:
        return None
    expected = "tesla, above 0" if key == "b0_tesla" else "a fraction of the full dose, 0 to 1"
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (0 < value < 100 if key == "b0_tesla" else 0 <= value <= 1):
        do = f"write {text.replace(',', '.')}" if "," in text else None
        raise CohortError(f"{where}: {key} is not usable.", found=repr(text), expected=expected, do=do)
    return value


def parse_split(text: str, where: str) -> str:
    """Return the split that a cell means, "" for an empty one.

    Args:
        text: the cell; also training, validation, valid and testing are understood, in any case.
        where: table and line, for the message.

    Raises:
        CohortError: where the cell names no split.
    """
    word = _SPLIT_WORDS.get(text.lower(), text.lower())
    if word and word not in SPLITS:
        raise CohortError(f"{where}: unknown split.", found=repr(text), expected=", ".join(SPLITS))
    return word


def require_sound(cohort: Cohort, where: str) -> Cohort:
    """Return the cohort unchanged, where its cases and splits can be used.

    Args:
        cohort: what is judged.
        where: the table, for the message.

    Raises:
        CohortError: where a case has a name that no folder can have, a case stands twice, or a patient stands in two
            splits.
    """
    for case, problem in cohort.unsafe_cases().items():
        raise CohortError(
            f"{where}: {case!r} cannot name a case.", found=problem, do="give it another name in the column case"
        )
    if twice := cohort.duplicate_cases():
        raise CohortError(
            f"{where}: a case name stands in more than one row.",
            found=", ".join(twice[:5]),
            expected="one row a case",
            do="give each examination a name of its own",
        )
    if leaks := cohort.leaking_patients():
        patient, splits = next(iter(leaks.items()))
        raise CohortError(
            f"{where}: {len(leaks)} patient(s) stand in more than one split.",
            found=f"{patient} in {' and '.join(splits)}",
            expected="all cases of a patient in one split",
            do="correct the split column, or remove it to have patients split anew",
        )
    return cohort
