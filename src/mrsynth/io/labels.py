"""What the numbers of a lesion mask mean: each data set has a convention of its own, masks in memory have ours.

The same number means different things: 4 is enhancing tumour in BraTS 2018–2021, a resection cavity in 2024, oedema in
the paediatric set. A cohort table names the convention in the column `labels`; `mrsynth index` fills it in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.core.settings import nearest
from mrsynth.core.types import LESION_LABELS
from mrsynth.io.nifti import read_mask

COLUMN = "labels"
"""The column of a cohort table that names the convention of its lesion masks."""

NECROSIS, OEDEMA, ENHANCING, ENHANCING_4, NON_ENHANCING, PLAQUE, CAVITY, CYST, LESION = range(1, 10)

CONVENTIONS: Mapping[str, Mapping[int, int]] = {
    "brats2021": {1: NECROSIS, 2: OEDEMA, 4: ENHANCING_4},
    "brats2023": {1: NECROSIS, 2: OEDEMA, 3: ENHANCING},
    "brats2024": {1: NON_ENHANCING, 2: OEDEMA, 3: ENHANCING, 4: CAVITY},
    "brats-met": {1: NON_ENHANCING, 2: OEDEMA, 3: ENHANCING},
    "brats-ped": {1: ENHANCING, 2: NON_ENHANCING, 3: CYST, 4: OEDEMA},
    "ms": {1: PLAQUE},
    "binary": {1: LESION, 255: LESION},
    "mrsynth": {number: number for number in LESION_LABELS},
}
"""Convention → number in the file → number in `core.types.LESION_LABELS`.

brats2021: Baid et al. 2021 (arXiv 2107.02314), the same since 2017; brats2023: also the sets MEN and SSA; brats2024: de
Verdier et al. 2024 (arXiv 2405.18368, post-treatment glioma); brats-met: Moawad et al. 2023 (arXiv 2306.00838);
brats-ped: Kazerooni et al. 2024 (arXiv 2404.15009); mrsynth: the phantoms, and what mrsynth writes."""

ALIASES = {
    **{f"brats{year}": "brats2021" for year in range(2017, 2021)},
    "brats-men": "brats2023",
    "brats-ssa": "brats2023",
    "brats-gli": "brats2024",
    "isles": "binary",
    "atlas": "binary",
    "wmh": "binary",
    "stroke": "binary",
}


def convention_of(text: str, where: str) -> str:
    """Return the convention that a cell or option means.

    Args:
        text: A name of CONVENTIONS or ALIASES, in upper or lower case.
        where: The file or option, for the message.

    Returns:
        A key of CONVENTIONS.

    Raises:
        InputError: There is no such convention; the nearest one is named.
    """
    name = text.strip().lower()
    name = ALIASES.get(name, name)
    if name in CONVENTIONS:
        return name
    raise InputError(
        f"{where}: '{text}' is no convention of lesion labels.",
        expected="one of " + ", ".join((*CONVENTIONS, *ALIASES)),
        do=nearest(name, [*CONVENTIONS, *ALIASES]),
    )


def assume(labels: Collection[int]) -> str | None:
    """Return the convention that a set of labels alone suggests, None where several with other meanings fit.

    1 alone is a binary mask; 5 and above is the phantoms'; 4 without 3 is BraTS until 2021, 3 without 4 BraTS 2023.
    With both 3 and 4 it may be BraTS 2024 or the paediatric set, which contradict each other.
    """
    numbers = set(labels) - {0}
    if numbers <= {1} or numbers == {255}:
        return "binary"
    if {3, 4} <= numbers or not numbers <= set(LESION_LABELS):
        return None
    if numbers & {5, 6, 7, 8, 9}:
        return "mrsynth"
    return "brats2023" if 3 in numbers else "brats2021"


def read_lesion(path: Path, convention: str = "") -> Image:
    """Read a lesion mask with the labels of `core.types.LESION_LABELS`.

    Args:
        path: A NIfTI file.
        convention: How its labels are meant (CONVENTIONS); "" where nobody said: labels that mean one thing in all
            conventions of tumours are taken as they are.

    Raises:
        InputError: As `read_mask` does; if a label does not belong to the convention; or if nobody said which one it is
            and the labels mean different things in several.
    """
    mask = read_mask(path, "lesion")
    labels = np.unique(mask.data).tolist()
    if convention:
        name = convention_of(convention, str(path))
    elif assume(labels) is None:
        raise InputError(
            f"{path}: what its labels mean is not known.",
            found="labels " + ", ".join(map(str, labels)),
            expected="a column `labels` that names their convention: " + ", ".join(CONVENTIONS),
            do="add the column (4 is a resection cavity in brats2024, oedema in brats-ped), or index with --labels",
        )
    else:
        return mask
    meaning = CONVENTIONS[name]
    if odd := sorted(set(labels) - {0, *meaning}):
        told = ", ".join(f"{number} {LESION_LABELS[ours]}" for number, ours in meaning.items())
        raise InputError(
            f"{path}: labels do not belong to the convention {name}.",
            found="labels " + ", ".join(map(str, odd)),
            expected=told,
            do="name another convention in the column `labels`",
        )
    table = np.zeros(256, np.uint8)
    table[list(meaning)] = list(meaning.values())
    return replace(mask, data=np.asfortranarray(table[mask.data]))
