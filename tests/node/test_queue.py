from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mrsynth.core.errors import OutputError
from mrsynth.node.queue import Queue, digest

UID = "1.2.3.4"


def put(queue: Queue, instance: str = "1.1", content: bytes = b"a", uid: str = UID) -> str:
    return queue.put(uid, instance, content, most=3)


def state(queue: Queue, uid: str = UID) -> str:
    return queue.studies[digest(uid)].state


def test_a_study_is_due_a_while_after_its_release(tmp_path: Path):
    queue = Queue(tmp_path)
    assert put(queue) == "new"
    queue.complete(settle_s=0, quiet_s=60)
    assert state(queue) == "receiving"
    queue.release({UID})
    queue.complete(settle_s=60, quiet_s=60)
    assert state(queue) == "receiving"
    queue.complete(settle_s=0, quiet_s=60)
    assert queue.next() == (digest(UID), queue.studies[digest(UID)])


def test_without_a_release_it_is_due_when_it_has_been_quiet(tmp_path: Path):
    queue = Queue(tmp_path)
    put(queue)
    time.sleep(0.05)
    queue.complete(settle_s=0, quiet_s=0.04)
    assert state(queue) == "waiting"


def test_the_same_image_again_changes_nothing_and_another_of_its_uid_is_told(tmp_path: Path):
    queue = Queue(tmp_path)
    put(queue)
    queue.change(digest(UID), state="done")
    assert (put(queue), put(queue, content=b"b")) == ("same", "other")
    assert state(queue) == "done"
    assert [path.read_bytes() for path in queue.images_of(digest(UID)).iterdir()] == [b"a"]


def test_an_image_and_the_way_to_it_are_on_the_disk_before_its_sender_hears_of_it(tmp_path: Path, monkeypatch):
    held: dict[str, set[str]] = {}
    contents: list[bytes] = []

    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").resolve()
        if path.is_dir():
            held[path.name] = {one.name for one in path.iterdir()}
        else:
            contents.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    put(Queue(tmp_path))
    assert digest(UID) in held["studies"]
    assert {"dicom", "study.json"} <= held[digest(UID)]
    assert held["dicom"] == {f"{digest('1.1')}.dcm"}
    assert b"a" in contents


@pytest.mark.parametrize("before", ["waiting", "working", "sending", "done", "failed"])
def test_a_late_image_opens_a_study_again(tmp_path: Path, before: str):
    queue = Queue(tmp_path)
    put(queue)
    queue.change(digest(UID), state=before)
    assert put(queue, "1.2") == "new"
    assert state(queue) == "receiving"
    # What was made of fewer images meanwhile does not count.
    assert not queue.change(digest(UID), only_from="working", state="sending")


def test_a_failed_study_that_is_sent_again_is_tried_again(tmp_path: Path):
    queue = Queue(tmp_path)
    put(queue)
    queue.change(digest(UID), state="failed", why="x")
    assert put(queue) == "same"
    assert (state(queue), queue.studies[digest(UID)].why) == ("receiving", "")


@pytest.mark.parametrize("before", ["receiving", "waiting", "working", "sending", "done", "failed"])
def test_all_is_found_again_after_a_restart(tmp_path: Path, before: str):
    queue = Queue(tmp_path)
    put(queue)
    queue.change(digest(UID), state=before)
    again = Queue(tmp_path)
    assert again.studies == queue.studies
    due = again.next()
    assert (due is not None) == (before in ("waiting", "working", "sending"))
    if before == "receiving":
        again.complete(0, 60)
        assert state(again) == "receiving"
        again.last[digest(UID)] -= 61
        again.complete(0, 60)
        assert state(again) == "waiting"


def test_first_come_first_served_and_not_before_its_time(tmp_path: Path):
    queue = Queue(tmp_path)
    for uid in ("1.2", "1.3"):
        put(queue, uid=uid)
        queue.change(digest(uid), state="waiting")
    assert queue.next()[0] == digest("1.2")  # type: ignore[index]
    queue.change(digest("1.2"), not_before_s=time.time() + 60)
    assert queue.next()[0] == digest("1.3")  # type: ignore[index]


def test_images_are_deleted_in_time_and_the_record_stays(tmp_path: Path):
    queue = Queue(tmp_path)
    for uid, at in (("1.2", "done"), ("1.3", "receiving"), ("1.4", "working")):
        put(queue, uid=uid)
        queue.change(digest(uid), state=at)
    assert queue.forget(60) == []
    assert set(queue.forget(0)) == {digest("1.2"), digest("1.3")}
    assert not queue.images_of(digest("1.2")).exists()
    assert (state(queue, "1.2"), queue.studies[digest("1.3")].why) == ("deleted", "not finished in time (receiving)")
    assert queue.forget(0) == []
    # Sent again, it begins anew.
    assert put(queue, uid="1.2") == "new"
    assert state(queue, "1.2") == "receiving"


def test_a_study_has_a_limit(tmp_path: Path):
    queue = Queue(tmp_path)
    for k in range(3):
        put(queue, f"1.{k}")
    with pytest.raises(OutputError, match="too many"):
        put(queue, "1.9")


@pytest.mark.parametrize("uid", ["../../etc/passwd", "/etc/passwd", "a\0b", "1." * 5000, "<script>"])
def test_no_uid_becomes_part_of_a_path(tmp_path: Path, uid: str):
    Queue(tmp_path).folder.mkdir()
    queue = Queue(tmp_path)
    queue.lock.acquire()
    path = queue.images_of(digest(uid))
    assert path.parent.parent == queue.folder
    assert len(path.parent.name) == 64
