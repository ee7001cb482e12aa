"""What an image is, from all evidence: first its kind, then, of a T1 or a CT, whether a contrast agent was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mrsynth.core.types import dwi_name
from mrsynth.index.agent import GIVEN, NONE, agent_by_tags, agent_by_words, judge_agent
from mrsynth.index.evidence import UNSURE, Guess, Vote, decide
from mrsynth.index.tags import kind_by_tags, number, word


def recognise(
    kind: Sequence[Vote],
    agent: Sequence[Vote],
    b_s_mm2: float | None = None,
    *,
    silent: str,
    unsaid: str = ", no agent given",
) -> Guess:
    """Return what an image is.

    Args:
        kind: Evidence of what it is (t1, t2, flair, adc, dwi, ct, a mask, OTHER, DOUBT).
        agent: Evidence of a contrast agent.
        b_s_mm2: The nominal b-value of a diffusion-weighted image in s/mm².
        silent: The reason to give where there is no evidence.
        unsaid: What the reason of a T1 adds where nothing speaks of an agent.

    Returns:
        A contrast or mask and the reason; None and the reason where the image is not used, or where you are asked.
    """
    guess = decide(kind, silent)
    if guess.contrast == "dwi":
        return _weighted(guess, b_s_mm2)
    if guess.contrast == "t1":
        return _t1(guess, judge_agent(agent), unsaid=None if agent else unsaid)
    if guess.contrast == "ct" and agent:
        given = judge_agent(agent)
        if given.contrast == NONE:
            return Guess("ct", f"{guess.reason}, {given.reason}")
        asked = given.reason.removeprefix(UNSURE)
        return Guess(None, f"{guess.reason}, but {asked}: no CT without contrast agent" if given.contrast else
                     f"{UNSURE}{guess.reason}; but {asked}")  # fmt: skip
    return guess


def guess_by_tags(tags: Mapping[str, Any], b_s_mm2: float | None = None) -> Guess:
    """Return what a DICOM volume is by its tags.

    Args:
        tags: Keyword → value (ms, degrees, mm); missing ones may be absent or empty.
        b_s_mm2: The nominal b-value of a diffusion-weighted image in s/mm².
    """
    names = (("TR", "RepetitionTime"), ("TE", "EchoTime"), ("TI", "InversionTime"))
    times = " ".join(f"{n} {v:g}" for n, key in names if (v := number(tags, key)) is not None)
    silent = f"no description says its contrast, and neither do its times ({times or 'none given'})"
    return recognise(list(kind_by_tags(tags, b_s_mm2)), agent_votes(tags), b_s_mm2, silent=silent)


def agent_votes(tags: Mapping[str, Any]) -> list[Vote]:
    """Return what tags say of a contrast agent: descriptions and the contrast module."""
    votes: list[Vote] = []
    for key in ("SeriesDescription", "ProtocolName"):
        if text := word(tags, key):
            told = list(agent_by_words(text, f"{key} '{text}' says"))
            votes += told if not votes else []
    return [*votes, *agent_by_tags(tags)]


def _weighted(guess: Guess, b_s_mm2: float | None) -> Guess:
    """Return a diffusion-weighted image, named by its b-value where that is known."""
    if b_s_mm2 is None:
        return replace(guess, reason=f"{guess.reason}, b-value unknown")
    b = f"b = {b_s_mm2:g} s/mm²"
    return Guess(dwi_name(round(b_s_mm2)), guess.reason if b in guess.reason else f"{guess.reason}, {b}")


def _t1(guess: Guess, agent: Guess, unsaid: str | None) -> Guess:
    """Return which T1 it is: before, after, or after a part of the dose of a contrast agent.

    unsaid: what to add where nothing was said of an agent, None where something was.
    """
    if agent.contrast is None:
        return Guess(None, f"{UNSURE}{guess.reason}, but {agent.reason.removeprefix(UNSURE)}")
    contrast = {NONE: "t1", GIVEN: "t1ce"}.get(agent.contrast, "t1ld")
    if unsaid is not None:
        return Guess(contrast, f"{guess.reason}{unsaid}")
    if not agent.reason or agent.reason in guess.reason:
        return Guess(contrast, guess.reason)
    source = guess.reason.partition(" says ")[0] + " says "
    if agent.reason.startswith(source):  # the same words: not quoted twice
        return Guess(contrast, f"{guess.reason} and {agent.reason.removeprefix(source)}")
    return Guess(contrast, f"{guess.reason}, {agent.reason}")
