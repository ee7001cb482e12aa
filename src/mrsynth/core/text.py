"""Words of messages that several rooms share."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 case, 2 cases.

    Args:
        n: the number.
        noun: in the singular.
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def shortened(text: str, length: int = 300) -> str:
    """Return a text, cut off where it is longer.

    Args:
        text: any text.
        length: characters that may stay.
    """
    return text if len(text) <= length else text[: length - 1] + "…"
