"""The Python in the documentation parses, and every name of mrsynth that it imports is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    if not block.startswith("--8<--")
]


@pytest.mark.parametrize("block", BLOCKS)
def test_imports_of_an_example_exist(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mrsynth":
            module = importlib.import_module(node.module)
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_no_page_names_a_module_that_is_gone():
    """A dotted name `mrsynth.room.file` on a page is a module, or a name in one."""
    gone = []
    for page in PAGES:
        for name in re.findall(r"\bmrsynth(?:\.[a-z_0-9]+)+\b(?!-)", page.read_text(encoding="utf-8")):
            if not name.endswith((".md", ".sif", ".def", ".lock")) and not exists(name):
                gone.append((page.name, name))
    assert not gone


def exists(name: str) -> bool:
    """Say whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    for candidate, rest in ((name, ""), (module, attribute)):
        try:
            found = importlib.import_module(candidate)
        except ModuleNotFoundError:
            continue
        return not rest or hasattr(found, rest)
    return False
