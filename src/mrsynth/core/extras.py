"""Packages that are not always there: each belongs to an extra of the project, and the message names it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from mrsynth.core.errors import RecipeError


def require_extra(package: str, extra: str) -> ModuleType:
    """Import a package.

    Args:
        package: its name when imported.
        extra: the project's extra that brings it.

    Returns:
        The module.

    Raises:
        RecipeError: it is not installed.
    """
    if not is_there(package):
        raise RecipeError(
            f"This needs the package {package}, which is not installed.", do=f"pip install 'mrsynth[{extra}]'"
        )
    return import_module(package)


def is_there(package: str) -> bool:
    """Say whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
