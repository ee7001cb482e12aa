"""What a BIDS name says (Brain Imaging Data Structure 1.10): subject, session, contrast; and what lies beside it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.types import image_name
from mrsynth.index.agent import agent_by_tags, agent_by_words
from mrsynth.index.evidence import CERTAIN, DOUBT, OTHER, TAG, Vote
from mrsynth.index.masks import mask_votes
from mrsynth.index.words import normalise, other_kind
from mrsynth.io.sidecar import MAX_JSON_BYTES, small_json, stem_of

DESCRIPTION = "dataset_description.json"

_NAME = re.compile(
    r"(?P<entities>sub-[A-Za-z0-9]+(?:_[A-Za-z]+-[A-Za-z0-9.+]+)*)(?:_(?P<of>[A-Za-z0-9]+)(?P<more>(?:_[A-Za-z]+-[A-Za-z0-9.+]+)+))?"
    r"_(?P<suffix>[A-Za-z0-9]+)"
)
"""A BIDS name; also that of fMRIPrep's lesion masks, which names the image in its middle
(sub-1_T1w_label-lesion_roi)."""

_CONTRASTS = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair", "ADC": "adc", "dwi": "dwi", "ct": "ct", "CT": "ct"}

_MASKS = ("mask", "dseg", "roi", "seg", "label")

_OTHER = re.compile(
    r"T2star|T2starw|PDw|PDT2|inplaneT1|inplaneT2|bold|cbv|sbref|asl|m0scan|perf|angio|swi|GRE|"
    r"UNIT1|MP2RAGE|MPM|MTS|MTR|VFA|IRT1|MEGRE|MESE|TB1TFL|TB1EPI|T1map|T2map|T2starmap|R1map|"
    r"R2map|PDmap|Chimap|MTsat|MTVmap|defacemask|epi|fieldmap|magnitude|magnitude1|magnitude2|phase|"
    r"phase1|phase2|phasediff|FA|MD|S0map|colFA|trace|expADC|pet|probseg|T1rho|T2rho|M0map|FLASH|\w+map"
)


@dataclass(frozen=True)
class BidsName:
    """What a file is called.

    Attributes:
        entities: those of the name in order (sub, ses, acq, ce …).
        suffix: what stands last (T1w).
    """

    entities: Mapping[str, str]
    suffix: str

    @property
    def patient(self) -> str:
        """The subject, sub-X."""
        return f"sub-{self.entities['sub']}"

    @property
    def case(self) -> str:
        """The examination, sub-X or sub-X_ses-Y."""
        return self.patient + (f"_ses-{self.entities['ses']}" if "ses" in self.entities else "")


def parse_bids(path: Path) -> BidsName | None:
    """Return what a NIfTI file's BIDS name is made of, None where it is not named so."""
    match = _NAME.fullmatch(stem_of(path))
    if match is None:
        return None
    pairs = (part.partition("-") for part in (match["entities"] + (match["more"] or "")).split("_"))
    return BidsName({key: value for key, _, value in pairs}, match["suffix"])


def kind_by_bids(name: BidsName) -> Iterator[Vote]:
    """Yield what suffix and entities say of the kind of an image; nothing where they are not BIDS's own words."""
    entities, suffix = name.entities, name.suffix
    if (part := entities.get("part", "mag")) != "mag":
        yield Vote(OTHER, CERTAIN, f"BIDS entity part-{part}: no magnitude image")
    if _OTHER.fullmatch(suffix):
        yield Vote(OTHER, CERTAIN, f"BIDS suffix {suffix}: no contrast that is used here")
    elif suffix in _MASKS:
        yield from _mask(name)
    elif contrast := _CONTRASTS.get(suffix):
        yield Vote(contrast, TAG, f"BIDS suffix {suffix}" + (f" with ce-{entities['ce']}" if "ce" in entities else ""))
        for key in ("acq", "rec", "desc", "recording", "mod", "label", "inv", "mt"):
            text = normalise(_split(entities.get(key, "")))
            if other := other_kind("inv 1" if key == "inv" and text else text):
                yield Vote(OTHER, CERTAIN, f"BIDS entity {key}-{entities[key]}: {other[1]}")


def agent_by_bids(name: BidsName) -> Iterator[Vote]:
    """Yield what the entities say of a contrast agent: ce-gadolinium, ce-none, acq-preContrast."""
    said = False
    for key in ("ce", "acq", "desc"):
        text = name.entities.get(key, "")
        for vote in agent_by_words(_split(text), f"with {key}-{text}:"):
            said = True
            yield Vote(vote.answer, TAG if key == "ce" else vote.weight, f"BIDS suffix {name.suffix} with {key}-{text}")
    if (agent := name.entities.get("ce")) and not said:
        for vote in agent_by_tags({"ContrastBolusAgent": _split(agent)}):
            yield Vote(vote.answer, vote.weight, f"BIDS suffix {name.suffix} with ce-{agent}")


def _split(label: str) -> str:
    """Return a label's words: preContrast → pre Contrast."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)


def _mask(name: BidsName) -> Iterator[Vote]:
    """Yield which mask it is, by its label or description."""
    for key in ("label", "desc"):
        if value := name.entities.get(key):
            said = f"BIDS {key}-{value}_{name.suffix}"
            votes = list(mask_votes(re.sub(r"[Mm]ask$", "", _split(value))))
            votes = votes or [Vote(OTHER, TAG, "no mask that is used here")]
            yield from (Vote(vote.answer, vote.weight, _with(said, vote)) for vote in votes)
            return
    if name.suffix == "dseg":
        yield Vote(DOUBT, TAG, "BIDS suffix dseg without a label: of tissues?")


def _with(said: str, vote: Vote) -> str:
    return said if vote.answer not in (OTHER, DOUBT) else f"{said}: no mask that is used here"


@dataclass(frozen=True)
class Place:
    """Where a file stands in a data set.

    Attributes:
        base: the data set's folder.
        derivative: its name, None for raw data.
    """

    base: Path
    derivative: str | None


def place_of(path: Path, root: Path) -> Place:
    """Return the data set of a file below `root`, and of which derivative it is.

    A derivative stands below `derivatives/`, or in a data set whose description says `"DatasetType": "derivative"`.

    Args:
        path: The file.
        root: The folder that is indexed.
    """
    parts = path.relative_to(root).parts[:-1]
    subject = next((i for i, part in enumerate(parts) if part.startswith("sub-")), len(parts))
    above = list(parts[:subject])
    derivative = None
    if "derivatives" in parts:
        at = parts.index("derivatives")
        derivative = parts[at + 1] if at + 1 < len(parts) else "derivatives"
        above = list(parts[:at])
    if above and above[-1] in ("rawdata", "sourcedata"):
        above.pop()
    base = root.joinpath(*above)
    if derivative is None and small_json(base / DESCRIPTION).get("DatasetType") == "derivative":
        derivative = base.name
    return Place(base, derivative)


def is_source_data(path: Path, root: Path) -> bool:
    """Say whether a file lies in the `sourcedata` of a BIDS data set: its images were made of that.

    Args:
        path: The file.
        root: The folder that is indexed.
    """
    parts = path.relative_to(root).parts
    if "sourcedata" not in parts[:-1]:
        return False
    base = root.joinpath(*parts[: parts.index("sourcedata")])
    return (base / DESCRIPTION).is_file()


def participants(base: Path) -> dict[str, dict[str, str]]:
    """Return patient → columns of participants.tsv (age, sex …), {} where there is none that can be read."""
    path = base / "participants.tsv"
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return {}
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    reserved = {"participant_id", "patient", "case", "split", "b0_tesla", "dose"}
    people = {}
    for row in rows:
        subject = (row.get("participant_id") or "").strip()
        columns = {
            key: value.strip()
            for key, value in row.items()
            if isinstance(key, str) and isinstance(value, str) and key.lower() not in reserved and not image_name(key)
        }
        people["sub-" + subject.removeprefix("sub-")] = {k: v for k, v in columns.items() if v not in ("", "n/a")}
    return people


def invalid_names(paths: Iterable[Path], base: Path) -> list[Path]:
    """Return the images below a data set's folder whose names are not valid BIDS, by the maintained bids-validator.

    Args:
        paths: The images.
        base: The data set's folder.
    """
    from bids_validator import BIDSValidator  # type: ignore[import-untyped]

    validator = BIDSValidator()
    return [path for path in paths if not validator.is_bids("/" + path.relative_to(base).as_posix())]
