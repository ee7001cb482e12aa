"""One problem of a cohort, in words that a user can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.files import printable


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        case: its name, or "cohort".
        severity: an "error" stops later commands, a "warning" does not.
        what: the problem, in a sentence.
        found, expected, do: as in `MrsynthError`, None for nothing to say.
    """

    case: str
    severity: Literal["error", "warning"]
    what: str
    found: str | None = None
    expected: str | None = None
    do: str | None = None

    def __str__(self) -> str:
        # Paths, and what files hold, may carry line breaks and escape sequences.
        told = (None if text is None else printable(text) for text in (self.found, self.expected, self.do))
        found, expected, do = told
        error = MrsynthError(printable(self.what), found=found, expected=expected, do=do)
        return f"{self.severity}: {error}"


def of_error(case: str, error: InputError, severity: Literal["error", "warning"] = "error") -> Problem:
    """Return an error that a reader raised as a problem of a case.

    Args:
        case: The case's name.
        error: What was raised.
        severity: "error" or "warning".
    """
    found, expected = (None if value is None else str(value) for value in (error.found, error.expected))
    return Problem(case, severity, error.what, found, expected, error.do)
