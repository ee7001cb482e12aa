"""Slices put into volumes: one series may hold several b-values, echoes, time points, image types, orientations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mrsynth.io.dicom.frames import SPLITTERS, Frame, Series
from mrsynth.io.dicom.geometry import SAME_PLACE_MM, UNEVEN, normal_of, places

SAME_DIRECTION = 0.01
"""Direction cosines that differ by less (about half a degree) are those of one stack."""

SAME_ECHO = (0.05, 0.01)
"""Echo times that differ by less, in ms or as a share, are one echo: scanners compute them slice by slice."""

TURNING = 3
"""A series whose slices look in so many directions is a localizer, or shows a projection turning round."""


@dataclass(frozen=True)
class Group:
    """The slices of one volume.

    Attributes:
        series: that they belong to.
        stacks: one a direction or repetition of a b-value, all of one place, else a single one.
        b_s_mm2: nominal.
        echo: from 1 on, by echo time, where the series has several.
        volume: from 0 on, where b-value and echo do not name it alone.
        trace: made of all directions by the scanner.
    """

    series: Series
    stacks: tuple[tuple[Frame, ...], ...]
    b_s_mm2: int | None
    echo: int | None
    volume: int | None = None
    trace: bool = False


def group_series(frames: Sequence[Frame]) -> list[Group]:
    """Return the volumes of one series, by b-value, echo and order. Slices that nothing tells apart stay together."""
    if not any(frame.diffusion for frame in frames):
        frames = [replace(frame, b_s_mm2=None, direction=None) for frame in frames]
    echoes = echo_numbers(frames)
    several = len(set(echoes.values())) > 1
    stacks: dict[tuple[int, str, int | None, int | None, bool], list[Frame]] = defaultdict(list)
    for frame, turn in zip(frames, directions(frames), strict=True):
        trace = frame.direction == "isotropic"
        echo = None if frame.echo_ms is None else echoes[frame.echo_ms]
        stacks[turn, frame.image_type, echo, frame.b_s_mm2, trace].append(frame)
    groups = []
    for (_, _, number, b, trace), members in sorted(_whole_stacks(stacks).items(), key=lambda item: _order(item[0])):
        echo = number if several else None
        parts = split_repeats(members)
        if b is not None:
            groups.append(Group(frames[0].series, tuple(tuple(part) for part in parts), b, echo, None, trace))
        else:
            groups += [Group(frames[0].series, (tuple(part),), b, echo) for part in parts]
    return _numbered(groups)


Key = tuple[int, str, int | None, int | None, bool]


def _whole_stacks(stacks: dict[Key, list[Frame]]) -> dict[Key, list[Frame]]:
    """Join the parts of one stack whose ImageType changes midway: no part alone is a try of the image.

    Parts belong together where they have one direction, echo and kind (the first three values of ImageType), share no
    place, and make one even stack.
    """
    if len(stacks) < 2:
        return stacks
    alike: dict[tuple[object, ...], list[Key]] = defaultdict(list)
    for turn, image_type, echo, b, trace in stacks:
        alike[turn, *image_type.split("\\")[:3], echo, b, trace].append((turn, image_type, echo, b, trace))
    joined = dict(stacks)
    for keys in alike.values():
        whole = [frame for key in keys for frame in stacks[key]]
        if len(keys) > 1 and _is_even(whole):
            longest = max(keys, key=lambda key: len(stacks[key]))
            for key in keys:
                del joined[key]
            joined[longest] = whole
    return joined


def _is_even(frames: Sequence[Frame]) -> bool:
    """Say whether slices lie evenly, each in a place of its own, none of them between those of another part."""
    along = np.sort(np.array([frame.position for frame in frames]) @ normal_of(frames[0]))
    gaps = np.diff(along)
    if len(gaps) == 0 or gaps.min() <= SAME_PLACE_MM or np.ptp(gaps) > UNEVEN * max(1.0, float(gaps.min())):
        return False
    said = frames[0].between_mm
    return said is None or gaps.min() > 0.75 * said


def echo_numbers(frames: Sequence[Frame]) -> dict[float, int]:
    """Return echo time in ms → number of the echo, from 1 on; nearly equal times (SAME_ECHO) are one echo."""
    numbers: dict[float, int] = {}
    first = -np.inf
    for echo_ms in sorted({frame.echo_ms for frame in frames if frame.echo_ms is not None}):
        if echo_ms - first > max(SAME_ECHO[0], SAME_ECHO[1] * echo_ms):
            first = echo_ms
            numbers[echo_ms] = len(set(numbers.values())) + 1
        else:
            numbers[echo_ms] = numbers[first]
    return numbers


def directions(frames: Sequence[Frame]) -> list[int]:
    """Return for each slice the number of its orientation, from 0 on in the order in which they are met."""
    known: list[np.ndarray] = []
    turns = []
    for frame in frames:
        here = np.array(frame.orientation)
        found = next((i for i, turn in enumerate(known) if np.abs(turn - here).max() < SAME_DIRECTION), len(known))
        if found == len(known):
            known.append(here)
        turns.append(found)
    return turns


def split_repeats(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the slices as volumes in which no two share a place, as far as a tag tells them apart; else all as one.

    Looked at in order: the direction of diffusion, SPLITTERS, and in a diffusion series, whose volumes of one b-value
    are averaged anyway, the order of acquisition in each place.
    """
    slots = places(frames)
    copies = max(Counter(slots.tolist()).values())
    if copies == 1:
        return _phases(frames) or [list(frames)]
    ways: list[Callable[[Frame], object]] = [lambda frame: frame.direction]
    ways += [lambda frame, key=key: frame.splitters.get(key) for key in SPLITTERS]  # type: ignore[misc]
    for way in ways:
        if parts := _parted(frames, slots, way, copies):
            return parts
    if frames[0].b_s_mm2 is not None:
        in_place: dict[int, list[Frame]] = defaultdict(list)
        for frame, slot in zip(frames, slots, strict=True):
            in_place[int(slot)].append(frame)
        sorts = [sorted(found, key=lambda frame: frame.instance) for found in in_place.values()]
        even = all(len({frame.instance for frame in found}) == copies for found in sorts)
        if even:
            return [[found[i] for found in sorts] for i in range(copies)]
    return [list(frames)]


PHASES = ("ContrastBolusAgent", "TemporalPositionIdentifier", "AcquisitionNumber")
"""What tells phases apart whose slices stand between each other's."""


def _phases(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the volumes whose slices stand between each other's, where a tag tells them apart; else none.

    A phase is an even stack over most of the others' length, whose slices lie further apart than those of all together.
    Of the packages of an interleaved scan the file says that all together are as dense as they should be.
    """
    said = frames[0].between_mm
    step = _step(frames)
    for tag in PHASES:
        parts: dict[str | None, list[Frame]] = defaultdict(list)
        for frame in frames:
            parts[frame.splitters.get(tag)].append(frame)
        if not 2 <= len(parts) <= 4 or min(map(len, parts.values())) < 3:
            continue
        steps = [_step(part) for part in parts.values()]
        spans = [(_along(part).min(), _along(part).max()) for part in parts.values()]
        common = min(high for _, high in spans) - max(low for low, _ in spans)
        longest = max(high - low for low, high in spans)
        dense = said is None and (tag != "AcquisitionNumber" or frames[0].modality == "CT")
        if common > 0.5 * longest and min(steps) > 1.4 * step and (dense or (said is not None and said > 1.25 * step)):
            return [parts[value] for value in sorted(parts, key=_natural)]
    return []


def _along(frames: Sequence[Frame]) -> np.ndarray:
    return np.array([frame.position for frame in frames]) @ normal_of(frames[0])


def _step(frames: Sequence[Frame]) -> float:
    """Return the median distance of neighbouring slices in mm."""
    return float(np.median(np.diff(np.sort(_along(frames))))) if len(frames) > 1 else 0.0


def _parted(
    frames: Sequence[Frame], slots: np.ndarray, way: Callable[[Frame], object], copies: int
) -> list[list[Frame]] | None:
    """Return the slices by the value of a tag, if that gives as many volumes as slices in a place, none with two."""
    parts: dict[object, list[Frame]] = defaultdict(list)
    taken: set[tuple[object, int]] = set()
    for frame, slot in zip(frames, slots, strict=True):
        value = way(frame)
        if (value, int(slot)) in taken:
            return None
        taken.add((value, int(slot)))
        parts[value].append(frame)
    if len(parts) != copies:
        return None
    return [parts[value] for value in sorted(parts, key=_natural)]


def _natural(value: object) -> tuple[bool, float, str]:
    """Sort numbers by size, all else as text after them."""
    try:
        return False, float(str(value)), ""
    except ValueError:
        return True, 0.0, str(value)


def _order(key: tuple[int, str, int | None, int | None, bool]) -> tuple[object, ...]:
    """Sort volumes by b-value and echo, the scanner's trace image before single directions, then as they came."""
    turn, image_type, echo, b, trace = key
    return (-1 if b is None else b, echo or 0, not trace, turn, image_type)


def _numbered(groups: Sequence[Group]) -> list[Group]:
    """Number the volumes that b-value and echo do not name alone."""
    counts = Counter((group.b_s_mm2, group.echo) for group in groups)
    seen: Counter[tuple[int | None, int | None]] = Counter()
    numbered = []
    for group in groups:
        key = group.b_s_mm2, group.echo
        numbered.append(replace(group, volume=seen[key]) if counts[key] > 1 else group)
        seen[key] += 1
    return numbered
