"""What the voxels of a mask speak for: whether it may be a brain, and which convention the labels of lesions follow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.text import counted
from mrsynth.index.corrections import FoundCase
from mrsynth.index.evidence import DOUBT, TAG, Vote
from mrsynth.io.labels import assume
from mrsynth.io.nifti_stream import read_labels

BRAIN_ML = (100.0, 2500.0)
"""No brain mask is smaller (a few thick slices) or larger."""

SMALL_VIEW_ML = 500.0
"""In a field of view smaller than this a volume says nothing."""

MOST_LABELS = 20
"""A mask with more values is a map."""

_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"brats[-_ ]?ped", "brats-ped"),
    (r"brats[-_ ]?met", "brats-met"),
    (r"brats[-_ ]?(?:men|ssa|africa)", "brats2023"),
    (r"brats[-_ ]?gli-\d+-[1-9]\d\d", "brats2024"),
    (r"brats[-_ ]?(?:20)?(?:17|18|19|20|21)(?!\d)", "brats2021"),
    (r"isles|strokecase|atlas|infarct|stroke|wmh", "binary"),
    (r"(?:^|[\W_])(?:open)?ms(?:[\W_\d]|$)|msseg|plaque|gold_standard", "ms"),
    (r"phantom-\d{4}", "mrsynth"),
)
"""(words of names, convention): data sets that are told by their names. Of BraTS' glioma set the time points from 100
on are those of 2024."""


def mask_evidence(path: Path, kind: Sequence[Vote]) -> list[Vote]:
    """Return what the voxels of a mask speak against.

    A brain mask is looked into where its name says `mask` alone.

    Args:
        path: The mask.
        kind: What its name says.
    """
    answers = {vote.answer for vote in kind}
    bare = any(vote.reason == "its name says mask" for vote in kind)
    if "lesion" not in answers and not bare:
        return []
    looked_at = _looked_at(path, path.stat().st_mtime_ns)
    if looked_at is None:
        return []
    labels, volume_ml, view_ml = looked_at
    if len(labels) > MOST_LABELS:
        return [Vote(DOUBT, TAG, "it holds more than 20 different values: no mask")]
    if bare and view_ml > SMALL_VIEW_ML and not BRAIN_ML[0] <= volume_ml <= BRAIN_ML[1]:
        return [Vote(DOUBT, TAG, f"it holds {volume_ml:.0f} mL: a brain has {BRAIN_ML[0]:.0f} to {BRAIN_ML[1]:.0f} mL")]
    return []


def assume_conventions(cases: Sequence[FoundCase]) -> tuple[dict[str, str], list[str]]:
    """Return the convention of lesion labels of each case, by the names and labels of its whole data set.

    Args:
        cases: The cases that were found.

    Returns:
        Case → convention, without those that cannot be told; and what was assumed or is to be said, in words.
    """
    families: dict[str, list[FoundCase]] = defaultdict(list)
    for case in cases:
        if "lesion" in case.files:
            families[_family(case)].append(case)
    conventions: dict[str, str] = {}
    told = []
    for family, members in families.items():
        labels: set[int] = set()
        for case in members:
            path = case.files["lesion"]
            if path.is_file() and (looked_at := _looked_at(path, path.stat().st_mtime_ns)):
                labels |= set(looked_at[0])
        name, why = _convention(family, labels - {0})
        shown = f"lesion labels of {counted(len(members), 'case')} like {members[0].case}"
        if name is None:
            told.append(f"{shown}: {why}. Say it with --labels, or in the column labels")
            continue
        told.append(f"{shown}: taken as {name}, for {why}")
        conventions |= {case.case: name for case in members}
    return conventions, told


def _convention(family: str, labels: set[int]) -> tuple[str | None, str]:
    """Return the convention of a data set and what speaks for it."""
    seen = "labels " + ", ".join(map(str, sorted(labels))) if labels else "no label"
    by_name = next((name for pattern, name in _BY_NAME if re.search(pattern, family, re.I)), None)
    if by_name in ("binary", "ms") and not labels <= {1, 255}:
        by_name = None
    if by_name is not None:
        return by_name, f"its names, and {seen} are there"
    if "brats" in family.lower() and 4 in labels and 3 in labels:
        return "brats2024", f"its names, and {seen} are there"
    if (name := assume(labels)) is not None:
        return name, f"{seen} are there"
    return None, f"{seen} are there, which mean different things in brats2024 and brats-ped"


def _family(case: FoundCase) -> str:
    """Return what the names of a data set's cases share: letters, with years and times of visits."""
    name = case.case
    for pattern, convention in _BY_NAME:
        if re.search(pattern, f"{name} {case.files['lesion'].name}", re.I):
            return f"{re.search(pattern, f'{name} ' + case.files['lesion'].name, re.I).group()} {convention}"  # type: ignore[union-attr]
    return re.sub(r"\d+", "", name)[:20] if "brats" in name.lower() else str(case.files["lesion"].parent.parent)


@lru_cache(maxsize=4096)
def _looked_at(path: Path, changed_ns: int) -> tuple[tuple[int, ...], float, float] | None:
    """Return a mask's labels (too many where its values are no labels), its volume and that of its field of view in mL;
    None where it cannot be read."""
    try:
        values, layout, odd = read_labels(path)
    except InputError:
        return None
    labels = np.flatnonzero(np.bincount(values.ravel(order="K"), minlength=256)).tolist()
    voxel_ml = abs(float(np.linalg.det(layout.affine[:3, :3]))) / 1000.0
    volume_ml = float(np.count_nonzero(values)) * voxel_ml
    return tuple(labels if odd is None else range(MOST_LABELS + 1)), volume_ml, values.size * voxel_ml
