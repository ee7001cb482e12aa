"""The error tree: every message says what was wrong, what was found, what was expected and what to do next.

MrsynthError
├── InputError       a file or an image that cannot be used
├── CohortError      a cohort table or a prepared cohort that does not hold together
├── RecipeError      a recipe, a step or a setting that does not exist or has a wrong value
├── ModelError       a run folder whose model cannot be used (missing, altered, another contrast)
└── OutputError      a result that cannot be written (disk full, no permission, a path out of the folder)
"""

from __future__ import annotations


class MrsynthError(Exception):
    """An error that a user can act on.

    what: what was wrong, a sentence that names the file or key. found, expected, do: short texts, each optional.
    """

    def __init__(self, what: str, *, found: object = None, expected: object = None, do: str | None = None) -> None:
        self.what, self.found, self.expected, self.do = what, found, expected, do
        lines = [what]
        lines += [f"  found:    {found}"] if found is not None else []
        lines += [f"  expected: {expected}"] if expected is not None else []
        lines += [f"  do:       {do}"] if do is not None else []
        super().__init__("\n".join(lines))


class InputError(MrsynthError):
    """A file or an image that cannot be used."""


class CohortError(MrsynthError):
    """A cohort table or a prepared cohort that does not hold together."""


class RecipeError(MrsynthError):
    """A recipe, a step or a setting that does not exist or has a wrong value."""


class ModelError(MrsynthError):
    """A run folder whose model cannot be used."""


class OutputError(MrsynthError):
    """A result that cannot be written."""
