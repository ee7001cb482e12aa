"""Words of messages that several rooms share."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: 1 case, 2 cases."""
    return f"{n} {noun}{'s' * (n != 1)}"
