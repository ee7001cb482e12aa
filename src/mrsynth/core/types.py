"""Names that all rows share: contrasts, masks, and the spellings of other conventions that map onto them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from mrsynth.core.errors import InputError

CONTRASTS: tuple[str, ...] = ("t1", "t1ce", "t1ld", "t2", "flair", "adc", "dwi", "ct")
"""The images of a case. t1ld is a T1 after a fraction of the full contrast dose. Beside these a case may hold the
diffusion-weighted images that an ADC is fitted from, one a b-value: dwi_b0, dwi_b500, dwi_b1000 …"""

_DIFFUSION = re.compile(r"(?:dwi_?)?b_?([0-9]{1,5})", re.IGNORECASE)

MASKS: tuple[str, ...] = ("brain", "lesion", "enhancing")
"""The masks of a case. `lesion` holds integer labels, the others 0 and 1."""

LESION_LABELS: dict[int, str] = {
    1: "necrosis",
    2: "oedema",
    3: "enhancing",
    4: "enhancing",
    5: "non_enhancing_tumour",
    6: "ms_plaque",
    7: "resection_cavity",
    8: "cystic_component",
    9: "lesion",
}
"""Label values of `lesion` masks in memory; 9 is a lesion of no named kind. Those of a file follow the data set's own
convention and are brought to these when a case is read (`io.labels`)."""

AIR_HU = -1024.0
"""What a CT stores outside the reconstructed body. Lower values are padding, stored as −2000 or −3024."""

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
    if found := _DIFFUSION.fullmatch(name):
        return dwi_name(int(found.group(1)))
    return name if name in CONTRASTS or name in MASKS else None


def dwi_name(b_s_mm2: int) -> str:
    """Return the name of the diffusion-weighted image at a b-value."""
    return f"dwi_b{b_s_mm2}"


def b_of(name: str) -> int | None:
    """Return the b-value in s/mm² that a contrast's name carries (dwi_b1000 → 1000), None for all others."""
    found = re.fullmatch(r"dwi_b([0-9]+)", name)
    return int(found.group(1)) if found else None


def is_contrast(name: str) -> bool:
    """Say whether a name is that of an image (and not of a mask or of nothing)."""
    return name in CONTRASTS or b_of(name) is not None


def in_order(names: Iterable[str]) -> list[str]:
    """Return the contrasts among the names in the order of CONTRASTS, diffusion-weighted ones after them by b-value,
    then the masks."""
    given = set(names)
    weighted = sorted((name for name in given if b_of(name) is not None), key=lambda name: b_of(name) or 0)
    return [n for n in CONTRASTS if n in given] + weighted + [n for n in MASKS if n in given]


def contrast_name(spelling: str) -> str:
    """Return the contrast that a spelling means (case-insensitive); raises InputError that names the nearest one."""
    name = image_name(spelling)
    if name is not None and is_contrast(name):
        return name
    near = difflib.get_close_matches(spelling.lower(), [*CONTRASTS, *ALIASES], n=1)
    raise InputError(
        f"'{spelling}' is not a contrast.",
        expected="one of " + ", ".join(CONTRASTS) + ", or dwi_b<b-value in s/mm²>",
        do=f"did you mean '{near[0]}'?" if near else None,
    )
