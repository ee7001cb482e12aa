"""What a BIDS name says (Brain Imaging Data Structure 1.10): subject, session, contrast; and what lies beside it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrsynth.core.types import image_name
from mrsynth.index.recognise import AGENT, NATIVE, Guess, says
from mrsynth.io.sidecar import MAX_JSON_BYTES, small_json, stem_of

DESCRIPTION = "dataset_description.json"


_NAME = re.compile(r"(?P<entities>sub-[A-Za-z0-9]+(?:_[A-Za-z]+-[A-Za-z0-9.+]+)*)_(?P<suffix>[A-Za-z0-9]+)")

_CONTRASTS = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair", "ADC": "adc", "dwi": "dwi", "ct": "ct", "CT": "ct"}

_UNUSED = re.compile(
    r"T2star|T2starw|PDw|PDT2|inplaneT1|inplaneT2|bold|cbv|sbref|asl|m0scan|perf|angio|swi|GRE|"
    r"UNIT1|MP2RAGE|MPM|MTS|MTR|VFA|IRT1|MEGRE|MESE|TB1TFL|TB1EPI|T1map|T2map|T2starmap|R1map|"
    r"R2map|PDmap|Chimap|MTsat|MTVmap|defacemask|epi|fieldmap|magnitude|magnitude1|magnitude2|phase|"
    r"phase1|phase2|phasediff|FA|MD|S0map|colFA|trace|expADC|pet|probseg|T1rho|T2rho|M0map|FLASH"
)


@dataclass(frozen=True)
class BidsName:
    """entities: those of the name in order (sub, ses, acq, ce …); suffix: what stands last (T1w)."""

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
    found = _NAME.fullmatch(stem_of(path))
    if found is None:
        return None
    pairs = (part.partition("-") for part in found["entities"].split("_"))
    return BidsName({key: value for key, _, value in pairs}, found["suffix"])


def guess_by_bids(name: BidsName) -> Guess | None:
    """Return what the suffix and the entities say, None where they are not BIDS's own words."""
    entities, suffix = name.entities, name.suffix
    if entities.get("part", "mag") != "mag":
        return Guess(None, f"BIDS entity part-{entities['part']}: no magnitude image")
    if _UNUSED.fullmatch(suffix):
        return Guess(None, f"BIDS suffix {suffix}: no contrast that is used here")
    if suffix in ("mask", "dseg", "roi"):
        return _mask(name)
    contrast = _CONTRASTS.get(suffix)
    if contrast != "t1":
        return Guess(contrast, f"BIDS suffix {suffix}") if contrast else None
    agent, acquisition = entities.get("ce"), re.sub(r"(?<=[a-z])(?=[A-Z])", " ", entities.get("acq", "")).lower()
    if agent and not re.fullmatch(r"no|none|pre\w*|nativ\w*|without\w*", agent, re.I):
        return Guess("t1ce", f"BIDS suffix T1w with ce-{agent}")
    if not agent and not says(NATIVE, acquisition) and says(AGENT, acquisition):
        return Guess("t1ce", f"BIDS suffix T1w with acq-{entities['acq']}")
    return Guess("t1", "BIDS suffix T1w" + (f" with ce-{agent}" if agent else ""))


def _mask(name: BidsName) -> Guess | None:
    """Return which mask it is, by its label or description."""
    for key in ("label", "desc"):
        if value := name.entities.get(key):
            said = f"BIDS {key}-{value}_{name.suffix}"
            meant = re.sub(r"mask$", "", value.lower())
            if meant in ("brain", "lesion", "enhancing"):
                return Guess(meant, said)
            if meant in ("tumor", "tumour", "stroke", "infarct", "wmh", "wmlesion", "lesions", "glioma"):
                return Guess("lesion", said)
            return Guess(None, f"{said}: no mask that is used here")
    return Guess(None, "BIDS suffix dseg without a label: of tissues?") if name.suffix == "dseg" else None


@dataclass(frozen=True)
class Place:
    """Where a file stands in a data set. base: the data set's folder; derivative: its name, None for raw data."""

    base: Path
    derivative: str | None


def place_of(path: Path, root: Path) -> Place:
    """Return the data set of a BIDS-named file below `root`, and of which derivative it is."""
    parts = path.relative_to(root).parts[:-1]
    subject = next((i for i, part in enumerate(parts) if part.startswith("sub-")), len(parts))
    above = list(parts[:subject])
    derivative = None
    if "derivatives" in above:
        at = above.index("derivatives")
        derivative = above[at + 1] if at + 1 < len(above) else "derivatives"
        above = above[:at]
    if above and above[-1] in ("rawdata", "sourcedata"):
        above.pop()
    return Place(root.joinpath(*above), derivative)


def beside(path: Path, suffix: str, base: Path) -> dict[str, Any]:
    """Return what a sidecar says of an image: the one beside it, before the data set's own (T1w.json)."""
    return {**small_json(base / f"{suffix}.json"), **small_json(path.with_name(f"{stem_of(path)}.json"))}


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
    found = {}
    for row in rows:
        subject = (row.get("participant_id") or "").strip()
        columns = {
            key: value.strip()
            for key, value in row.items()
            if isinstance(key, str) and isinstance(value, str) and key.lower() not in reserved and not image_name(key)
        }
        found["sub-" + subject.removeprefix("sub-")] = {k: v for k, v in columns.items() if v not in ("", "n/a")}
    return found


def invalid_names(paths: Iterable[Path], base: Path) -> list[Path]:
    """Return the images below a data set's folder whose names are not valid BIDS, by the maintained bids-validator."""
    from bids_validator import BIDSValidator  # type: ignore[import-untyped]

    validator = BIDSValidator()
    return [path for path in paths if not validator.is_bids("/" + path.relative_to(base).as_posix())]
