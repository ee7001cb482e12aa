"""Contrast agents: words and tags in many languages, also those that say that none was given."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.naming import is_unsure

from mrsynth.index.agent import GIVEN, NONE, PART, agent_by_tags, agent_by_words, judge_agent

NOT_GIVEN = """T1 W/O | T1 ohne KM | T1 sans injection | T1 sin contraste | T1 sem contraste | T1 s/ contraste | T1 bez
kontrastu | T1 без контраста | T1 平扫 | T1 vor KM | T1 vor Gabe KM | T1 prima di mdc | T1 avant gado | T1 antes do
contraste | T1 före kontrast | T1 voor contrast | T1 przed kontrastem | T1 NO GAD | T1 non contrast | T1 (no contrast) |
T1 KM nein | T1 contrast: none | T1 keine KM-Gabe | T1 PRE-GAD | T1 pré-contraste | T1 nativ | T1 unenhanced | T1
non-enhanced | T1 not enhanced | T1 NC | T1 posterior fossa | T1 post op | T1 post RT | T1 postop | T1"""

WAS_GIVEN = """T1 POST | T1 POST FS | T1 +C | T1 C+ | T1 nach KM | T1 nach Gabe von KM | T1 GADO | T1 con mdc | T1 dopo
mdc | T1 avec injection | T1 apres gado | T1 com contraste | T1 c/ contraste | T1 po kontrascie | T1 с контрастом | T1
增强 | T1 efter kontrast | T1 met contrast | T1 mit Kontrast | T1 w/ contrast | T1_km | T1 Gd-DTPA | T1 post Gadovist |
T1 enhanced | sag t1 post"""

UNCLEAR = "T1 pre and post | T1 W/WO contrast | T1 with and without contrast | T1 PRE/POST | T1 postmortal series"


def words(texts: str) -> list[str]:
    return [text.strip() for text in " ".join(texts.split()).split("|")]


@pytest.mark.parametrize(
    ("text", "answer"),
    [*((t, NONE) for t in words(NOT_GIVEN)), *((t, GIVEN) for t in words(WAS_GIVEN)), ("T1 low dose gad", PART)],
)
def test_descriptions(text: str, answer: str) -> None:
    guess = judge_agent(list(agent_by_words(text, "it says")))
    assert guess.contrast == answer, guess.reason


@pytest.mark.parametrize("text", words(UNCLEAR))
def test_what_is_unclear_is_asked(text: str) -> None:
    assert is_unsure(judge_agent(list(agent_by_words(text, "it says"))))


ENTERED = {
    NONE: """NONE | No contrast given | NOT ADMINISTERED | W/O CONTRAST | kein KM | KEIN KONTRASTMITTEL | sem contraste
    | ohne | GADOVIST NOT GIVEN | patient declined contrast | nil | 0 | - | n | NO IV CONTRAST | brak | aucun | nessuno
    | unknown | n/a | not applicable""",
    GIVEN: """Gadovist | Gd | 7.5ml Gadavist | Dotarem 15 mL | MAGNEVIST | GADOBUTROL | IOHEXOL 350 | YES | agent
    | Multihance 10cc""",
    None: "Gadavist, no reaction | contrast-free | ABC | contraindicated",
}


@pytest.mark.parametrize(("text", "answer"), [(t, answer) for answer, texts in ENTERED.items() for t in words(texts)])
def test_what_is_entered_as_the_agent(text: str, answer: str | None) -> None:
    guess = judge_agent(list(agent_by_tags({"ContrastBolusAgent": text})))
    assert guess.contrast == answer, guess.reason


@pytest.mark.parametrize(
    ("tags", "answer"),
    [
        ({"ContrastBolusVolume": 7.5}, GIVEN),
        ({"ContrastBolusVolume": 0}, NONE),
        ({"ContrastBolusIngredient": "GADOLINIUM"}, GIVEN),
        ({"ContrastBolusRoute": "IV"}, None),
        ({"ContrastBolusRoute": "IV", "ContrastBolusVolume": 10}, GIVEN),
        ({"ContrastBolusAgentAdministered": "NO", "ContrastBolusAgent": "Gadovist"}, NONE),
        ({"ContrastBolusAgent": "NONE", "ContrastBolusVolume": 10}, None),
        ({}, NONE),
    ],
)
def test_other_tags(tags: dict[str, Any], answer: str | None) -> None:
    assert judge_agent(list(agent_by_tags(tags))).contrast == answer


@given(st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    for votes in (agent_by_words(text, "x"), agent_by_tags({"ContrastBolusAgent": text})):
        assert judge_agent(list(votes)).contrast in (GIVEN, NONE, PART, None)
