"""Reads YAML that people write, and strangers: one safe reader with bounds, whose every mistake is a sentence."""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mrsynth.core.errors import MrsynthError, RecipeError

MAX_BYTES = 1 << 19
"""A longer text is refused unread; the longest study has a twentieth of it."""

MAX_DEPTH = 40
MAX_NODES = 50_000
"""Values in a text, those counted anew for which a name stands (`*name`): ten names of ten names are soon 10^10."""

MAX_INTEGER = 2**63


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, to which a date is a text, and two equal keys a mistake."""

    def compose_document(self) -> yaml.Node | None:
        node: yaml.Node | None = super().compose_document()
        if node is not None:
            _count(node, {}, MAX_DEPTH)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            said = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if said is not None and said in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands there twice", key.start_mark)
            seen.add(said)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _count(node: yaml.Node, known: dict[int, int | None], depth: int) -> int:
    """Return how many values a node holds; raises ValueError where they are too many, too deep or hold themselves."""
    if depth == 0:
        raise ValueError(f"values within values, more than {MAX_DEPTH} deep")
    if id(node) in known:
        held = known[id(node)]
        if held is None:
            raise ValueError("a value that holds itself")
        return held
    known[id(node)] = None
    inside = node.value if isinstance(node, yaml.CollectionNode) else []
    parts = [part for pair in inside for part in pair] if isinstance(node, yaml.MappingNode) else inside
    total = 1 + sum(_count(part, known, depth - 1) for part in parts)
    if total > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES} values")
    known[id(node)] = total
    return total


def parse_yaml(text: str, where: str, error: type[MrsynthError] = RecipeError) -> Any:
    """Return the value that a text in YAML means: of mappings, lists, texts, numbers, true, false and null.

    Dates stay texts. Numbers that are infinite, no number at all or beyond 2^63 are refused, as are equal keys.

    Args:
        text: the YAML.
        where: what the text is, as the message begins ("recipe.yaml", "--set train.epochs=x").
        error: the kind of error to raise.

    Raises:
        MrsynthError: of the kind `error`, where it is not YAML, or beyond the bounds above.
    """
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"{len(text)} characters, more than {MAX_BYTES}")
        value = yaml.load(text, _Loader)
        _require_plain(value)
    except RecursionError:
        raise error(f"{where} is not YAML.", found=f"values within values, more than {MAX_DEPTH} deep") from None
    except Exception as problem:  # its constructors raise what they like: ValueError, AttributeError, OverflowError …
        raise error(f"{where} is not YAML.", found=where_not_yaml(problem)) from problem
    return value


def read_yaml(path: Path, error: type[MrsynthError] = RecipeError) -> Any:
    """Return the value that a file in YAML means (see `parse_yaml`).

    Args:
        path: the file, in UTF-8.
        error: the kind of error to raise.

    Raises:
        MrsynthError: of the kind `error`, where it cannot be read or is not YAML.
    """
    return parse_yaml(read_yaml_text(path, error), str(path), error)


def read_yaml_text(path: Path, error: type[MrsynthError] = RecipeError) -> str:
    """Return a file's text as `parse_yaml` takes it, no more of it than that reads.

    Args:
        path: the file.
        error: what is raised.

    Raises:
        MrsynthError: as `read_yaml` does.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not YAML.", found=where_not_yaml(problem)) from problem
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read.", found=getattr(problem, "strerror", None) or str(problem)) from problem


def where_not_yaml(error: Exception) -> str:
    """Return in a line what a YAML reader (or a decoder) says is wrong, and where."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None:
        return f"line {mark.line + 1}: {problem}"
    if not isinstance(error, yaml.YAMLError | ValueError):  # what Python says when a constructor stumbles
        return "a value that is not of the kind that its tag says"
    return (str(error).splitlines() or [""])[0].partition("; use sys.")[0][:200]


def _require_plain(value: Any) -> None:
    """Raise ValueError for a number, or a kind of value, that no setting can have."""
    if isinstance(value, dict):
        for key, part in value.items():
            _require_plain(key)
            _require_plain(part)
    elif isinstance(value, list):
        for part in value:
            _require_plain(part)
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("an integer beyond 2^63")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number that is {value}")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"a value of the kind {type(value).__name__}")
