"""What a file name says an image is: votes of its words, and what stands before them (the case, perhaps)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.types import image_name, is_contrast
from mrsynth.index.agent import GIVEN, PART, agent_by_words
from mrsynth.index.evidence import CERTAIN, DOUBT, KIND, OTHER, TAG, WORD, Vote
from mrsynth.index.masks import is_mask_word, mask_votes, names_a_mask
from mrsynth.index.words import normalise, other_kind, says
from mrsynth.io.sidecar import stem_of

TARGET = re.compile(
    r"(?:co?)?reg\w*|(?:co)?registered|coreg\w*|aligned?|align|to|in|on|onto|into|space|2|rigid|affine|warped|resampled"
    r"|matched|like|ref|flirt|ants|elastix",
    re.I,
)
"""Words after which a name says what the image was brought to: FLAIR_coreg_T1 is a FLAIR."""

SPELLINGS = {
    "t1gad": "t1ce",
    "t1km": "t1ce",
    "t1wce": "t1ce",
    "t1cew": "t1ce",
    "t1wgd": "t1ce",
    "t1c+": "t1ce",
    "t1+c": "t1ce",
    "3dt1": "t1",
    "t13d": "t1",
    "t1mprage": "t1",
    "bravo": "t1",
    "spgr": "t1",
    "fspgr": "t1",
    "3dt2": "t2",
    "3dflair": "flair",
    "flair3d": "flair",
    "t2flair": "flair",
}
"""Spellings of file names beside those of `core.types`, lower case."""

NEUTRAL = re.compile(
    r"\d+[a-z]{0,3}|[a-z]{1,3}\d+|\w*\d{3,}\w*|w|acpc|dc|ax|axial|sag|sagittal|cor|coronal|tra|trans|transversal|transverse|obl|iso|se|tse|fse|gre"
    r"|gr|ir|tfe|ffe|vibe|space|cube|vista|flash|mprage|mp|rage|fl|fs|fatsat|sat|tir|tirm|spc|ns|nd|norm|sense|grappa|caipi|dis|"
    r"weighted|wi|image|images|img|scan|vol|volume|series|ser|acq|run|rec|echo|part|mag|magnitude|orig|original|raw|native|"
    r"n4|n3|bias|biascorr|corr|corrected|bfc|unbiased|norm\w*|std|standard|zscore|scaled|hist|histmatch|denoised?|nlm|gibbs|"
    r"reg|regist\w*|coreg\w*|aligned|rigid|affine|rig|lin|warped|resampled|resliced?|reslice|reoriented?|ro|ras|lps|lia|las|rpi|"
    r"crop\w*|roi|pad\w*|resiz\w*|iso\w*|mm|um|hr|lr|highres|lowres|bet|stripped|ss|skullstrip\w*|skullstripped|noskull|"
    r"skull|deskulled|defaced?|deface|anon\w*|anonymi[sz]ed|pp|prep\w*|proc\w*|processed|preproc\w*|final|new|old|copy|clean|"
    r"v|mni\w*|atlas|sri|sri24|template|icbm|talairach|space|subject|sub|ses|pat\w*|case|id|study|visit|baseline|followup|tp|"
    r"pre|post\w*|op|preop|postop|gd|gad\w*|ce|c|km|contrast\w*|dose|tumou?rs?|glioma|gbm|lgg|hgg|avm|stroke|ms|ich|sah|trauma|"
    r"normal|healthy|control|siemens|philips|ge|prisma|skyra|avanto|achieva|ingenia|signa|verio|trio|aera|hitachi|toshiba|canon|"
    r"brain|head|human|nii|gz|nifti|dcm|dicom|mr|mri|ct|hu|native|dark|fluid|fat|suppressed|propeller|blade|drive|restore|flair|"
    r"left|right|lh|rh|both|site|center|centre|hospital|train\w*|val\w*|test\w*|low|high|field|tesla|of|and|with|without|no|mit|"
    r"adni|oasis|ixi|hcp|ukb|brats|tcga|upenn|ucsf|isles|edema|e|dixon|water|none|nil|nein|to|in|on|onto|into|linear|ants|flirt|elastix",
    re.I,
)
"""Words of names under which a plain image may stand: numbers, planes, sequences, usual steps, makers, diagnoses."""

PROCESSED = re.compile(
    r"n[34]|bias\w*|bfc|unbiased|corr\w*|norm\w*|zscore|scaled|hist\w*|denois\w*|nlm|reg\w*|coreg\w*|aligned|rigid|affine|warped"
    r"|resampl\w*|reslic\w*|crop\w*|bet|stripped|ss|skullstrip\w*|deface\w*|prep\w*|proc\w*|processed|mni\w*|atlas|sri\w*|std",
    re.I,
)
"""Words of names that tell of a step after the scan: of two images of one contrast the one with fewer is taken."""

BEFORE_TOO = ("a map of tissues", "a movement, not an image", "made by a model", "a measure made of images",
              "a field map, phase or complex image")  # fmt: skip
"""Kinds that also stand in front of a contrast (c1_T1, pred_T2), where else the patient is named."""

PLANE = re.compile(
    r"([\W_]+|^)(ax|axial|sag|sagittal|cor|coronal|tra|trans|transversal|2d|3d|fs|se|tse|fse|gre)$", re.I
)
"""The last word before a contrast where it says how the image was acquired, not of whom."""


NO_WORD = "no word of its name is a contrast or a mask"
"""The reason of an image whose name says nothing."""


@dataclass(frozen=True)
class Word:
    """A word of a name.

    Attributes:
        start: where it begins.
        text: itself.
        means: the contrast or mask that it means alone, None for none.
    """

    start: int
    text: str
    means: str | None


@dataclass(frozen=True)
class NamedImage:
    """What a file name says.

    Attributes:
        kind, agent: votes.
        prefix: what stands before the words that name the image.
        steps: how many of its words tell of processing.
    """

    kind: tuple[Vote, ...]
    agent: tuple[Vote, ...]
    prefix: str
    steps: int


def spelt(word: str) -> str | None:
    """Return the contrast or mask that one word of a file name means, None where it means nothing."""
    return image_name(word) or SPELLINGS.get(word.lower())


def is_contrast_folder(name: str) -> bool:
    """Say whether a folder is named by a contrast (T1/, FLAIR/): it holds one image of a case, it is none."""
    meant = spelt(name)
    return meant is not None and is_contrast(meant)


def read_name(path: Path) -> NamedImage:
    """Return what a NIfTI file's name says of its image.

    The name is split where it is not alphanumeric. Words that mean a contrast or a mask name the image, except behind a
    word of TARGET; other words behind them must be known (NEUTRAL), or they raise a doubt.
    """
    stem = stem_of(path)
    words = _words(stem)
    own = [i for i, word in enumerate(words) if word.means and not _is_target(words, i)]
    own = own or [i for i, word in enumerate(words) if word.means and is_contrast(word.means)][-1:]
    contrasts = [i for i, word in enumerate(words) if word.means and is_contrast(word.means)]
    names_mask = names_a_mask([word.text for word in words], contrasts[-1] + 1 if contrasts else 0)
    first = _first_of_mask(words) if names_mask else _first_of_image(words, own)
    prefix = re.sub(r"[\W_]+$", "", stem[: words[first].start]) if first < len(words) else ""
    while PLANE.search(prefix):
        prefix = PLANE.sub("", prefix)
    kind = list(mask_votes(stem)) if names_mask else list(_contrast_votes(words, own, first, path))
    before, after = " ".join(w.text for w in words[:first]), " ".join(w.text for w in words[first:])
    agent = [] if names_mask else list(_agent_votes(words, own, before, after))
    steps = sum(bool(PROCESSED.fullmatch(word.text)) for word in words[first:])
    if not names_mask and not own:
        prefix = ""
    return NamedImage(tuple(kind), tuple(agent), prefix, steps)


def _words(stem: str) -> list[Word]:
    """Return the words of a name; two that mean something together (gold_standard, t1_c+) are one."""
    spans = [(m.start(), m.group()) for m in re.finditer(r"[^\W_]+(?:\+c?|(?<=1)\+c)?", stem, re.I)]
    words: list[Word] = []
    for start, text in spans:
        pair = spelt(f"{words[-1].text}_{text}") if words else None
        if pair is not None:
            last = words.pop()
            words.append(Word(last.start, f"{last.text}_{text}", pair))
        elif parts := re.fullmatch(r"(\w+?)(?:2|to|in|reg|on)(\w+)", text, re.I):
            both = [spelt(part) for part in parts.groups()]
            words.append(Word(start, text, both[0] if None not in both else spelt(text)))  # FLAIR2T1
        else:
            words.append(Word(start, text, spelt(text)))
    return words


def _is_target(words: Sequence[Word], i: int) -> bool:
    """Say whether a word names what the image was brought to: another contrast stands before `reg`, `to`, `in` …"""
    if i == 0 or not TARGET.fullmatch(words[i - 1].text):
        return False
    return words[i - 1].text.lower() in ("space",) or any(word.means for word in words[: i - 1]) or (
        words[i - 1].text.lower() in ("to", "in", "2")
    )  # fmt: skip


def _is_glued_target(text: str) -> bool:
    """Say whether a word is one of TARGET and a contrast: regT1, toT2."""
    match = re.fullmatch(r"(?:to|in|on|(?:co)?reg|2)(\w+)", text, re.I)
    return match is not None and spelt(match.group(1)) is not None


def _first_of_image(words: Sequence[Word], own: Sequence[int]) -> int:
    """Return the first of the words that end a name and speak of the image: from its last contrast or mask back to the
    first one that no other word parts from it."""
    if not own:
        return 0
    first = own[-1]
    for i in reversed(own[:-1]):
        if first - i == 1 or (
            all(TARGET.fullmatch(word.text) or NEUTRAL.fullmatch(word.text) for word in words[i + 1 : first])
            and not any(re.search(r"\d", word.text) for word in words[i + 1 : first])
        ):
            first = i
        else:
            break
    return first


def _first_of_mask(words: Sequence[Word]) -> int:
    """Return the first of the words that end a name and speak of a mask."""
    first = len(words)
    while first > 0 and (words[first - 1].means or is_mask_word(words[first - 1].text)):
        first -= 1
    return first


def _contrast_votes(words: Sequence[Word], own: Sequence[int], first: int, path: Path) -> Iterator[Vote]:
    """Yield what the words of a name that speaks of no mask say."""
    meant = [(words[i].means or "", words[i].text) for i in own if i >= first]
    if meant and meant[-1][0] == "brain" and len(meant) > 1:
        what = meant[-2][0]
        if words[-1].text.lower() == "brain":
            yield Vote(DOUBT, TAG, f"may be a stripped {what} or a brain mask: rename it (…_{what} or …_brain_mask)")
        meant.pop()
    contrasts = dict.fromkeys("t1" if name in ("t1ce", "t1ld") else name for name, _ in meant)
    for whole, part in (("flair", "t2"), ("adc", "dwi")):
        if {whole, part} <= set(contrasts):
            contrasts.pop(part)
    if len(contrasts) > 1:
        both = "a T1 FLAIR, or one registered to the other (…_to_FLAIR)?" if "flair" in contrasts else "which?"
        yield Vote(DOUBT, TAG, f"its name says {' and '.join(t for _, t in meant)}: {both} Rename it")
        return
    if not contrasts:
        return
    (name,) = contrasts
    yield Vote(name, TAG, f"its name says {meant[-1][1]}")
    text = meant[-1][1]
    rest = [word.text for word in words[first:]]
    plain = normalise(" ".join(rest))
    if "adc" not in contrasts and (other := other_kind(plain)):
        yield Vote(OTHER, CERTAIN, f"its name says {text} and {other[0]}: {other[1]}")
        return
    front = normalise(" ".join(w.text for w in words[:first] if not re.search(r"\d{2}", w.text)))
    if front in ("y", "iy"):
        yield Vote(DOUBT, WORD, f"{front} stands before {text}: a field of deformation?")
    if (other := other_kind(front)) and other[1] in BEFORE_TOO:
        yield Vote(DOUBT, WORD, f"{other[0]} stands before {text}: {other[1]}?")
    known = {part.lower() for folder in path.parts[:-1] for part in re.findall(r"[^\W_]+", folder)}
    for word in words[first:]:
        if word.means or NEUTRAL.fullmatch(word.text) or word.text.lower() in known or _is_glued_target(word.text):
            continue
        if list(agent_by_words(word.text, "")):
            continue
        yield Vote(DOUBT, WORD, f"'{word.text}' is not known here: a plain {name} image?")
        return


def _agent_votes(words: Sequence[Word], own: Sequence[int], before: str, after: str) -> Iterator[Vote]:
    """Yield what a name says of a contrast agent."""
    said = {words[i].means: words[i].text for i in own}
    if "t1ld" in said:
        yield Vote(PART, CERTAIN, f"its name says {said['t1ld']}")
        return
    if "t1ce" in said:
        yield Vote(GIVEN, KIND, "")
        return
    if not {"t1", "ct"} & set(said):
        return
    yield from agent_by_words(after, "its name says")
    if re.search(r"(?:^| )c$|(?:^| )c ", after.lower().partition(" ")[2] + " "):
        yield Vote(GIVEN, WORD, "its name says C")
    near = before.split(" ")[-1] if before else ""
    for text in (
        "" if near.lower() == "post" else near,
        *re.findall(r"(?i)gad\w+|post(?:contrast|gd|gad|km)|kontrast\w*|contrast\w*", before),
    ):
        yield from (Vote(vote.answer, vote.weight, vote.reason) for vote in agent_by_words(text, "its name says"))
    if says("post", normalise(before)):
        yield Vote(DOUBT, WORD, "its name says post: after contrast agent or after surgery? Rename it")
