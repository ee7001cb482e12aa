"""What a file is by its name alone."""

from __future__ import annotations

from pathlib import Path

from mrsynth.index.evidence import UNSURE, Guess
from mrsynth.index.names import NO_WORD, read_name
from mrsynth.index.recognise import recognise


def parse_name(path: Path) -> tuple[Guess, str]:
    """Return what a file is by its name alone, and what stands before the words that say so."""
    name = read_name(path)
    return recognise(name.kind, name.agent, silent=NO_WORD, unsaid=""), name.prefix


def is_unsure(guess: Guess) -> bool:
    """Return whether the evidence contradicts itself, so that the user has to say what the image is."""
    return guess.contrast is None and guess.reason.startswith(UNSURE)
