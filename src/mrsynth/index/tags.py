"""What tags say an image is: those of DICOM, or the same keywords in the .json that a converter wrote beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mrsynth.index.evidence import CERTAIN, DOUBT, HINT, KIND, OTHER, TAG, WORD, Vote
from mrsynth.index.words import (
    BODY_WORDS,
    CONTRAST_WORDS,
    CT_OTHER_KINDS,
    HEAD_PART_WORDS,
    HEAD_WORDS,
    NO_PART,
    normalise,
    other_kind,
    says,
)
from mrsynth.io.synthetic import says_synthetic

LONG_TE_MS, SHORT_TE_MS, LONG_TR_MS, SHORT_TR_MS, CSF_NULL_MS = 70.0, 30.0, 2000.0, 1000.0, (1500.0, 3200.0)
"""Spin echo: TE ≥ 70 and TR ≥ 2000 is T2-weighted, TE ≤ 30 and TR ≤ 1000 T1-weighted (Bernstein, King & Zhou, Handbook
of MRI Pulse Sequences, 2004, ch. 14); water is nulled at TI 1500–3200 ms, by TR and field."""

PLAIN_TYPES = (
    r"ORIGINAL|DERIVED|MIXED|PRIMARY|SECONDARY|OTHER|NONE|M|MAG\w*|M_(?:SE|FFE|IR|TSE|TFE)|SE|FFE|IR|TSE|TFE|GR|EP|ND|NORM"
    r"|DIS[23]D|FM\w*|FIL\w*|MFSPLIT|SH\d*|ADAPTIVE|AXIAL|VOLUME|T[12]|FLAIR|STIR|PROTON_DENSITY|DIFFUSION\w*|TRACEW?|ISO\w*"
    r"|MEAN|RESAMPLED|AVERAGE|COMPOSED|COMP_\w+|MPR\w*|REFORMATTED|REFORMAT|STACK\w*|RETRO\w*|MOSAIC|HELICAL|CT_\w+|HEAD_WORDS|WATER"
    r"|W|CSA.*|PARALLEL|MSUM|P[0-9]+|ECHO\d*|TE\d*|SUM|DENOISED?|DL|DEEP\w*|AIR\w*|SOFT|BONE|LUNG|THIN|SLICES?|NON_?PARALLEL"
    r"|MAGNITUDE|DERIVED_\w*|[0-9.]+|UNSPECIFIED|UNKNOWN"
)
"""Values of ImageType (0008,0008) under which a plain image may stand, of several vendors."""

OTHER_TYPES: Mapping[str, str] = {
    r"LOCALI[SZ]ER": "a localizer",
    r"MPR_THICK\w*|PROJECTION IMAGE|M?(?:N|IN)?IP\w*|MAX\w*|MIN\w*": "a projection",
    r"SUBTRACT\w*|DIFFERENCE": "a difference image",
    r"FA|EADC|EXP|TENSOR\w*|COLFA|AVE_DC|CALC\w*|COMPUTED\w*|SYNTH_B\w*"
    r"|IVIM\w*": "computed from diffusion, not acquired",
    r"PERFUSION\w*|R?R?N?R?CB[FV]\w*|MTT|TTP|TMAX": "perfusion",
    r".*(?:^|_| )MAP": "a map",
    r"P|PHASE|PHASE[_ ]?MAP|PHASE_CONTRAST|VELOCITY\w*": "a phase image",
    r"R|REAL|I|IMAGINARY|COMPLEX": "a real or imaginary part",
    r"FAT\w*|F|IN_?PHASE|IP|OUT_?(?:OF_?)?PHASE|OPP_?PHASE\w*|OP": "a part of a Dixon image",
    r"UNI|INV[12]|T[12]_?STAR": "a map, or a part of one",
    r"SCREEN SAVE|SCREENSHOT|REPORT": "a picture of a screen",
}

MAP_UNITS = r"ms|s|\[?hz\]?|hz|rad|deg|%|ppm|ml.*|mg.*|mmol.*|/s|1/s|s-1|cm/s|m/s|kpa|pa"
"""Units of RealWorldValueMappingSequence that make an image a map (UCUM); 1, none and US are those of a plain image."""


def kind_by_tags(tags: Mapping[str, Any], b_s_mm2: float | None = None) -> Iterator[Vote]:
    """Yield what tags say of the kind of an image, also that it is none in use.

    Args:
        tags: Keyword → value (ms, degrees, mm); missing ones may be absent or empty.
        b_s_mm2: The nominal b-value of a diffusion-weighted image in s/mm².
    """
    modality = word(tags, "Modality").upper()
    if modality not in ("MR", "CT", ""):
        yield Vote(OTHER, CERTAIN, f"Modality {modality}: neither MR nor CT")
    if why := says_synthetic(tags):
        yield Vote(OTHER, 2 * CERTAIN, f"a synthetic image, not a scan: {why}")
    yield from _by_image_type(tags)
    yield from _by_component(tags)
    yield from _by_body_part(tags)
    described = False
    for key in ("SeriesDescription", "ProtocolName"):
        votes = list(_by_words(key, word(tags, key), modality, b_s_mm2))
        if votes and not described:
            yield from votes
            described = True
    if modality == "CT":
        yield Vote("ct", TAG, "Modality CT")
        return
    yield from _by_physics(tags, b_s_mm2, described)


def _by_image_type(tags: Mapping[str, Any]) -> Iterator[Vote]:
    """Yield what ImageType (0008,0008) says; of a derived image a value that nobody here knows is a doubt."""
    kinds = [kind.upper() for kind in values(tags, "ImageType")]
    said = "ImageType " + "\\".join(kinds)
    if {"ADC", "ADC_UNSPECIFIED"} & set(kinds):
        yield Vote("adc", CERTAIN, "ImageType contains ADC")
        return
    for position, kind in enumerate(kinds):
        what = next((what for pattern, what in OTHER_TYPES.items() if re.fullmatch(pattern, kind)), None)
        if what is not None and not (position < 2 and len(kind) == 1):
            yield Vote(OTHER, CERTAIN, f"{said}: {what}")
            return
    unknown = [kind for kind in kinds if kind and not re.fullmatch(PLAIN_TYPES, kind)]
    if "DERIVED" in kinds and unknown:
        yield Vote(DOUBT, WORD, f"{said}: derived, and {unknown[0]} is not known here")


def _by_component(tags: Mapping[str, Any]) -> Iterator[Vote]:
    """Yield what enhanced files and vendors say of complex parts and units."""
    component = word(tags, "ComplexImageComponent").upper()
    if component and component not in ("MAGNITUDE", "MIXED"):
        yield Vote(OTHER, CERTAIN, f"ComplexImageComponent {component}: no magnitude image")
    unit = word(tags, "RealWorldUnit").lower()
    if re.fullmatch(MAP_UNITS, unit):
        yield Vote(OTHER, CERTAIN, f"its values are in {unit}: a map")
    elif re.fullmatch(r"[uµm]m2/m?s|10\*?-\d.*mm2/s", unit):
        yield Vote("adc", TAG, f"its values are in {unit}")
    label = normalise(word(tags, "LUTLabel"))
    if label and (other := other_kind(label)):
        yield Vote(OTHER, KIND, f"LUTLabel {label}: {other[1]}")


def _by_body_part(tags: Mapping[str, Any]) -> Iterator[Vote]:
    """Yield that an image shows no head, where any text names another part of the body and not the head too."""
    part = normalise(word(tags, "BodyPartExamined"))
    series = normalise(f"{word(tags, 'SeriesDescription')} {word(tags, 'ProtocolName')}")
    study = normalise(word(tags, "StudyDescription"))
    for key, text in (("BodyPartExamined", part), ("its description", series), ("StudyDescription", study)):
        head, other, small = says(HEAD_WORDS, text), says(BODY_WORDS, text), says(HEAD_PART_WORDS, text)
        if other and not (head and key != "BodyPartExamined"):
            yield Vote(OTHER, CERTAIN if key != "StudyDescription" else TAG, f"{key} {other.upper()}: not the head")
            return
        if other and head and key == "its description":
            yield Vote(DOUBT, WORD, f"{key} {head} and {other}: more than the head?")
        if small and not head and key != "StudyDescription":
            yield Vote(OTHER, KIND, f"{key} {small}: a part of the head alone")
            return
        if head and key != "StudyDescription":
            return
        if key == "BodyPartExamined" and text and not (head or small or re.fullmatch(NO_PART, text)):
            yield Vote(OTHER, TAG + HINT, f"{key} {text.upper()}: not the head")
            return


def _by_words(key: str, text: str, modality: str, b_s_mm2: float | None) -> Iterator[Vote]:
    """Yield what a description says; nothing where it names neither a contrast nor another kind."""
    plain, said = normalise(text), f"{key} '{text}' says"
    diffusion = b_s_mm2 is not None and says(CONTRAST_WORDS[1][1], plain)
    if (other := other_kind(plain)) and not (diffusion and other[1] == "another preparation"):
        yield Vote(OTHER, CERTAIN, f"{said} {other[0]}: {other[1]}")
        return
    if modality == "CT":
        if other_words := says(CT_OTHER_KINDS, plain):
            yield Vote(OTHER, CERTAIN, f"{said} {other_words}: no plain head CT")
        elif text:
            yield Vote("ct", HINT, f"{key} '{text}'")
        return
    named = {contrast: told for contrast, pattern, told in CONTRAST_WORDS if says(pattern, plain)}
    for decisive in ("adc", "dwi"):
        if decisive in named:
            yield Vote(decisive, WORD, f"{said} {named[decisive]}")
            return
    if {"t1", "flair"} <= set(named) and "t2" not in named:
        named.pop("flair")  # a T1-weighted inversion recovery of GE's, by name
    if "flair" in named:
        named = {"flair": named["flair"]}
    if {"t1", "t2"} <= set(named):
        yield Vote(DOUBT, KIND, f"{said} both T1 and T2")
        return
    for contrast, told in named.items():
        yield Vote(contrast, WORD, f"{said} {told}")


def _by_physics(tags: Mapping[str, Any], b_s_mm2: float | None, described: bool) -> Iterator[Vote]:
    """Yield what echo, repetition and inversion time (ms) speak for, and what they speak against."""
    tr, te, ti = (number(tags, key) for key in ("RepetitionTime", "EchoTime", "InversionTime"))
    sequence = {kind.upper() for kind in values(tags, "ScanningSequence")}
    shown = " ".join(f"{n} {v:g}" for n, v in (("TR", tr), ("TE", te), ("TI", ti)) if v is not None)
    if b_s_mm2 is not None and b_s_mm2 > 0:
        yield Vote("dwi", TAG, f"b = {b_s_mm2:g} s/mm²")
        return
    if described:
        plain = normalise(f"{word(tags, 'SeriesDescription')} {word(tags, 'ProtocolName')}")
        t2 = says(r"[sec3d]{0,2}t2\w*|\w*flair\w*", plain)
        if te is not None and 0 < te < SHORT_TE_MS and t2 and not says(CONTRAST_WORDS[3][1], plain):
            yield Vote(DOUBT, KIND, f"TE {te:g} ms is short")
        if te is not None and te >= LONG_TE_MS and says(CONTRAST_WORDS[3][1], plain) and not t2:
            yield Vote(DOUBT, KIND, f"TE {te:g} ms is long")
        if sequence == {"GR"} and t2 and not says(r"\w*flair\w*", plain):
            yield Vote(DOUBT, KIND, "it is a gradient echo: T2*?")
        return
    if tr is None or te is None or "EP" in sequence:
        return
    if ti is not None and CSF_NULL_MS[0] <= ti <= CSF_NULL_MS[1] and te >= LONG_TE_MS:
        yield Vote("flair", WORD, f"{shown}, inversion recovery with long TE")
    elif ti is not None and 500 <= ti <= 1300 and te <= 10 and "GR" in sequence:
        yield Vote("t1", WORD, f"{shown}, inversion-prepared gradient echo")
    elif sequence == {"SE"} and te <= SHORT_TE_MS and tr <= SHORT_TR_MS:
        yield Vote("t1", WORD, f"{shown}, spin echo with short TR and TE")
    elif sequence == {"SE"} and te >= LONG_TE_MS and tr >= LONG_TR_MS:
        yield Vote("t2", WORD, f"{shown}, spin echo with long TR and TE")


# --- values of tags


def word(tags: Mapping[str, Any], key: str) -> str:
    """Return a tag as one text, "" where it is missing.

    Args:
        tags: Keyword → value.
        key: The keyword.
    """
    value = tags.get(key)
    return "" if value is None else str(value).strip()


def values(tags: Mapping[str, Any], key: str) -> list[str]:
    """Return a tag of several values as texts, [] where it is missing.

    Args:
        tags: Keyword → value.
        key: The keyword.
    """
    value = tags.get(key)
    if value is None or value == "":
        return []
    parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    return [str(part).strip() for part in parts]


def number(tags: Mapping[str, Any], key: str) -> float | None:
    """Return a tag as a number, None where it is missing or none.

    Args:
        tags: Keyword → value.
        key: The keyword.
    """
    try:
        return float(tags.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
