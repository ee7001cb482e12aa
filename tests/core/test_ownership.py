"""What is not ours is neither written over nor deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import OutputError
from mrsynth.core.locks import Lock
from mrsynth.core.ownership import (
    begins_with,
    holds_only,
    is_record,
    remove_own,
    replace_keeping,
    require_no_link,
    require_ours,
)

OURS = {
    "lock.json": is_record("lock", keys=frozenset({"old"})),
    "states": holds_only("*.ckpt"),
    "a.md": begins_with("# a"),
}


def test_nothing_there_and_what_we_wrote_are_no_reason(tmp_path: Path):
    require_ours(tmp_path / "none", OURS)
    Lock(host="h", machine="m", pid=1, process_start=0, verb="v", since="s", token="t").write(tmp_path / "lock.json")
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "last.ckpt").touch()
    (tmp_path / "states" / ".tmp-x").touch()
    (tmp_path / "a.md").write_text("# a\n")
    (tmp_path / "theirs.txt").touch()  # a name that we do not write
    require_ours(tmp_path, OURS)
    (tmp_path / "lock.json").write_text('{"old": 1}')
    require_ours(tmp_path, OURS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lock.json", b"notes"),
        ("lock.json", b"[]"),
        ("lock.json", b'{"mine": 1}'),
        ("lock.json", json.dumps({"mrsynth": {"record": "run", "version": 1}}).encode()),
        ("states/weeks.txt", b"of work"),
        ("a.md", b"\xff\xfe"),
        ("lock.json/x", b""),
    ],
)
def test_what_we_did_not_write_is_refused_and_stays(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutputError, match="would be overwritten"):
        require_ours(tmp_path, OURS)
    assert (tmp_path / name).read_bytes() == content


def test_nothing_is_written_through_a_link_to_a_folder(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "last.ckpt").touch()
    (tmp_path / "states").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"states: is a link"):
        require_ours(tmp_path, OURS)
    remove_own(tmp_path / "states", "*")
    assert (elsewhere / "last.ckpt").exists()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="gone: is a link"):
        require_no_link(tmp_path / "gone")


def test_only_our_own_files_are_removed(tmp_path: Path):
    folder = tmp_path / "states"
    (folder / "a.ckpt").mkdir(parents=True)  # a folder of that name is none of ours
    for name in ("last.ckpt", "notes.txt"):
        (folder / name).touch()
    remove_own(folder, "*.ckpt")
    assert sorted(p.name for p in folder.iterdir()) == ["a.ckpt", "notes.txt"]
    remove_own(folder, "notes.txt")
    (folder / "a.ckpt").rmdir()
    remove_own(folder, "*.ckpt")
    assert not folder.exists()
    remove_own(folder, "*")


def test_a_table_that_is_replaced_is_kept_under_another_name(tmp_path: Path):
    table = tmp_path / "cohort.csv"

    def replace(text: str) -> Path | None:
        return replace_keeping(table, lambda path: path.write_text(text) and None)

    assert replace("a") is None
    assert replace("a") is None
    assert replace("b") == tmp_path / "cohort.csv.bak"
    assert replace("c") == tmp_path / "cohort.csv.bak2"
    assert replace("b") == tmp_path / "cohort.csv.bak3"
    assert replace("c") == tmp_path / "cohort.csv.bak2"
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "cohort.csv": "c",
        "cohort.csv.bak": "a",
        "cohort.csv.bak2": "b",
        "cohort.csv.bak3": "c",
    }
