"""Says which contrast an image is, and why, from the words and numbers that came with it. Unsure is an answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrsynth.core.types import dwi_name
from mrsynth.io.synthetic import says_synthetic


@dataclass(frozen=True)
class Guess:
    """A contrast or mask with the reason, or None with the reason why the image is not used."""

    contrast: str | None
    reason: str


# --- words ------------------------------------------------------------------------------------------------------------

UNUSED: tuple[tuple[str, str], ...] = (
    (r"locali[sz]er|lokali\w*|scout|survey|topogram\w*|3 plane|three plane", "a localizer"),
    (r"[chtlb]ws|\w*spine|spinal|cervical\w*|lumbar\w*|dorsal|wirbel\w*|columna|rachis|orbit\w*|hals|neck|carotid\w*",
     "not the brain"),
    (r"swi|swan|venobold|t2 ?\*|t2 ?star\w*|hemo\w*|haemo\w*|susceptibility|qsm", "susceptibility (T2*)"),
    (r"perf\w*|pwi|dsc|dce|\w*asl|cbf|cbv|rcbv|mtt|ttp|tmax", "perfusion"),
    (r"bold|fmri|resting|rest state|ep2d_bold", "functional imaging"),
    (r"tof|mra|mrv|\w*angio\w*|venogr\w*|pc3d|pca", "angiography"),
    (r"mip|minip|projection|projektion", "a projection"),
    (r"subtract\w*|subtrakt\w*|sub", "a difference image"),
    (r"[ft]?a map|fa|fractional|tensor|eadc|exp adc|exponential\w*|colou?r|colfa|ivim", "a map of diffusion"),
    (r"t1 ?map\w*|t2 ?map\w*|mapping|molli|t1 ?rho|relax\w*|synthetic|symri", "a map of relaxation"),
    (r"pd|pdw?|proton\w*|dp|rho|densite", "proton density"),
    (r"stir|fat ?sat inversion|dir|double inversion", "another inversion recovery"),
    (r"ciss|fiesta\w*|bffe|balanced|trufi\w*|true ?fisp", "a balanced sequence"),
    (r"field ?map\w*|b0 ?map|b1 ?map|phase|gre field", "a field map or phase image"),
    (r"mrs|svs|csi|spectro\w*", "spectroscopy"),
)  # fmt: skip
"""Words of series that no model here uses, in several vendors' spellings, each with what it says. The first counts."""

WORDS: tuple[tuple[str, str, str], ...] = (
    ("adc", r"adc|apparent diff\w*|coeff?icient\w* de diff\w*", "ADC"),
    ("dwi", r"dwi\w*|dw|dti\w*|diff\w*|trace\w*|ep2d diff\w*|resolve|isodwi|b ?1000", "diffusion"),
    ("flair", r"\w*flair\w*|fla|dark ?fl\w*|darkfluid", "FLAIR"),
    ("t1", r"[sec3d]{0,2}t1\w*|3d t1\w*|\w*mp ?rage\w*|f?spgr|bravo|ir fspgr|mpr t1|tfl3d\w*", "T1"),
    ("t2", r"[sec3d]{0,2}t2\w*|3d t2\w*", "T2"),
)
"""Words of series in use."""

_WITH = r"km|kontrast\w*|gd\w*|gad\w*|inj\w*|mdc|contrast\w*"
AGENT = (
    rf"post(?! ?op)\w*|\+ ?c|c c|c ?\+|\+ ?gd|ce|t1w?ce\w*|t1w?c|t1w?gd|t1w?post|(?:mit |nach )?(?:{_WITH})|mdk|pos"
    r"|enhanced|dotarem|magnevist|multihance|prohance|clariscan|vueway|elucirem"
)
NATIVE = (
    rf"(?:pre|avant|without|w o|wo|ohne|sans|sin|senza|zonder)(?: ?(?:{_WITH}))?"
    rf"|(?:non?|s) ?(?:{_WITH}|ce|c)|nativ\w*|unenhanced|plain|blanco"
)
"""Words that say with and without contrast agent: English, German, French, Spanish, Italian, Portuguese, Dutch."""

LOW_DOSE = (
    r"t1ld|low ?dose|reduced dose|half dose|quarter dose|(?:5|10|20|25|30|33|50) ?(?:%|percent) ?(?:dose|gd|gad\w*|ce)"
)

NO_AGENT = frozenset(
    {"", "no", "none", "none given", "n", "0", "unknown", "na", "n a", "nil", "without", "no contrast"}
)
"""What stands in (0018,0010) where no agent was given."""

HEAD = (
    r"head\w*|brain\w*|skull|neuro\w*|kopf|schadel|hirn|tete|crane|cerveau|encephale|cabeza|craneo|cerebro|testa|cranio"
    r"|encefalo|cabeca|hoofd|whole ?body|mr|unknown|other"
)
"""(0018,0015) of heads; scanners often write nothing at all."""

# --- numbers ----------------------------------------------------------------------------------------------------------

LONG_TE_MS, SHORT_TE_MS, LONG_TR_MS, SHORT_TR_MS, CSF_NULL_MS = 70.0, 30.0, 2000.0, 1000.0, (1500.0, 3200.0)
"""Spin echo: TE ≥ 70 and TR ≥ 2000 is T2-weighted, TE ≤ 30 and TR ≤ 1000 T1-weighted (Bernstein, King & Zhou, Handbook
of MRI Pulse Sequences, 2004, ch. 14); water is nulled at TI 1500–3200 ms, by TR and field."""


def normalise(text: str) -> str:
    """Return the text in lower case, without accents, with single spaces for all but letters, digits and + * %."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    return re.sub(r"[^a-z0-9+*%]+", " ", plain).strip()


def says(pattern: str, text: str) -> str | None:
    """Return the words of a normalised text that match a pattern as whole words, None where none do."""
    found = re.search(rf"(?:^|(?<= ))(?:{pattern})(?= |$)", text)
    return found.group() if found else None


def guess_by_name(name: str, token: str, before: Sequence[str], after: Sequence[str], known: Sequence[str]) -> Guess:
    """Return what a file is by its name: `name` as its word `token` says it, unless the other words speak against it.

    before, after: the words before and from the first word that names an image on; known: all that words name.
    """
    if name not in ("t1", "t2", "flair", "t1ce"):
        return Guess(name, f"its name says {token}")
    rest = " ".join(after)
    if unused := says(
        r"maps?|mapping|star|starw|rho|asl|dsc|dce|perf\w*|swi|tof|mip|bold|fa|qsm|localizer|scout", rest
    ):
        return Guess(None, f"its name says {token} and {unused}: no plain {name} image")
    if name == "flair" and "t1" in known:
        return Guess(
            None, "its name says T1 and FLAIR: a T1 FLAIR, or a T1 registered to a FLAIR (…_to_FLAIR)? Rename it"
        )
    if name != "t1":
        return Guess(name, f"its name says {token}")
    if says(NATIVE, rest):
        return Guess("t1", f"its name says {token} and {says(NATIVE, rest)}")
    agent = says(f"{AGENT}|c", rest) or says(r"gad\w*|post(?:contrast|gd|gad|km)|kontrast\w*", " ".join(before))
    if agent := agent or says("ce|gd|km", before[-1] if before else ""):
        return Guess("t1ce", f"its name says {token} and {agent}")
    if "post" in before:
        return Guess(None, f"its name says post and {token}: after contrast agent or after surgery? Rename it")
    return Guess("t1", f"its name says {token}")


def guess_by_tags(tags: Mapping[str, Any], b_s_mm2: float | None = None) -> Guess:
    """Return what a DICOM volume is by its tags (keyword → value; missing ones may be absent or empty).

    Descriptions count before physics; where they contradict one another, or nothing is certain, there is no contrast.
    """
    modality = word(tags, "Modality").upper()
    part = normalise(word(tags, "BodyPartExamined"))
    if modality not in ("MR", "CT", ""):
        return Guess(None, f"Modality {modality}: neither MR nor CT")
    if part and not re.fullmatch(HEAD, part):
        return Guess(None, f"BodyPartExamined {part.upper()}: not the head")
    if why := says_synthetic(tags):
        return Guess(None, f"a synthetic image, not a scan: {why}")
    kinds = [kind.upper() for kind in values(tags, "ImageType")]
    if guess := _by_image_type(kinds):
        return guess
    for key in ("SeriesDescription", "ProtocolName"):
        if guess := _by_words(key, word(tags, key), tags, modality, b_s_mm2):
            return guess
    if modality == "CT":
        return Guess("ct", "Modality CT")
    return _by_physics(tags, b_s_mm2)


def _by_image_type(kinds: Sequence[str]) -> Guess | None:
    """Return what ImageType (0008,0008) settles alone."""
    said = "\\".join(kinds)
    if "ADC" in kinds or "ADC_UNSPECIFIED" in kinds:
        return Guess("adc", "ImageType contains ADC")
    for kind, what in (
        ("LOCALIZER", "a localizer"),
        ("MPR_THICK", "a projection"),
        ("PROJECTION IMAGE", "a projection"),
        ("MIP", "a projection"),
        ("MNIP", "a projection"),
        ("SUBTRACT", "a difference image"),
        ("SUBTRACTION", "a difference image"),
        ("FA", "a map of diffusion"),
        ("EADC", "a map of diffusion"),
        ("EXP", "a map of diffusion"),
        ("TENSOR", "a map of diffusion"),
        ("PERFUSION", "perfusion"),
        ("CBF", "perfusion"),
        ("CBV", "perfusion"),
        ("MTT", "perfusion"),
        ("TTP", "perfusion"),
        ("T1 MAP", "a map of relaxation"),
        ("T2 MAP", "a map of relaxation"),
        ("PHASE MAP", "a phase image"),
        ("SCREEN SAVE", "a picture of a screen"),
    ):
        if kind in kinds:
            return Guess(None, f"ImageType {said}: {what}")
    if "P" in kinds[2:]:
        return Guess(None, f"ImageType {said}: a phase image")
    return None


def _by_words(key: str, text: str, tags: Mapping[str, Any], modality: str, b_s_mm2: float | None) -> Guess | None:
    """Return what a description says, None where it says nothing of a contrast."""
    plain, said = normalise(text), f"{key} '{text}' says"
    for pattern, what in UNUSED:
        if says(pattern, plain):
            return Guess(None, f"{said} {says(pattern, plain)}: {what}")
    if modality == "CT":
        return Guess("ct", f"Modality CT, {key} '{text}'") if text else None
    named = {contrast: what for contrast, pattern, what in WORDS if says(pattern, plain)}
    if "adc" in named:
        return Guess("adc", f"{said} ADC")
    if "dwi" in named:
        return _weighted(f"{said} diffusion", b_s_mm2)
    if {"t1", "flair"} <= set(named) and "t2" not in named:
        named.pop("flair")  # a T1-weighted inversion recovery of GE's, by name
    if "flair" in named:
        return _unless_physics(Guess("flair", f"{said} FLAIR"), tags)
    if {"t1", "t2"} <= set(named):
        return Guess(None, f"{said} both T1 and T2")
    if "t2" in named:
        return _unless_physics(Guess("t2", f"{said} T2"), tags)
    return _unless_physics(_t1(said, plain, tags), tags) if "t1" in named else None


def _weighted(reason: str, b_s_mm2: float | None) -> Guess:
    """Return a diffusion-weighted image, named by its b-value where that is known."""
    if b_s_mm2 is None:
        return Guess("dwi", f"{reason}, b-value unknown")
    return Guess(dwi_name(round(b_s_mm2)), f"{reason}, b = {b_s_mm2:g} s/mm²")


def _t1(said: str, plain: str, tags: Mapping[str, Any]) -> Guess:
    """Return which T1 it is: before, after, or after a part of the contrast agent."""
    agent = word(tags, "ContrastBolusAgent")
    given = normalise(agent) not in NO_AGENT
    native, low = says(NATIVE, plain), says(LOW_DOSE, plain)
    enhanced = says(AGENT, plain.replace(native, " ") if native else plain)
    if low:
        return Guess("t1ld", f"{said} T1 and {low}")
    if native:
        if given:
            return Guess(None, f"{said} T1 and {native}, but agent {agent!r} is entered (0018,0010)")
        if enhanced:
            return Guess(None, f"{said} T1, {native} and {enhanced}: before or after contrast agent?")
        return Guess("t1", f"{said} T1 and {native}")
    if enhanced:
        return Guess("t1ce", f"{said} T1 and {enhanced}" + (", agent given (0018,0010)" if given else ""))
    if given:
        return Guess("t1ce", f"{said} T1, agent given (0018,0010)")
    return Guess("t1", f"{said} T1, no agent given")


def _unless_physics(guess: Guess, tags: Mapping[str, Any]) -> Guess:
    """Return the guess, or none where echo time or sequence contradict it."""
    te, sequence = number(tags, "EchoTime"), values(tags, "ScanningSequence")
    if guess.contrast == "t2" and sequence == ["GR"]:
        return Guess(None, f"{guess.reason}, but it is a gradient echo: T2*")
    if te is not None and te > 0:
        long_te = te >= LONG_TE_MS
        if guess.contrast in ("t2", "flair") and te < SHORT_TE_MS:
            return Guess(None, f"{guess.reason}, but TE {te:g} ms is short")
        if guess.contrast in ("t1", "t1ce", "t1ld") and long_te:
            return Guess(None, f"{guess.reason}, but TE {te:g} ms is long")
    return guess


def _by_physics(tags: Mapping[str, Any], b_s_mm2: float | None) -> Guess:
    """Return what repetition, echo and inversion time (ms) say where no description does."""
    tr, te, ti = (number(tags, key) for key in ("RepetitionTime", "EchoTime", "InversionTime"))
    sequence = {kind.upper() for kind in values(tags, "ScanningSequence")}
    shown = " ".join(f"{n} {v:g}" for n, v in (("TR", tr), ("TE", te), ("TI", ti)) if v is not None)
    unsure = Guess(None, f"no description says its contrast, and neither do its times ({shown or 'none given'})")
    if b_s_mm2 is not None and b_s_mm2 > 0:
        return _weighted("diffusion b-value", b_s_mm2)
    if tr is None or te is None or "EP" in sequence:
        return unsure
    if ti is not None and CSF_NULL_MS[0] <= ti <= CSF_NULL_MS[1] and te >= LONG_TE_MS:
        return Guess("flair", f"{shown}, inversion recovery with long TE")
    if ti is not None and 500 <= ti <= 1300 and te <= 10 and "GR" in sequence:
        return _t1(f"{shown}, inversion-prepared gradient echo", "", tags)
    if sequence == {"SE"} and te <= SHORT_TE_MS and tr <= SHORT_TR_MS:
        return _t1(f"{shown}, spin echo with short TR and TE:", "", tags)
    if sequence == {"SE"} and te >= LONG_TE_MS and tr >= LONG_TR_MS:
        return Guess("t2", f"{shown}, spin echo with long TR and TE")
    return unsure


# --- tags -------------------------------------------------------------------------------------------------------------


def word(tags: Mapping[str, Any], key: str) -> str:
    """Return a tag as one text, "" where it is missing."""
    value = tags.get(key)
    return "" if value is None else str(value).strip()


def values(tags: Mapping[str, Any], key: str) -> list[str]:
    """Return a tag of several values as texts, [] where it is missing."""
    value = tags.get(key)
    if value is None or value == "":
        return []
    parts = value.split("\\") if isinstance(value, str) else value if isinstance(value, Sequence) else [value]
    return [str(part).strip() for part in parts]


def number(tags: Mapping[str, Any], key: str) -> float | None:
    """Return a tag as a number, None where it is missing or none."""
    try:
        return float(tags.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
