"""Names that all rows share: contrasts, masks, and the spellings of other conventions that map onto them."""

from __future__ import annotations

import difflib

from mrsynth.errors import InputError

CONTRASTS: tuple[str, ...] = ("t1", "t1ce", "t1ld", "t2", "flair", "adc", "dwi", "ct")
"""The images of a case. t1ld is a T1 after a fraction of the full contrast dose."""

MASKS: tuple[str, ...] = ("brain", "lesion", "enhancing")
"""The masks of a case. `lesion` holds integer labels, the others 0 and 1."""

LESION_LABELS: dict[int, str] = {
    1: "necrosis",
    2: "oedema",
    3: "enhancing",
    4: "enhancing",
    5: "non_enhancing_tumour",
    6: "ms_plaque",
}
"""Label values of `lesion` masks: BraTS (1 necrosis, 2 oedema, 3 or 4 enhancing by year), above 4 the phantom's."""

ALIASES: dict[str, str] = {
    "t1n": "t1",
    "t1w": "t1",
    "mprage": "t1",
    "t1c": "t1ce",
    "t1gd": "t1ce",
    "t1post": "t1ce",
    "t1ce": "t1ce",
    "t2w": "t2",
    "t2f": "flair",
    "fla": "flair",
    "seg": "lesion",
    "gold_standard": "lesion",
    "msk": "lesion",
    "mask": "brain",
    "brainmask": "brain",
    "brain_mask": "brain",
}
"""Spellings of BraTS, BIDS and the public data sets, lower case."""


def image_name(spelling: str) -> str | None:
    """Return the contrast or mask name that a spelling means (case-insensitive), None where it means nothing here."""
    name = spelling.lower()
    name = ALIASES.get(name, name)
    return name if name in CONTRASTS or name in MASKS else None


def contrast_name(spelling: str) -> str:
    """Return the contrast that a spelling means (case-insensitive); raises InputError that names the nearest one."""
    name = image_name(spelling)
    if name in CONTRASTS:
        return str(name)
    near = difflib.get_close_matches(spelling.lower(), [*CONTRASTS, *ALIASES], n=1)
    raise InputError(
        f"'{spelling}' is not a contrast.",
        expected="one of " + ", ".join(CONTRASTS),
        do=f"did you mean '{near[0]}'?" if near else None,
    )
