"""Evidence that adds up: each source votes for an answer, with a weight and a reason; without a lead you are asked.

Sources are a file's name, its folder, DICOM tags, the .json beside it (`tags`, `names`, `bids`) and the header of the
image itself. A vote for OTHER says that the image is of a kind that no model here uses; a vote for DOUBT says that
something stands there which nobody here knows, so that no other vote may count alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

OTHER, DOUBT = "other", "doubt"

HINT, WORD, TAG, KIND, CERTAIN = 1.0, 2.0, 3.0, 4.0, 6.0
"""Weights: a remark; a word of a name or description; a tag or BIDS suffix made to say it; a word of a kind that is
not used (T1 *map*: it changes the meaning of the word beside it); a tag that settles it alone."""

NEEDED = 2.0
"""An answer needs this weight at least: one word."""

LEAD = 2.0
"""And it needs this much more than the next one: a word against a word is no answer, nor is a tag against a word."""

UNSURE = "unsure: "
"""How the reason begins where you are asked."""


@dataclass(frozen=True)
class Vote:
    """One piece of evidence.

    Attributes:
        answer: what it speaks for.
        weight: how much it weighs.
        reason: what was read, in words.
    """

    answer: str
    weight: float
    reason: str


@dataclass(frozen=True)
class Guess:
    """What an image is.

    Attributes:
        contrast: or mask; None where it is not used.
        reason: why, in words.
    """

    contrast: str | None
    reason: str


def decide(votes: Iterable[Vote], silent: str) -> Guess:
    """Return the answer with the most weight, where it is clear.

    Args:
        votes: The evidence; what is worth most should come first, for the reason.
        silent: The reason to give where there is no evidence at all.

    Returns:
        The answer and its reasons; None with the reason where the image is of another kind (OTHER); None with a
        reason that begins with UNSURE where no answer leads.
    """
    totals: dict[str, float] = defaultdict(float)
    reasons: dict[str, list[str]] = defaultdict(list)
    for vote in votes:
        totals[vote.answer] += vote.weight
        reasons[vote.answer] += [vote.reason] if vote.reason not in reasons[vote.answer] else []
    if not totals:
        return Guess(None, silent)
    ranked = sorted(totals, key=lambda answer: -totals[answer])
    best = ranked[0]
    behind = max((totals[answer] for answer in ranked[1:]), default=0.0)
    if best != DOUBT and totals[best] >= NEEDED and totals[best] - behind >= LEAD:
        return Guess(None if best == OTHER else best, ", ".join(reasons[best]))
    told = "; but ".join(
        ", ".join(reasons[answer]) for answer in sorted(ranked, key=lambda a: (a == DOUBT, a == OTHER))
    )
    return Guess(None, f"{UNSURE}{told}")
