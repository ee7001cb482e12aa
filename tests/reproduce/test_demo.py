"""The demo writes over nothing that is not its own, and through no link."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.core.errors import OutputError
from mrsynth.reproduce import demo as module
from mrsynth.reproduce.demo import demo


def must_not_begin(*_: object, **__: object) -> Path:
    raise AssertionError("something was made before the folder was looked at")


def test_what_is_in_the_way_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "simulate", must_not_begin)
    page = tmp_path / "report.html"
    page.write_text("<title>my report</title>")
    with pytest.raises(OutputError, match=r"report\.html: is there already"):
        demo(tmp_path)
    assert page.read_text() == "<title>my report</title>"
    page.unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="run: is a link"):
        demo(tmp_path)
