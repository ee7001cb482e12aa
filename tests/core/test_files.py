from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core import files
from mrsynth.core.errors import OutputError
from mrsynth.core.files import atomic_file, printable, safe_name, sha256_file, write_json, write_text
from mrsynth.core.folders import atomic_folder

NEEDS_FULL_DEVICE = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_atomic_file_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert everything(tmp_path) == ["new", "new/a.txt"]


def fill(manager: AbstractContextManager[Path], *actions: Callable[[Path], object]) -> None:
    with manager as temporary:
        for action in actions:
            action(temporary)


def stopping(stop: type[BaseException]) -> Callable[[Path], None]:
    def action(_: Path) -> None:
        raise stop

    return action


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_is_stopped_leaves_the_old_file_and_nothing_else(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(stop):
        fill(atomic_file(path), lambda t: t.write_text("half"), stopping(stop))
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_stopped_folder_leaves_the_old_one(tmp_path: Path, stop: type[BaseException]) -> None:
    fill(atomic_folder(tmp_path / "case"), lambda t: (t / "a").write_text("old"))
    with pytest.raises(stop):
        fill(atomic_folder(tmp_path / "case"), lambda t: (t / "b").write_text("half"), stopping(stop))
    assert everything(tmp_path) == ["case", "case/a"]


def test_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with atomic_folder(tmp_path / "x" / "case") as temporary:
            (temporary / name).write_text(name)
    assert everything(tmp_path) == ["x", "x/case", "x/case/b"]


@NEEDS_FULL_DEVICE
def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left on device") as caught:
        fill(
            atomic_file(tmp_path / "a.npy"),
            lambda t: t.symlink_to("/dev/full"),
            lambda t: t.write_bytes(b"x" * 100_000),
        )
    assert str(tmp_path / "a.npy") in str(caught.value)
    assert "free space" in str(caught.value)
    assert everything(tmp_path) == []


@NEEDS_FULL_DEVICE
def test_full_disk_inside_a_folder_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left on device") as caught:
        fill(
            atomic_folder(tmp_path / "case"),
            lambda t: (t / "a.npy").symlink_to("/dev/full"),
            lambda t: np.save(t / "a.npy", np.zeros(100_000)),
        )
    assert files.TEMPORARY_PREFIX not in str(caught.value)
    assert everything(tmp_path) == []


def test_file_in_a_folder_that_is_made_is_named_by_its_final_path(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        fill(
            atomic_folder(tmp_path / "case"),
            lambda t: (t / "x").write_text(""),
            lambda t: write_text(t / "x" / "y", ""),
        )
    assert str(tmp_path / "case" / "x" / "y") in str(caught.value)


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "")
    with pytest.raises(OutputError, match="a folder"):
        write_text(tmp_path / "a" / "b", "")


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    write_text(tmp_path / "a", "")
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / "results", "x")
    assert (caught.value.found, caught.value.expected) == ("a folder", "a file's name")
    for below in ("b", "b/c"):
        with pytest.raises(OutputError) as caught:
            write_text(tmp_path / "a" / below, "")
        assert (caught.value.found, caught.value.expected) == ("a is a file", "a folder, or nothing yet")
    assert everything(tmp_path) == ["a", "results"]


@given(st.text())
def test_what_is_printed_is_one_line_of_printable_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_pipes_and_devices_are_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="pipe or device"):
        write_text(pipe, "x")
    assert pipe.is_fifo()
    assert everything(tmp_path) == ["pipe"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    write_text(tmp_path / "target", "old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"


def test_an_input_that_fails_is_not_called_an_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "out") as temporary:
        temporary.write_bytes((tmp_path / "missing-input").read_bytes())
    with pytest.raises(OSError, match="CRC"), atomic_file(tmp_path / "out"):
        raise OSError("CRC check failed")
    assert everything(tmp_path) == []


def test_quota_counts_as_full(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space left"), atomic_file(tmp_path / "out"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.mark.parametrize("name", ["BraTS2021_01477", "Müller", "患者 7", "a..b", "x.y-z"])
def test_safe_names(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../x", "a/b", "a\\b", "/etc", "C:x", ".tmp-1", "a\0b", "a\nb"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(OutputError, match="cannot name"):
        safe_name(name)
    with pytest.raises(OutputError):
        safe_name("ä" * 101)


@given(st.text())
def test_a_safe_name_stays_in_its_folder(name: str) -> None:
    try:
        safe = safe_name(name)
    except OutputError:
        return
    assert Path(os.path.normpath(Path("/out") / safe)).parent == Path("/out")


def test_hash_and_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"n": np.int64(3), "x": np.float32(0.5), "v": np.arange(2), "p": Path("q"), "ü": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"n": 3, "x": 0.5, "v": [0, 1], "p": "q", "ü": None}
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(TypeError, match="set"):
        write_json(path, {1})


def test_hashing_ends(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.write_bytes(bytes(3 * files.HASHED_BYTES + 1))
    assert sha256_file(long) == hashlib.sha256(long.read_bytes()).hexdigest()
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a file"):
            sha256_file(endless)


def test_what_is_renamed_lies_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(files, "synced", lambda path: order.append("folder" if path.is_dir() else "file"))
    original = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *a: order.append("rename") or original(*a))  # type: ignore[func-returns-value]
    files.write_text(tmp_path / "a", "x")
    assert order == ["file", "rename", "folder"]


def test_a_disk_that_fails_when_it_is_asked_to_hold_a_file_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OutputError, match="no space left"):
        files.write_text(tmp_path / "a", "x")
    assert list(tmp_path.iterdir()) == []


def test_files_have_the_modes_that_the_user_asks_for(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write_text(tmp_path / "a", "x")
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o700]
