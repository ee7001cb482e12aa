"""Whether a contrast agent was given: votes from words in several languages, negated ones too, and from tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mrsynth.index.evidence import CERTAIN, DOUBT, HINT, TAG, WORD, Guess, Vote, decide
from mrsynth.index.words import normalise, says

GIVEN, NONE, PART = "given", "none", "part"
"""The answers: after, before (or without), or after a part of the dose of a contrast agent."""

_MEANS = (
    r"km|kontrast\w*|contrast\w*|gd|gd\w+|gad\w*|inj\w*|mdc|agent|bolus|gado\w*|dotarem|magnevist|multihance|prohance|omniscan"
    r"|clariscan|vueway|elucirem|primovist|eovist|ablavar|optimark|\w*iohexol\w*|iop[ar]\w*|iod\w*|omnipaque|ultravist"
    r"|visipaque|iomer\w*|isovue|optiray|xenetix|imeron|solutrast|accupaque|mezzo|medio|produit|wlew\w*|kontr\w*|контраст\w*|ку"
)
"""Words for the agent itself."""

_NOT = (
    r"no|not|non|none|nil|null|never|without|w o|wo|ohne|kein\w*|nicht|sans|pas|aucun\w*|sin|ningun\w*"
    r"|nessun\w*|senza|sem|nao"
    r"|nenhum\w*|zonder|geen|niet|bez|brak|nie|utan|ej|ingen|inget|uden|ikke|uten|ilman|ei|nem|nelkul|fara|negativ\w*|neg"
    r"|refused|declined|deferred|cancel\w*|0|nein|pre|vor|vorm|vorher|before|avant|antes|prima|przed|pred|fore|for|for|voor"
    r"|ante|innan|до|без|нет|не|s|free|nao"
)
"""Words that negate one of those, before or behind it."""

_AFTER = (
    r"post|nach|after|apres|despues|dopo|depois|apos|po|efter|etter|na|pos|mit|with|w|avec|con|com|met|med|z|c|с|после"
)
"""Words that affirm one of those."""

_ALONE = (
    r"\+ ?c|c ?\+|\+ ?gd|ce|t1w?ce\w*|t1w?c|t1w?gd|t1w?post\w*|t1w?gad\w*|postcontrast|postgd|postgad\w*|postkm"
    r"|mdk|enhanced"
    r"|ce ?t1w?|kmt1|gdt1|c c|axc|pc"
)
"""Words that say by themselves that it was given."""

_NATIVE = (
    r"pre|precontrast|pregd|pregad\w*|nativ\w*|unenhanced|plain|blanco|w o|wo|without|nc|nce|noncontrast\w*"
    r"|nongad\w*|basal"
    r"|uncontrasted|vor|avant|ohne|sans|sin|senza|zonder|sem"
)
"""Words that say by themselves that it was not."""

_POST_ENDS = (
    r"(?:ax\w*|tra\w*|sag\w*|cor\w*|obl\w*|fs|fat ?sat\w*|\d\w*|t1\w*|mprage|se|tse|fse|gre|3d|vibe"
    r"|space|tfe|iso|reg|bet)"
)
"""What may stand behind a `post` that means the agent: planes and sequences, not `post op` or `posterior`."""

_OTHER_AFTER = (
    r"post ?(?:op\w*|surg\w*|biops\w*|treat\w*|therap\w*|rt|rtx|radi\w*|chemo\w*|resect\w*|ictal|traum\w*"
    r"|stroke|shunt\w*"
    r"|er[a-z]*|fossa|mortem|covid|natal|partum|acq\w*|proc\w*)|i v|i\.v"
)
"""Words that tell of a time after something else than the agent, and fillers."""

LOW_DOSE = (
    r"t1ld|low ?dose|reduced dose|half dose|quarter dose|(?:5|10|20|25|30|33|50) ?(?:%|percent) ?(?:dose|gd|gad\w*|ce)"
)

_EAST = {"增强": GIVEN, "造影": GIVEN, "조영": GIVEN, "平扫": NONE, "単純": NONE, "单纯": NONE, "비조영": NONE}
"""Words of scripts that put no spaces between words."""

_UNSAID = (
    r"unknown|unk|na|n a|unspecified|not specified|not entered|see notes?|xx+|anonymi[sz]ed|removed|deidentified|x"
)


def agent_by_words(text: str, where: str) -> Iterator[Vote]:
    """Yield what a description or name says of a contrast agent.

    Args:
        text: The words as they stand.
        where: What they are, for the reason ("SeriesDescription 'AX T1 POST' says").
    """
    plain = normalise(text)
    if low := says(LOW_DOSE, plain):
        yield Vote(PART, CERTAIN, f"{where} {low}")
        return
    for sign, answer in _EAST.items():
        if sign in text:
            yield Vote(answer, WORD, f"{where} {sign}")
    if both := says(
        r"(?:w|with|mit|con|avec|com|pre|vor)(?: and| und| y| et| e|) (?:w ?o|without|ohne|sin|sans|sem|post)(?: \w+)?",
        plain,
    ):
        yield Vote(DOUBT, WORD, f"{where} {both}: before or after contrast agent?")
        return
    plain = re.sub(rf"(^| )(?:{_OTHER_AFTER})(?= |$)", r"\1", plain)
    # Each word counts once: negated ones first, then affirmed ones, then those that stand alone.
    for pattern, answer in (
        (rf"(?:{_NOT})(?: (?:\w+ )??|)(?:de |di |dem |der |das |the |any )?(?:iv )?(?:{_MEANS})", NONE),
        (rf"(?:{_MEANS})(?: agent)? (?:was )?(?:{_NOT}|free)(?: given| administered)?", NONE),
        (
            rf"(?:(?:{_AFTER}) ?)?(?:the |de |di |der |dem |i v |iv )?(?:{_MEANS})"
            r"(?: (?:given|administered|injected))?",
            GIVEN,
        ),
        (r"(?:non?|not|nicht|un) ?enhanced", NONE),
        (rf"(?:{_ALONE})", GIVEN),
        (r"non? ?(?:ce|c)|no", NONE),
        (rf"(?:{_NATIVE})", NONE),
        (rf"(?:post|pos)(?=$| {_POST_ENDS}(?: |$))", GIVEN),
    ):
        while word := says(pattern, plain):
            yield Vote(answer, WORD, f"{where} {word}")
            plain = re.sub(rf"(^| ){re.escape(word)}(?= |$)", r"\1|", plain, count=1)
    if word := says(r"post(?!er)\w*", plain):
        yield Vote(DOUBT, WORD, f"{where} {word}: after contrast agent, or after something else?")


def agent_by_tags(tags: Mapping[str, Any]) -> Iterator[Vote]:
    """Yield what the tags of the contrast module (0018,0010) and following say.

    Args:
        tags: Keyword → value, of DICOM or of a BIDS sidecar.
    """
    for keyword in ("ContrastBolusAgent", "ContrastBolusIngredient"):
        if (text := str(tags.get(keyword) or "").strip()) and not says(_UNSAID, normalise(text)):
            yield _entered(keyword, text)
    for keyword, unit in (("ContrastBolusVolume", "ml"), ("ContrastBolusTotalDose", "ml")):
        try:
            amount = float(tags.get(keyword) or 0)
        except (TypeError, ValueError):
            continue
        if amount > 0:
            yield Vote(GIVEN, TAG, f"{keyword} {amount:g} {unit}")
    administered = str(tags.get("ContrastBolusAgentAdministered") or "").upper()
    if administered in ("YES", "NO"):
        yield Vote(GIVEN if administered == "YES" else NONE, CERTAIN, f"ContrastBolusAgentAdministered {administered}")
    route = normalise(str(tags.get("ContrastBolusRoute") or ""))
    if route and not says(_UNSAID, route):
        given = re.search(r"\biv\b|intraven\w*|inject\w*|vein|systemic|i v", route)
        yield Vote(GIVEN if given and not says(_NOT, route) else DOUBT, HINT, f"ContrastBolusRoute {route}")
    if tags.get("ContrastBolusStartTime"):
        yield Vote(GIVEN, HINT, "ContrastBolusStartTime is entered")


def _entered(keyword: str, text: str) -> Vote:
    """Return what a field for the agent's name says."""
    plain = normalise(text)
    negated, named = says(_NOT, plain), says(_MEANS, plain)
    if re.fullmatch(r"[\W_]*|n", plain):
        return Vote(NONE, HINT, f"{keyword} {text!r}")
    # "NONE, no gadolinium", "Gadovist not given", but not "Gadovist, no reaction".
    whole = re.search(rf"(?:^| )(?:{_NOT})(?: \w+)? (?:{_MEANS})(?: |$)", plain) or re.search(
        rf"(?:^| )(?:{_NOT})(?: was)? (?:given|administered|injected|used|applied|gegeben|verabreicht)", plain
    )
    if negated and (whole or not named):
        return Vote(NONE, TAG, f"{keyword} {text!r}")
    if negated:
        return Vote(DOUBT, TAG, f"{keyword} {text!r}: was an agent given?")
    yes = says(r"y|yes|ja|oui|si|sim|given|administered|injected|iv|1|true|\d+(?: \d+)? ?(?:ml|cc|mmol\w*).*", plain)
    if named or yes or re.search(r"\d ?(?:ml|cc|mmol)|vist\b|scan\b|hance\b|paque\b|meron\b|gad", plain):
        return Vote(GIVEN, TAG, f"agent {text!r} is entered ({keyword})")
    return Vote(DOUBT, WORD, f"{keyword} {text!r}: is that a contrast agent?")


def judge_agent(votes: Sequence[Vote]) -> Guess:
    """Return GIVEN, NONE or PART with the reason, or None where the evidence contradicts itself.

    Nothing said at all counts as none given.
    """
    if not votes:
        return Guess(NONE, "nothing says that an agent was given")
    if all(vote.weight <= HINT for vote in votes):
        answers = {vote.answer for vote in votes}
        if answers == {NONE}:
            return Guess(NONE, ", ".join(vote.reason for vote in votes))
        votes = [*votes, Vote(DOUBT, WORD, "nothing else says whether an agent was given")]
    return decide(votes, "")
