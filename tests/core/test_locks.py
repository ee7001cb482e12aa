"""One writer a folder: the second is told who the first is; a dead one's lock is taken over, by one alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mrsynth.core import locks
from mrsynth.core.errors import OutputError
from mrsynth.core.locks import LOCK, Lock, one_writer, writing, writing_file
from mrsynth.core.machine import is_running, machine, process_start

HOLD = """
import sys, time
from pathlib import Path
from mrsynth.core.locks import writing
with writing(Path(sys.argv[1]), "train"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def lock_by(machine: str, pid: int, process_start: float) -> Lock:
    since = "2026-01-01T00:00:00+00:00"
    return Lock(
        host="node7", machine=machine, pid=pid, process_start=process_start, verb="prepare", since=since, token="t"
    )


def lock_of_another_machine(folder: Path, silent_s: float) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / LOCK
    lock_by("node7 x", 12, 1.0).write(path)
    os.utime(path, (time.time() - silent_s,) * 2)
    return path


def test_a_second_writer_is_told_who_writes_and_one_after_a_kill_takes_over(tmp_path: Path):
    first = holder(tmp_path / "run")
    try:
        said = f"written by mrsynth train, process {first.pid} on "
        with pytest.raises(OutputError, match=said) as refused, writing(tmp_path / "run", "evaluate"):
            pass
        assert "it runs on this machine" in str(refused.value)
        first.kill()  # SIGKILL: nothing of it cleans up; not even waited for, a zombie holds nothing
        time.sleep(0.2)
        with writing(tmp_path / "run", "evaluate"):
            assert Lock.read(tmp_path / "run" / LOCK).pid == os.getpid()
    finally:
        end(first)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_lock_of_another_machine_holds_until_it_is_silent(tmp_path: Path):
    lock_of_another_machine(tmp_path / "a", locks.SILENT_S / 2)
    said = r"mrsynth prepare, process 12 on node7.*\n.*can be taken over in 1[45]\d s"
    with pytest.raises(OutputError, match=said), writing(tmp_path / "a", "train"):
        pass
    lock_of_another_machine(tmp_path / "a", locks.SILENT_S + 5)
    with writing(tmp_path / "a", "train"):
        assert Lock.read(tmp_path / "a" / LOCK).verb == "train"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"mrsynth": {"record": "run", "version": 1}}'])
def test_a_damaged_lock_holds_until_it_is_silent(tmp_path: Path, content: bytes):
    (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(OutputError, match="lock cannot be read"), writing(tmp_path, "train"):
        pass
    os.utime(tmp_path / LOCK, (0, 0))
    with writing(tmp_path, "train"):
        pass


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none on this file system"])
def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool):
    if not links:
        monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError(1, "no links")))
    lock_of_another_machine(tmp_path / "a", locks.SILENT_S + 5)
    together, inside, most = threading.Barrier(8), [], []

    def enter(number: int) -> bool:
        together.wait()
        try:
            with writing(tmp_path / "a", "train"):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.3)
                inside.remove(number)
                return True
        except OutputError:
            return False

    with ThreadPoolExecutor(8) as pool:
        entered = list(pool.map(enter, range(8)))
    assert sum(entered) >= 1
    assert max(most) == 1
    assert list((tmp_path / "a").iterdir()) == []


def test_who_died_while_taking_over_stops_nobody(tmp_path: Path):
    lock = lock_of_another_machine(tmp_path / "a", locks.SILENT_S + 5)
    mark = lock.with_name(f"{LOCK}.takeover")
    mark.touch()
    os.utime(mark, (0, 0))
    with writing(tmp_path / "a", "train"):
        pass
    assert list((tmp_path / "a").iterdir()) == []


def test_a_living_writer_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locks, "BEAT_S", 0.02)
    with writing(tmp_path, "train"):
        os.utime(tmp_path / LOCK, (0, 0))
        time.sleep(0.3)
        assert (tmp_path / LOCK).stat().st_mtime > 0


def test_blocks_of_one_thread_are_nested_and_folders_that_stay_empty_go(tmp_path: Path):
    run = tmp_path / "new" / "run"
    with writing(run, "reproduce"):
        with writing(run, "train"):
            assert len(list(run.iterdir())) == 1
        assert (tmp_path / "new" / "run" / LOCK).exists()
    assert not (tmp_path / "new").exists()
    with writing(tmp_path / "new", "train"):
        (tmp_path / "new" / "kept").touch()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["kept"]


def test_a_writer_whose_lock_was_taken_over_says_so(tmp_path: Path):
    said = r"mrsynth prepare, process 12 on node7.*\n.*it took over"
    with pytest.raises(OutputError, match=said), writing(tmp_path, "train"):
        lock_of_another_machine(tmp_path, 0)
    assert Lock.read(tmp_path / LOCK).host == "node7"


def test_what_dead_writers_left_unfinished_is_removed_and_nothing_else(tmp_path: Path):
    from mrsynth.core import files

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mark = files._machine_mark()
    (tmp_path / "cases").mkdir()
    gone = [tmp_path / f".tmp-{mark}-{dead.pid}-0.json", tmp_path / "cases" / f".tmp-{mark}-{dead.pid}-1"]
    kept = [tmp_path / f".tmp-{mark}-{os.getpid()}-2", tmp_path / ".tmp-00000000-1-3", tmp_path / "tmp-x"]
    for path in (*gone, *kept):
        path.touch()
    old = tmp_path / ".tmp-before-names-had-processes"
    old.touch()
    os.utime(old, (0, 0))
    with writing(tmp_path, "train"):
        assert not any(path.exists() for path in (*gone, old))
        assert all(path.exists() for path in kept)


def test_dead_locks_of_files_are_removed_and_no_others(tmp_path: Path):
    """Nobody may write those files again: a killed run that is repeated finds its predictions up to date."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = process_start(os.getpid())
    assert alive is not None
    holders = {"a": lock_by(machine(), dead.pid, 1.0), "b": lock_by(machine(), os.getpid(), alive)}
    for name, lock in (holders | {"c": lock_by("node7 x", dead.pid, 1.0)}).items():
        lock.write(tmp_path / f"{LOCK}-{name}")
    (tmp_path / f"{LOCK}-d").write_text("damaged")
    with writing(tmp_path, "evaluate"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{LOCK}-{name}" for name in "bcd"]


def test_a_single_file_is_locked_and_its_neighbours_are_free(tmp_path: Path):
    def from_another_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: writing_file(tmp_path / "a.nii.gz", "synthesize").__enter__()).result()

    first, neighbour = (writing_file(tmp_path / name, "synthesize") for name in ("a.nii.gz", "b.nii.gz"))
    with first, neighbour, pytest.raises(OutputError, match=r"a\.nii\.gz: is being written"):
        from_another_thread()
    assert list(tmp_path.iterdir()) == []


def test_a_verb_is_the_only_writer_of_the_first_folder_that_is_given(tmp_path: Path):
    @one_writer("evaluate", "out", "run")
    def verb(run: Path, out: Path | None = None) -> bool:
        return ((out or run) / LOCK).exists()

    assert verb(tmp_path)
    assert verb(tmp_path / "run", out=tmp_path / "elsewhere")
    assert not (tmp_path / "run").exists()


def test_a_folder_in_which_nothing_can_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path / "file" / "run", "train"):
        pass


def test_a_process_is_known_by_its_number_and_its_start():
    start = process_start(os.getpid())
    assert start is not None
    assert is_running(os.getpid(), start)
    assert not is_running(os.getpid(), start - 3600)
    assert not is_running(2**22 + 1, start)
    assert machine() == machine()


@pytest.mark.parametrize(("rank", "helper"), [("", False), ("0", False), ("1", True), ("x", False)])
def test_helpers_of_a_training_on_several_devices_take_no_lock(monkeypatch, tmp_path: Path, rank: str, helper: bool):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert locks.is_helper() == helper


def test_a_thread_waits_for_another_one_as_it_does_for_a_process(tmp_path: Path):
    """A file that several write in turn: whoever may wait is not refused because the other is of the same process."""
    order: list[str] = []
    began = threading.Event()

    def first() -> None:
        with writing_file(tmp_path / "list.json", "synthesize", wait_s=5):
            began.set()
            threading.Event().wait(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    began.wait(5)
    with pytest.raises(OutputError, match="another thread"), writing_file(tmp_path / "list.json", "synthesize"):
        pass
    with writing_file(tmp_path / "list.json", "synthesize", wait_s=5):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
