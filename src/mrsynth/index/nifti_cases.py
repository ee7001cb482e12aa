"""NIfTI files put into cases by what their names, their folders and a case.json beside them say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError
from mrsynth.core.settings import nearest
from mrsynth.core.types import dwi_name, is_contrast
from mrsynth.index.bids import BidsName, beside, guess_by_bids, parse_bids, participants, place_of
from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.names import is_contrast_folder, name_case, names_a_case, names_no_patient, parse_name, spelt
from mrsynth.index.recognise import Guess
from mrsynth.io.case import read_case_file
from mrsynth.io.diffusion import bval_file, read_shells
from mrsynth.io.locator import join_locator
from mrsynth.io.nifti_stream import read_header
from mrsynth.io.synthetic import why_synthetic


@dataclass
class _Group:
    """Images of one case. place: the folder of the case; prefix: what stands before the contrast in their names, or the
    BIDS case; bids: where BIDS names say who it is."""

    place: Path
    prefix: str
    bids: BidsName | None = None
    images: list[tuple[Path, Guess, dict[str, float]]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)


def find_named(paths: Sequence[Path], folder: Path, derivatives: Sequence[str]) -> list[Found]:
    """Return NIfTI files as images of cases; a 4-D diffusion series as one image a b-value.

    derivatives: those of BIDS data sets to use. Raises InputError if there is no such derivative.
    """
    groups: dict[tuple[Path, str], _Group] = {}
    unused: list[Found] = []
    names = [(path, parse_bids(path)) for path in paths]
    _require_derivatives(derivatives, [path for path, bids in names if bids], folder)
    for path, bids in names:
        if bids is not None:
            _add_bids(groups, path, bids, folder, derivatives)
            continue
        guess, prefix = _guess(path)
        guess = _if_acquired(guess, path)
        if guess.contrast is None:
            unused.append(Found(path, "", "", IGNORE, guess.reason))
            continue
        place = path.parent
        while is_contrast_folder(place.name) and place != folder:
            place = place.parent
        group = groups.setdefault((place, prefix), _Group(place, prefix))
        group.images += [(where, meant, {}) for where, meant in _volumes(path, guess)]
    found = _of_groups(list(groups.values()), folder)
    # An image without a known name goes with the one case of its folder, for the user to say what it is.
    here: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    for image in found:
        here[image.path.parent].add((image.patient, image.case))
    for image in unused:
        if len(whose := here[image.path.parent]) == 1:
            patient, case = next(iter(whose))
            image = replace(image, patient=patient, case=case)
        found.append(image)
    return found


def _add_bids(
    groups: dict[tuple[Path, str], _Group], path: Path, bids: BidsName, folder: Path, derivatives: Sequence[str]
) -> None:
    """Add a file with a BIDS name to the group of its subject and session."""
    guess, where = _if_acquired(guess_by_bids(bids) or parse_name(path)[0], path), place_of(path, folder)
    group = groups.setdefault((where.base, bids.case), _Group(where.base, bids.case, bids))
    if where.derivative is None and guess.contrast is not None:
        group.known.update(_field_strength(beside(path, bids.suffix, where.base)))
    elif where.derivative not in derivatives and guess.contrast is not None:
        told = f"{guess.reason}, of derivative {where.derivative}: used only with --derivatives {where.derivative}"
        guess = Guess(None, told)
    traits = {"asked": float(where.derivative is not None), "native": float("space" not in bids.entities)}
    group.images += [(volume, meant, traits) for volume, meant in _volumes(path, guess)]


def _require_derivatives(derivatives: Sequence[str], paths: Sequence[Path], folder: Path) -> None:
    """Raise InputError if a derivative that was asked for does not exist."""
    known = sorted({place_of(path, folder).derivative or "" for path in paths} - {""})
    for name in derivatives:
        if name not in known:
            raise InputError(
                f"{folder}: there is no derivative '{name}'.", found=", ".join(known) or "none", do=nearest(name, known)
            )


def _guess(path: Path) -> tuple[Guess, str]:
    """Return what a file is by its name, or else by the name of its folder (T1/image.nii.gz)."""
    guess, prefix = parse_name(path)
    if guess.contrast is None and not prefix and is_contrast_folder(path.parent.name):
        return Guess(spelt(path.parent.name), f"its folder says {path.parent.name}"), ""
    return guess, prefix


def _if_acquired(guess: Guess, path: Path) -> Guess:
    """Return what a file is, but nothing where a model made it: a synthetic image must never stand for a scan."""
    why = None if guess.contrast is None else why_synthetic(path)
    return guess if why is None else Guess(None, f"a synthetic image, not a scan: {why}")


def _volumes(path: Path, guess: Guess) -> list[tuple[Path, Guess]]:
    """Return the image, or of a 4-D diffusion series one image a b-value."""
    if guess.contrast != "dwi":
        return [(path, guess)]
    try:
        if read_header(path).volumes == 1 and not bval_file(path).exists():
            return [(path, guess)]
        shells = read_shells(path)
    except InputError as error:
        return [
            (path, Guess(None, f"{guess.reason}, but {error.what.removeprefix(f'{path}: ')} {error.do or ''}".strip()))
        ]
    return [
        (
            join_locator(path, {"b": b}),
            Guess(
                dwi_name(b),
                f"{guess.reason}, {len(volumes)} volume{'s' * (len(volumes) > 1)} at b = {b} s/mm² in its .bval",
            ),
        )
        for b, volumes in shells.items()
    ]


def _of_groups(groups: Sequence[_Group], folder: Path) -> list[Found]:
    """Return the images of all groups with their patients and cases."""
    groups = _joined(groups)
    root = folder.resolve().name
    # Folders below that name no patient (raw, atlas, visit1, T1) say that the root itself is the patient.
    others = [g for g in groups if g.bids is None]
    root_is_patient = any(g.place != folder or _below_contrast(g) for g in others) and all(
        not names_a_case(g.prefix)
        and all(map(names_no_patient, g.place.relative_to(folder).parts))
        and (not g.prefix or names_no_patient(g.prefix))
        for g in groups
    )
    people: dict[Path, dict[str, dict[str, str]]] = {}
    named = []
    for group in groups:
        said, _ = read_case_file(group.place) if group.bids is None else ({}, None)
        if group.bids is not None:
            if group.place not in people:
                people[group.place] = participants(group.place)
            patient, case = group.bids.patient, group.bids.case
            said = {"participant": people[group.place].get(patient, {}), **group.known}
        else:
            parts = group.place.relative_to(folder).parts
            if not parts and not root_is_patient:
                # The file's own folder, where nothing but a contrast's folder stands between it and the root.
                parts = group.images[0][0].parent.relative_to(folder).parts
            patient, case = name_case(parts, group.prefix, root, root_is_patient)
        patient, case = str(said.get("patient", patient)), str(said.get("case", case))
        named.append((group, patient, case, said))
    return [
        image for group, patient, case, said in _distinct(named, folder) for image in _found(group, patient, case, said)
    ]


def _found(group: _Group, patient: str, case: str, said: Mapping[str, Any]) -> list[Found]:
    """Return the images of one case; masks without an image are left out."""
    alone = not any(guess.contrast is not None and is_contrast(guess.contrast) for _, guess, _ in group.images)
    found = []
    for path, guess, traits in group.images:
        image = Found(path, patient, case, guess.contrast or IGNORE, guess.reason, said, traits)
        found.append(image.unused("a mask without an image beside it") if guess.contrast and alone else image)
    return found


def _below_contrast(group: _Group) -> bool:
    """Say whether its images lie in folders of their own, named by contrasts."""
    return any(path.parent != group.place for path, _, _ in group.images)


def _joined(groups: Sequence[_Group]) -> list[_Group]:
    """Join what belongs to one case although the names begin differently.

    Series numbers (4_t1, 12_flair, as converters of DICOM write) are no cases: in a folder of bare numbers where none
    stands twice, and no contrast either, all are one case. A mask that is alone belongs to the one case of its folder.
    """
    by_place: dict[Path, list[_Group]] = defaultdict(list)
    for group in groups:
        if group.bids is None:
            by_place[group.place].append(group)
    dropped = set()
    for place, here in by_place.items():
        numbers = [g for g in here if g.prefix.isdecimal() and len(g.prefix) <= 4]
        contrasts = Counter(guess.contrast for g in numbers for _, guess, _ in g.images)
        single = all(len(g.images) == 1 for g in numbers) and all(n == 1 for n in contrasts.values())
        if len(numbers) > 1 and single and len(numbers) == len(here):
            numbers[0].images = [image for g in numbers for image in g.images]
            numbers[0].prefix, numbers[0].place = "", place
            dropped |= {id(g) for g in numbers[1:]}
            continue
        full = [g for g in here if any(guess.contrast and is_contrast(guess.contrast) for _, guess, _ in g.images)]
        for lone in here:
            has = {guess.contrast for _, guess, _ in full[0].images} if len(full) == 1 else set()
            if len(full) == 1 and lone is not full[0] and not has & {guess.contrast for _, guess, _ in lone.images}:
                full[0].images += lone.images
                dropped.add(id(lone))
    return [group for group in groups if id(group) not in dropped]


def _distinct(
    named: Sequence[tuple[_Group, str, str, Mapping[str, Any]]], folder: Path
) -> list[tuple[_Group, str, str, Mapping[str, Any]]]:
    """Put the path in front of names that several cases share."""
    counts = Counter(case for _, _, case, _ in named)
    distinct = []
    for group, patient, case, said in named:
        parts = group.place.relative_to(folder).parts
        if counts[case] > 1:
            own = any("-".join(parts[i:]) == case for i in range(len(parts)))
            case = "-".join(parts if own else [*parts, case])
        distinct.append((group, patient, case, said))
    return distinct


def _field_strength(sidecar: Mapping[str, Any]) -> dict[str, float]:
    """Return b0_tesla as a BIDS sidecar says it."""
    value = sidecar.get("MagneticFieldStrength")
    return {"b0_tesla": float(value)} if isinstance(value, int | float) and 0 < value < 100 else {}
