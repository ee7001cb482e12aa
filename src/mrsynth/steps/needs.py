"""What a preparation needs of a case: which images are read, and whether they are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mrsynth.core.types import b_of


def contrasts_to_read(
    files: Collection[str], contrasts: Sequence[str], steps: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what to read of a case: for an ADC that the steps will fit, the diffusion-weighted images.

    Args:
        files: contrasts and masks that the case has.
        contrasts: what is wanted.
        steps: of the recipe.
    """
    if "adc" in contrasts and "adc" not in files and any("adc" in step for step in steps):
        weighted = [name for name in files if b_of(name) is not None]
        return [name for name in contrasts if name != "adc"] + (weighted or ["adc"])
    return list(contrasts)


def is_at_hand(files: Collection[str], contrast: str, steps: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a case has a contrast, or, where the steps fit an ADC, two diffusion-weighted images or more.

    Args:
        files: contrasts and masks that the case has.
        contrast: what is wanted.
        steps: of the recipe.
    """
    found = contrasts_to_read(files, [contrast], steps)
    return all(name in files for name in found) and (found == [contrast] or len(found) > 1)
