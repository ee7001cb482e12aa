"""Two images of a case that are the same contrast: one is taken with a stated reason, or neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.evidence import UNSURE
from mrsynth.io.locator import split_locator

CRITERIA: tuple[tuple[str, str, float], ...] = (
    ("asked", "of the derivative that was asked for", 0),
    ("native", "in the patient's own space", 0),
    ("unprocessed", "as it was acquired, without later steps", 0),
    ("without_agent", "acquired before contrast agent", 0),
    ("says_native", "says that no agent was given", 0),
    ("original", "original, not derived", 0),
    ("acquired", "acquired so, not reformatted", 0),
    ("trace", "made of all directions by the scanner", 0),
    ("soft", "with the kernel for soft tissue", 0),
    ("corrected", "corrected for the gradients' distortion", 0),
    ("coverage_mm", "covers more of the head", 1.3),
    ("voxels", "has more voxels", 1.5),
)
"""(trait, what the better image has, how many times as much it must be; 0: any more), the first that tells counts."""

SAME_MOMENT_S = 60.0
"""Images acquired so near to each other are not before and after an injection."""

COMMON_PART = 0.5
"""Two tries of an image show the same part of the head: at least this share of the shorter one lies in the other."""


def pick_images(images: Iterable[Found]) -> list[Found]:
    """Return the images with at most one of a case and contrast in use; the others are IGNORE, with the reason.

    Quality decides between tries of one image alone. Images of other parts of the body, or of before and after what may
    have been an injection, are not that: there nothing is taken, and the user is asked.
    """
    picked = list(images)
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, image in enumerate(picked):
        if image.contrast != IGNORE:
            groups[image.patient, image.case, image.contrast].append(i)
    for (_, _, contrast), members in groups.items():
        if len(members) < 2:
            continue
        tries = [picked[i] for i in members]
        names = _short_names(tries)
        if why := _no_tries(tries):
            for i in members:
                told = f"{UNSURE}{' and '.join(names)} both mean {contrast}, but {why} ({picked[i].reason})"
                picked[i] = picked[i].unused(told)
            continue
        best, why = _best(tries)
        for i, name in zip(members, names, strict=True):
            others = " and ".join(other for other in names if other != name)
            if best is None:
                told = f"{UNSURE}{' and '.join(names)} both mean {contrast}: keep one of them{why} ({picked[i].reason})"
                picked[i] = picked[i].unused(told)
            elif i == members[best]:
                picked[i] = replace(picked[i], reason=f"{picked[i].reason}; taken before {others}: {why}")
            else:
                reason = f"{contrast} too, but {names[best]} was taken: {why} ({picked[i].reason})"
                picked[i] = picked[i].unused(reason)
    return picked


def _no_tries(images: Sequence[Found]) -> str | None:
    """Return why images of one contrast are not tries of one image, None where they may be."""
    for one, other in combinations((image.traits for image in images), 2):
        if one.get("axis", -1.0) != other.get("axis", -2.0):
            continue
        common = min(one["high_mm"], other["high_mm"]) - max(one["low_mm"], other["low_mm"])
        shorter = min(t["high_mm"] - t["low_mm"] for t in (one, other))
        if shorter > 0 and common < COMMON_PART * shorter:
            return "they show different parts: halves of one stack, or another part of the body?"
    return None


def _best(images: Sequence[Found]) -> tuple[int | None, str]:
    """Return which image is better than all others by one criterion, and by which; None, and what to ask, where none
    is."""
    left = list(range(len(images)))
    reasons: list[str] = []
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
            return (
                (None, "; ".join(["", asked])) if (asked := _asked(images, left[0])) else (left[0], ", ".join(reasons))
            )
    return None, ""


def _asked(images: Sequence[Found], best: int) -> str:
    """Return what to ask where the better image was acquired later and says nothing of an agent, "" else."""
    traits = images[best].traits
    moments = [image.traits["moment_s"] for image in images if "moment_s" in image.traits]
    if "moment_s" not in traits or traits.get("says_native") or traits["moment_s"] - min(moments) <= SAME_MOMENT_S:
        return ""
    minutes = (traits["moment_s"] - min(moments)) / 60
    return f"the better one was acquired {minutes:.0f} minutes later: after contrast agent?"


def _short_names(images: Sequence[Found]) -> list[str]:
    """Return a name for each image, by file or series, longer where they would be the same."""
    names = []
    for image in images:
        file, selection = split_locator(image.path)
        names.append(" ".join(f"{key} {value}" for key, value in selection.items()) or file.name)
    return names if len(set(names)) == len(names) else [str(image.path) for image in images]
