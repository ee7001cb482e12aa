"""NIfTI files put into cases by what their names, their folders and a case.json beside them say."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError
from mrsynth.core.settings import nearest
from mrsynth.core.types import dwi_name, is_contrast
from mrsynth.index.agent import agent_by_tags, agent_by_words
from mrsynth.index.bids import (
    BidsName,
    agent_by_bids,
    is_source_data,
    kind_by_bids,
    parse_bids,
    participants,
    place_of,
)
from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.evidence import DOUBT, TAG, WORD, Guess, Vote
from mrsynth.index.labels import mask_evidence
from mrsynth.index.names import NO_WORD, is_contrast_folder, read_name, spelt
from mrsynth.index.people import is_series_number, name_case, names_a_case, names_no_patient
from mrsynth.index.recognise import recognise
from mrsynth.index.tags import kind_by_tags
from mrsynth.io.case import read_case_file
from mrsynth.io.diffusion import bval_file, read_shells
from mrsynth.io.locator import join_locator
from mrsynth.io.nifti_stream import read_header
from mrsynth.io.sidecar import sidecar
from mrsynth.io.synthetic import why_synthetic

MOST_YEARS = 10.0
"""A subject whose age differs by more between two data sets is two people."""


@dataclass
class _Group:
    """Images of one case.

    Attributes:
        place: the folder of the case.
        prefix: what stands before the contrast in their names, or the BIDS case.
        bids: where BIDS names say who it is.
    """

    place: Path
    prefix: str
    bids: BidsName | None = None
    images: list[tuple[Path, Guess, dict[str, float]]] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)


def find_named(paths: Sequence[Path], folder: Path, derivatives: Sequence[str]) -> list[Found]:
    """Return NIfTI files as images of cases; a 4-D diffusion series as one image a b-value.

    Args:
        paths: The files.
        folder: The folder that all of them lie below.
        derivatives: Names of the derivatives of BIDS data sets to use.

    Raises:
        InputError: There is no such derivative.
    """
    groups: dict[tuple[Path, str], _Group] = {}
    unused: list[Found] = []
    _require_derivatives(derivatives, paths, folder)
    for path in paths:
        if is_source_data(path, folder):
            unused.append(Found(path, "", "", IGNORE, "in sourcedata: what the data set's images were made from"))
        elif (bids := _bids_of(path, folder)) is not None:
            _add_bids(groups, path, bids, folder, derivatives)
        else:
            guess, prefix, steps = _guess(path)
            if guess.contrast is None:
                unused.append(Found(path, "", "", IGNORE, guess.reason))
                continue
            place = path.parent
            while is_contrast_folder(place.name) and place != folder:
                place = place.parent
            group = groups.setdefault((place, prefix), _Group(place, prefix))
            group.images += [(volume, meant, {"unprocessed": -steps}) for volume, meant in _volumes(path, guess)]
    images = _of_groups(list(groups.values()), folder)
    # An image without a known name goes with the one case of its folder, for the user to say what it is.
    here: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    for image in images:
        here[image.path.parent].add((image.patient, image.case))
    for image in unused:
        if len(whose := here[image.path.parent]) == 1:
            patient, case = next(iter(whose))
            image = replace(image, patient=patient, case=case)
        images.append(image)
    return images


def _bids_of(path: Path, folder: Path) -> BidsName | None:
    """Return what a BIDS name says; of a file in a derivative that is named otherwise, its subject's and session's
    folder."""
    if (bids := parse_bids(path)) is not None:
        return bids
    if place_of(path, folder).derivative is None:
        return None
    parts = path.relative_to(folder).parts[:-1]
    pairs = [part.partition("-") for part in parts if part.startswith(("sub-", "ses-"))]
    entities = {key: value for key, _, value in pairs if value}
    return BidsName(entities if "sub" in entities else {"sub": "unknown", **entities}, "")


def _add_bids(
    groups: dict[tuple[Path, str], _Group], path: Path, bids: BidsName, folder: Path, derivatives: Sequence[str]
) -> None:
    """Add a file of a BIDS data set to the group of its subject and session."""
    beside, name = sidecar(path), read_name(path)
    kind, agent = list(kind_by_bids(bids)), list(agent_by_bids(bids))
    if not kind:
        kind, agent = list(name.kind), list(name.agent)
    guess = _with_sidecar(kind, agent, beside, path)
    where = place_of(path, folder)
    group = groups.setdefault((where.base, bids.case), _Group(where.base, bids.case, bids))
    if where.derivative is None and guess.contrast is not None:
        group.known.update(_field_strength(beside))
    elif where.derivative not in (None, *derivatives) and guess.contrast is not None:
        told = f"{guess.reason}, of derivative {where.derivative}: used only with --derivatives {where.derivative}"
        guess = Guess(None, told)
    traits = {"asked": float(where.derivative is not None), "native": float("space" not in bids.entities)}
    group.images += [(volume, meant, traits) for volume, meant in _volumes(path, guess)]


def _require_derivatives(derivatives: Sequence[str], paths: Sequence[Path], folder: Path) -> None:
    """Raise InputError if a derivative that was asked for does not exist."""
    if not derivatives:
        return
    known = sorted({place_of(path, folder).derivative or "" for path in paths} - {""})
    for name in derivatives:
        if name not in known:
            raise InputError(
                f"{folder}: there is no derivative '{name}'.", found=", ".join(known) or "none", do=nearest(name, known)
            )


def _guess(path: Path) -> tuple[Guess, str, int]:
    """Return what a file is by its name, its folder's (T1/image.nii.gz) and its sidecar; its prefix; its steps."""
    name = read_name(path)
    kind, agent, prefix = list(name.kind), list(name.agent), name.prefix
    if not kind and not prefix and is_contrast_folder(path.parent.name):
        meant = spelt(path.parent.name) or ""
        told = f"its folder says {path.parent.name}"
        kind = [Vote("t1" if meant in ("t1ce", "t1ld") else meant, TAG, told)]
        if meant in ("t1ce", "t1ld"):
            agent = [Vote("given" if meant == "t1ce" else "part", TAG, "")]
    return _with_sidecar(kind, agent, sidecar(path), path), prefix, name.steps


def _with_sidecar(kind: list[Vote], agent: list[Vote], beside: Mapping[str, Any], path: Path) -> Guess:
    """Return what an image is, by the votes of its name and what the .json beside it says in DICOM's keywords."""
    if kind and (why := why_synthetic(path)):
        return Guess(None, f"a synthetic image, not a scan: {why}")
    tags = _in_ms(beside)
    if tags and not any(vote.answer in ("brain", "lesion", "enhancing") for vote in kind):
        weighted = any(vote.answer.startswith("dwi") for vote in kind)
        kind += [_remark(vote) for vote in kind_by_tags(tags) if not (weighted and vote.answer == "dwi")]
        agent = [*agent, *agent_by_tags(tags)]
        for key in ("SeriesDescription", "ProtocolName"):
            agent += list(agent_by_words(str(tags.get(key) or ""), f"{key} {tags.get(key)!r} says"))[:1]
    kind += _by_header(path, kind)
    return recognise(kind, agent, silent=NO_WORD, unsaid="")


def _remark(vote: Vote) -> Vote:
    return replace(vote, reason=f"the .json beside it: {vote.reason}")


def _in_ms(beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sidecar in DICOM's units: BIDS gives times in seconds."""
    tags = {key: value for key, value in beside.items() if isinstance(value, str | int | float | list)}
    for key in ("EchoTime", "RepetitionTime", "InversionTime"):
        if isinstance(value := tags.get(key), int | float):
            tags[key] = 1000.0 * value
    return tags


def _by_header(path: Path, kind: Sequence[Vote]) -> list[Vote]:
    """Return what the header of the image itself speaks against: vectors, statistics, labels under an image's name."""
    answers = {vote.answer for vote in kind}
    if not answers & {"t1", "t2", "flair", "brain", "lesion"}:
        return []
    if answers & {"brain", "lesion"}:
        return mask_evidence(path, kind)
    try:
        layout = read_header(path)
    except InputError:
        return []
    intent = int(layout.header["intent_code"])
    if 2 <= intent <= 24 or 1002 <= intent <= 1011:
        return [Vote(DOUBT, TAG, f"its header says that it holds no plain image (intent code {intent})")]
    if layout.volumes > 1:
        return [Vote(DOUBT, WORD, f"it holds {layout.volumes} volumes: which? (…#volume=0)")]
    return []


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
    groups = _joined(_numbered(groups))
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
    named: list[tuple[_Group, str, str, Mapping[str, Any]]] = []
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
    named = _by_data_set(named, people, folder)
    return [
        image for group, patient, case, said in _distinct(named, folder) for image in _found(group, patient, case, said)
    ]


def _by_data_set(
    named: Sequence[tuple[_Group, str, str, Mapping[str, Any]]],
    people: Mapping[Path, Mapping[str, Mapping[str, str]]],
    folder: Path,
) -> list[tuple[_Group, str, str, Mapping[str, Any]]]:
    """Return the cases; subjects of one name are two people where two data sets say different things of them."""
    tables: dict[str, dict[str, set[str]]] = {patient: {} for table in people.values() for patient in table}
    for table in people.values():
        for patient, columns in table.items():
            for key, value in columns.items():
                tables[patient].setdefault(key.lower(), set()).add(value)
    several = {patient for patient, columns in tables.items() if _contradict(columns)}
    return [
        (group, "-".join([*group.place.relative_to(folder).parts, patient]), case, said)
        if group.bids is not None and patient in several
        else (group, patient, case, said)
        for group, patient, case, said in named
    ]


def _contradict(columns: Mapping[str, set[str]]) -> bool:
    """Say whether what data sets say of a subject cannot be true of one person; years between scans may make one
    older."""
    sexes = {value.casefold()[:1] for value in columns.get("sex", ())}
    ages = [float(age) for age in columns.get("age", ()) if re.fullmatch(r"\d{1,3}(\.\d+)?", age)]
    return len(sexes) > 1 or (bool(ages) and max(ages) - min(ages) > MOST_YEARS)


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


def _numbered(groups: Sequence[_Group]) -> list[_Group]:
    """Return the groups; a bare number that stands before contrasts in several folders is that of a series."""
    places: dict[str, set[Path]] = defaultdict(set)
    for group in groups:
        if group.bids is None and is_series_number(group.prefix):
            places[group.prefix].add(group.place)
    joined: dict[tuple[Path, str, bool], _Group] = {}
    for group in groups:
        prefix = "" if len(places.get(group.prefix, ())) > 1 else group.prefix
        first = joined.setdefault((group.place, prefix, group.bids is None), replace(group, prefix=prefix, images=[]))
        first.images += group.images
    return list(joined.values())


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
