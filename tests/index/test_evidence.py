"""Votes add up; without a lead the user is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.naming import is_unsure

from mrsynth.index.evidence import DOUBT, HINT, LEAD, OTHER, TAG, UNSURE, WORD, Vote, decide

ANSWERS = st.sampled_from(["t1", "t2", OTHER, DOUBT])
VOTES = st.lists(st.builds(Vote, ANSWERS, st.sampled_from([HINT, WORD, TAG]), st.text(min_size=1, max_size=3)))


def test_a_word_is_enough_and_a_word_against_it_is_not() -> None:
    assert decide([Vote("t1", WORD, "a")], "").contrast == "t1"
    assert is_unsure(decide([Vote("t1", HINT, "a")], ""))
    both = decide([Vote("t1", WORD, "it says T1"), Vote("t2", WORD, "it says T2")], "")
    assert is_unsure(both)
    assert both.reason == f"{UNSURE}it says T1; but it says T2"


def test_another_kind_is_left_out_and_not_asked() -> None:
    guess = decide([Vote("t1", WORD, "T1"), Vote(OTHER, 2 * TAG, "a map")], "")
    assert (guess.contrast, guess.reason) == (None, "a map")


def test_silence_has_its_own_reason() -> None:
    assert decide([], "nothing") == decide((), "nothing")
    assert decide([], "nothing").reason == "nothing"


@given(VOTES)
def test_what_is_answered_leads(votes: list[Vote]) -> None:
    guess = decide(votes, "nothing")
    totals = {a: sum(v.weight for v in votes if v.answer == a) for a in ("t1", "t2", OTHER, DOUBT)}
    assert guess.contrast not in (OTHER, DOUBT)
    if guess.contrast is not None:
        assert totals[guess.contrast] >= LEAD + max(totals[a] for a in totals if a != guess.contrast)


@given(VOTES, st.randoms())
def test_the_order_of_votes_does_not_matter(votes: list[Vote], random: st.random.Random) -> None:  # type: ignore[name-defined]
    turned = list(votes)
    random.shuffle(turned)
    assert decide(votes, "").contrast == decide(turned, "").contrast
