"""The documentation site: its generated pages are those of today's code, and its menu holds every page."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_reference_pages_are_those_of_the_code():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stale = [
        path.name
        for path, text in script.pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"run `python scripts/make_reference.py`: {stale}"


def test_the_menu_holds_every_page_once():
    menu = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(menu) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_the_readme_shows_the_table_of_the_papers_pages():
    rows = [
        line for line in (DOCS / "papers" / "index.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    shown = re.sub(r"\]\((\w+\.md)", r"](docs/papers/\1", "\n".join(rows))
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8"), (
        "copy the table of docs/papers/index.md into README.md"
    )


def pages(menu: Any) -> Iterator[str]:
    """Yield the pages below an entry of the menu."""
    if isinstance(menu, str):
        yield menu
    else:
        for entry in menu.values() if isinstance(menu, dict) else menu:
            yield from pages(entry)
