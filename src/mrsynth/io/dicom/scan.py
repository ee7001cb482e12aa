"""Finds the DICOM volumes below a folder, whatever the files are called and however they are mixed."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from multiprocessing import get_context
from os.path import commonpath
from pathlib import Path

from mrsynth.io.dicom.file import Damaged, not_an_image, opened, quiet, read_header
from mrsynth.io.dicom.frames import Frame, Series, frames_of, tags_of
from mrsynth.io.dicom.geometry import extent_mm, places
from mrsynth.io.dicom.split import TURNING, Group, directions, group_series
from mrsynth.io.formats import looks_like_dicom
from mrsynth.io.locator import join_locator, split_locator
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.walk import Ignored, list_files

SUFFIXES = (".dcm", ".dicom", ".ima")
"""Files named so that hold no DICOM are reported; of other files that is for others to say."""

SCANS_KEPT = 4
"""Folders whose headers stay in memory, so that the contrasts of one case are found with one look through its files."""


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """One volume of a series.

    Attributes:
        patient: PatientID, "" where there is none.
        study, series: their UIDs.
        number: the series' number.
        description: the series' own.
        tags: what contrast recognition needs, by keyword (text, several values joined by a backslash; numbers as float:
            ms, degrees, tesla, mm); no name or birth date.
        b_s_mm2: the nominal b-value of a diffusion-weighted image.
        echo: from 1 on, where the series has several.
        volume: from 0 on, where b-value and echo do not name it alone.
        stacks: the slices, unsorted; several stacks are directions or repetitions of one b-value, of which `read_dicom`
            takes the geometric mean.
        trace: the scanner made it of all directions.
        person, site: hashes of birth date and sex, and of the institution.
        locator: where `read_dicom` finds it again.
    """

    patient: str
    study: str
    series: str
    number: int | None
    description: str
    tags: Mapping[str, str | float]
    b_s_mm2: float | None
    echo: int | None
    volume: int | None
    trace: bool
    person: str
    site: str
    locator: Path
    stacks: tuple[tuple[Frame, ...], ...] = field(repr=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the volume, each once."""
        return tuple(dict.fromkeys(frame.path for stack in self.stacks for frame in stack))

    @property
    def frames(self) -> tuple[int, ...]:
        """Where in a multi-frame file the slices stand, from 0 on; () for classic files of one slice each."""
        return tuple(f.index for stack in self.stacks for f in stack) if len(self.files) == 1 else ()

    @property
    def extent_mm(self) -> tuple[int, float, float]:
        """The axis that the slices are stacked along (0 to 2, LPS), and from where to where they reach, in mm."""
        return extent_mm(self.stacks[0])

    @property
    def in_plane_mm(self) -> float:
        """The longer edge of a slice in mm."""
        first = self.stacks[0][0]
        return max(first.rows * first.spacing_mm[0], first.columns * first.spacing_mm[1])

    @property
    def images_lacking(self) -> int:
        """How many slices of the acquisition are not here, by ImagesInAcquisition (0020,1002); 0 where it says
        nothing."""
        frames = [frame for stack in self.stacks for frame in stack]
        said = {frame.in_acquisition for frame in frames}
        count = said.pop() if len(said) == 1 else None
        original = frames[0].image_type.upper().startswith("ORIGINAL")
        several = self.echo is not None or self.volume is not None or self.b_s_mm2 is not None
        if count is None or several or not original or self.frames:
            return 0
        return max(0, count - len(frames))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices of a stack."""
        return self.stacks[0][0].columns, self.stacks[0][0].rows, len(self.stacks[0])


@dataclass(frozen=True)
class _Files:
    """Files with size and time of change, by which a kept result stays true.

    Attributes:
        workers: processes to look with.
    """

    marks: tuple[tuple[Path, int, int], ...]
    workers: int = field(default=1, compare=False)


MANY_FILES = 8000
"""Fewer are looked into sooner than processes start."""


def scan_dicom(folder: Path, workers: int = 1) -> tuple[list[DicomVolume], list[Ignored]]:
    """Return the DICOM volumes below a folder (or in one file), and each DICOM file that is none with the reason.

    Only headers are read. Volumes are ordered by patient, study, series number, b-value and echo. Whether a volume is
    whole (no slice missing) is for `read_dicom` to say.

    Args:
        folder: A folder or file.
        workers: Processes that look into many files.

    Raises:
        InputError: There is no such folder.
    """
    # What is named as NIfTI is not looked into: it is listed by its name.
    files = [folder] if folder.is_file() else [path for path in list_files(folder)[0] if not is_nifti(path)]
    marks = []
    for path in files:
        state = path.stat()
        marks.append((path, state.st_size, state.st_mtime_ns))
    volumes, ignored = _scan(_Files(tuple(marks), workers))
    return list(volumes), list(ignored)


@lru_cache(maxsize=SCANS_KEPT)
def _scan(files: _Files) -> tuple[tuple[DicomVolume, ...], tuple[Ignored, ...]]:
    """Look through the files."""
    by_series: dict[tuple[object, ...], list[Frame]] = defaultdict(list)
    ignored: list[Ignored] = []
    with quiet():
        for (path, _, _), slices in zip(files.marks, _slices(files), strict=True):
            if isinstance(slices, str):
                ignored += [Ignored(path, slices)] if slices else []
                continue
            for frame in slices:
                by_series[_series_key(frame)].append(frame)
        groups: list[Group] = []
        for members in by_series.values():
            frames, others = _of_one_patient(members)
            ignored += others
            if not frames:
                continue
            if max(directions(frames)) + 1 >= TURNING:
                reason = f"slices in {max(directions(frames)) + 1} directions: a localizer, or a turning projection"
                ignored += [Ignored(path, reason) for path in dict.fromkeys(frame.path for frame in frames)]
                continue
            single, copies = _without_copies(frames, lambda frame: f"{frame.uid} {frame.index}")
            ignored += copies
            for group in group_series(single):
                group, copies = _group_without_copies(group)
                ignored += copies
                groups.append(group)
        volumes = _volumes(groups, ignored)
    return tuple(volumes), tuple(ignored)


def _slices(files: _Files) -> Iterator[list[Frame] | str]:
    """Yield what `_look_into` returns for each file, by several processes where there are many."""
    if files.workers < 2 or len(files.marks) < MANY_FILES:
        yield from (_look_into(path, size) for path, size, _ in files.marks)
        return
    with ProcessPoolExecutor(files.workers, get_context("spawn")) as pool:
        yield from pool.map(_look_quietly, files.marks, chunksize=250)


def _look_quietly(mark: tuple[Path, int, int]) -> list[Frame] | str:
    with quiet():
        return _look_into(mark[0], mark[1])


def _series_key(frame: Frame) -> tuple[object, ...]:
    """Return what the slices of a series share: its UID, whatever else changes from slice to slice.

    Where an anonymiser took the UID away, a folder is a series.
    """
    series = frame.series
    return (series.study, series.uid) if series.uid else (series, frame.path.parent)


def _of_one_patient(frames: Sequence[Frame]) -> tuple[list[Frame], list[Ignored]]:
    """Return the slices of a series as those of one patient, described as its first slice is; and what is left out
    where the slices name several patients."""
    patients = {re.sub(r"[\W_]+|(?<!\d)0+(?=\d)", "", frame.series.patient.casefold()) for frame in frames} - {""}
    if len(patients) > 1:
        reason = f"its series names {len(patients)} patients: whose is it? Export it again"
        return [], [Ignored(path, reason) for path in dict.fromkeys(frame.path for frame in frames)]
    first = min(frames, key=lambda frame: (not frame.series.patient, frame.instance, str(frame.path))).series
    return [frame if frame.series == first else replace(frame, series=first) for frame in frames], []


def _look_into(path: Path, size: int) -> list[Frame] | str:
    """Return the slices of a file, or why there are none; "" for a file that has nothing to do with DICOM."""
    named = path.suffix.lower() in SUFFIXES
    try:
        if size == 0:
            return "an empty file" if named else ""
        if not looks_like_dicom(path):
            return "holds no DICOM, though its name says so" if named else ""
        header = read_header(path)
        return not_an_image(header) or frames_of(path, header)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except Damaged as error:
        return str(error)
    except Exception as error:  # whatever damaged bytes do to pydicom, one file never stops the others
        return f"damaged ({type(error).__name__})"


def _without_copies(frames: Sequence[Frame], key: Callable[[Frame], object]) -> tuple[list[Frame], list[Ignored]]:
    """Return the slices without those that share a key and every byte of their pixels with an earlier one."""
    by_key: dict[object, list[Frame]] = defaultdict(list)
    for frame in frames:
        by_key[key(frame)].append(frame)
    copies: dict[int, Ignored] = {}
    for alike in by_key.values():
        if len(alike) == 1:
            continue
        seen: dict[object, Frame] = {}
        for frame in alike:
            first = seen.setdefault(_picture(frame), frame)
            if first is not frame:
                copies[id(frame)] = Ignored(frame.path, f"the same picture in the same place as {first.path.name}")
    kept = [frame for frame in frames if id(frame) not in copies]
    return kept, list({item.path: item for item in copies.values()}.values())


def _group_without_copies(group: Group) -> tuple[Group, list[Ignored]]:
    """Return a volume in which nothing told apart slices of one place, without the copies among them."""
    if len(group.stacks) > 1:
        return group, []
    slots = dict(zip(map(id, group.stacks[0]), places(group.stacks[0]).tolist(), strict=True))
    single, copies = _without_copies(group.stacks[0], lambda frame: slots[id(frame)])
    stacks = (tuple(single),)
    return Group(group.series, stacks, group.b_s_mm2, group.echo, group.volume, group.trace), copies


def _picture(frame: Frame) -> object:
    """Return what is equal for slices that show the same: place, scaling, digest of the stored pixels."""
    try:
        with opened(frame.path) as file:
            file.seek(-read_header(frame.path).stored_bytes, os.SEEK_END)
            digest = hashlib.sha256(file.read()).digest()
    except (OSError, Damaged):  # gone or changed meanwhile: for `read_dicom` to say
        return frame.path
    return frame.index, frame.position, frame.orientation, frame.spacing_mm, frame.slope, frame.intercept, digest


def _volumes(groups: Sequence[Group], ignored: list[Ignored]) -> list[DicomVolume]:
    """Return the volumes with their tags and locators; files that changed meanwhile are added to `ignored`."""
    homes: dict[Series, Path] = {}
    numbers: dict[int | None, set[Series]] = defaultdict(set)
    by_series: dict[Series, list[Group]] = defaultdict(list)
    for group in groups:
        by_series[group.series].append(group)
    for series, members in by_series.items():
        paths = {frame.path.parent for group in members for stack in group.stacks for frame in stack}
        homes[series] = Path(commonpath(paths))
        numbers[series.number].add(series)
    volumes = []
    for group in groups:
        series, first = group.series, min(group.stacks[0], key=lambda frame: (frame.instance, str(frame.path)))
        try:
            tags = tags_of(read_header(first.path), first.index)
        except Damaged as error:
            ignored.append(Ignored(first.path, str(error)))
            continue
        # Unique among the series whose files lie where this one is looked for.
        rivals = [s for s in numbers[series.number] if s != series and _meet(homes[s], homes[series])]
        by_number = series.number is not None and not rivals
        named = {"series": series.number if by_number else series.uid} if by_number or series.uid else {}
        chosen = {"b": group.b_s_mm2, "echo": group.echo, "volume": group.volume}
        selection = {**named, **{key: value for key, value in chosen.items() if value is not None}}
        locator = join_locator(homes[series], selection)
        if named and split_locator(locator)[1].get("series") != str(named["series"]):
            reason = f"its series has no number of its own, and a UID that is none ({series.uid!r})"
            files = dict.fromkeys(frame.path for stack in group.stacks for frame in stack)
            ignored += [Ignored(path, reason) for path in files]
            continue
        volumes.append(
            DicomVolume(
                patient=series.patient,
                study=series.study,
                series=series.uid,
                number=series.number,
                description=series.description,
                tags=tags,
                b_s_mm2=None if group.b_s_mm2 is None else float(group.b_s_mm2),
                echo=group.echo,
                volume=group.volume,
                trace=group.trace,
                person=series.person,
                site=series.site,
                locator=locator,
                stacks=group.stacks,
            )
        )
    return sorted(volumes, key=_place_in_list)


def _meet(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _place_in_list(volume: DicomVolume) -> tuple[object, ...]:
    b = -1.0 if volume.b_s_mm2 is None else volume.b_s_mm2
    return (volume.patient, volume.study, volume.number or 0, volume.series, b, volume.echo or 0, volume.volume or 0)
