"""A set of files is all old or all new, at whichever of its steps the command is killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mrsynth.core import files, folders
from mrsynth.core.errors import OutputError
from mrsynth.core.folders import COMMITTED_PREFIX, settle, written_as_one

OLD = {"a.csv": "old", "panels/x": "old", "gone.png": "old", "theirs": "old"}
NEW = {"a.csv": "new", "b.json": "new", "panels/y": "new", "theirs": "old"}


class Killed(BaseException):
    pass


def fill(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)


def held(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def write(folder: Path) -> None:
    with written_as_one(folder, gone=["gone.png", "b.json"]) as temporary:
        fill(temporary, {name: text for name, text in NEW.items() if text == "new"})


def test_all_of_the_new_takes_its_place_and_nothing_stays_behind(tmp_path: Path):
    fill(tmp_path / "out", OLD)
    write(tmp_path / "out")
    assert held(tmp_path / "out") == NEW
    write(tmp_path / "new")
    assert held(tmp_path / "new") == {name: text for name, text in NEW.items() if text == "new"}


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> bool:
    """Do some work until its nth call of the system that changes names; from then on no call does anything. Returns
    whether it was killed."""
    done = [0]

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def one(*args: object, **kwargs: object) -> object:
            done[0] += 1
            if done[0] > step:
                raise Killed
            return call(*args, **kwargs)

        return one

    with monkeypatch.context() as patch:
        for name in ("mkdir", "replace", "rename", "unlink", "open", "rmdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(folders, "_exchanged", counted(folders._exchanged))
        try:
            work()
        except Killed:
            return True
    return False


def test_killed_at_any_step_it_is_all_old_or_all_new_once_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outcomes = set()
    for step in range(80):
        folder = tmp_path / f"{step}"
        fill(folder, OLD)
        killed = killed_at(step, monkeypatch, partial(write, folder))
        if step % 2:  # whoever opens it is killed, too
            killed_at(step % 7, monkeypatch, partial(settle, folder))
        settle(folder)
        for left in folder.glob(f"{files.TEMPORARY_PREFIX}*"):
            files.remove(left)
        assert held(folder) in (OLD, NEW), step
        outcomes.add((held(folder) == NEW, killed))
        if not killed:
            break
    assert outcomes == {(False, True), (True, True), (True, False)}


def test_a_block_that_fails_changes_nothing(tmp_path: Path):
    fill(tmp_path / "out", OLD)
    with pytest.raises(OutputError, match="no such file"), written_as_one(tmp_path / "out") as temporary:
        (temporary / "nowhere" / "a.csv").write_text("new")
    assert held(tmp_path / "out") == OLD
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), written_as_one(tmp_path / "file"):
        pass


def test_a_link_is_replaced_and_nothing_is_written_through_it(tmp_path: Path):
    fill(tmp_path / "elsewhere", {"x": "theirs"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "panels").symlink_to(tmp_path / "elsewhere")
    with written_as_one(tmp_path / "out") as temporary:
        fill(temporary, {"panels/y": "new"})
    assert held(tmp_path / "elsewhere") == {"x": "theirs"}
    assert held(tmp_path / "out") == {"panels/y": "new"}


def test_what_cannot_be_finished_is_told(tmp_path: Path, monkeypatch):
    fill(tmp_path / f"{COMMITTED_PREFIX}1", {"a": "new"})
    monkeypatch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(OutputError, match=r"interrupted(.|\n)*permission denied"):
        settle(tmp_path)
    monkeypatch.undo()
    settle(tmp_path)
    assert held(tmp_path) == {"a": "new"}


@pytest.mark.parametrize("stroke", [True, False], ids=["renameat2", "without"])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stroke: bool):
    if not stroke:
        monkeypatch.setattr(folders, "_exchanged", lambda new, path: False)
    for text in ("old", "new"):
        with folders.atomic_folder(tmp_path / "out") as temporary:
            (temporary / text).mkdir()
            (temporary / text / "x").write_text(text)
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["out", "out/new", "out/new/x"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with folders.atomic_folder(tmp_path / "link") as temporary:
        (temporary / "x").touch()
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "out" / "new").exists()
