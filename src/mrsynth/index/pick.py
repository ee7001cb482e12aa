"""Two images of a case that are the same contrast: one is taken with a stated reason, or neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mrsynth.index.corrections import IGNORE, Found
from mrsynth.io.locator import split_locator

CRITERIA: tuple[tuple[str, str, float], ...] = (
    ("asked", "of the derivative that was asked for", 0),
    ("native", "in the patient's own space", 0),
    ("without_agent", "acquired before contrast agent", 0),
    ("original", "original, not derived", 0),
    ("acquired", "acquired so, not reformatted", 0),
    ("trace", "made of all directions by the scanner", 0),
    ("soft", "with the kernel for soft tissue", 0),
    ("corrected", "corrected for the gradients' distortion", 0),
    ("coverage_mm", "covers more of the head", 1.3),
    ("voxels", "has more voxels", 1.5),
)
"""(trait, what the better image has, how many times as much it must be; 0: any more), the first that tells counts."""


def choose(found: Iterable[Found]) -> list[Found]:
    """Return the images with at most one a case and contrast in use; the others are IGNORE, with the reason."""
    images = list(found)
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        if image.contrast != IGNORE:
            groups[image.patient, image.case, image.contrast].append(i)
    for (_, _, contrast), members in groups.items():
        if len(members) < 2:
            continue
        names = _short([images[i] for i in members])
        best, why = _best([images[i] for i in members])
        for i, name in zip(members, names, strict=True):
            others = " and ".join(other for other in names if other != name)
            if best is None:
                both = " and ".join(names)
                images[i] = images[i].unused(f"{both} both mean {contrast}: keep one of them ({images[i].reason})")
            elif i == members[best]:
                images[i] = replace(images[i], reason=f"{images[i].reason}; taken before {others}: {why}")
            else:
                reason = f"{contrast} too, but {names[best]} was taken: {why} ({images[i].reason})"
                images[i] = images[i].unused(reason)
    return images


def _best(images: Sequence[Found]) -> tuple[int | None, str]:
    """Return which image is better than all others by one criterion, and by which; None where none is."""
    left = list(range(len(images)))
    reasons = []
    for trait, words, ratio in CRITERIA:
        known = {i: images[i].traits.get(trait) for i in left}
        if any(value is None for value in known.values()):
            continue
        most = max(value for value in known.values() if value is not None)
        kept = [i for i in left if (known[i] or 0) == most or (ratio and (known[i] or 0) * ratio > most)]
        if len(kept) < len(left):
            left = kept
            reasons.append(words)
        if len(left) == 1:
            return left[0], ", ".join(reasons)
    return None, ""


def _short(images: Sequence[Found]) -> list[str]:
    """Return a name for each image, by file or series, longer where they would be the same."""
    names = []
    for image in images:
        file, selection = split_locator(image.path)
        names.append(" ".join(f"{key} {value}" for key, value in selection.items()) or file.name)
    return names if len(set(names)) == len(names) else [str(image.path) for image in images]
