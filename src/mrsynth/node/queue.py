"""The queue of studies, on disk: whatever is killed when, every study is found again in a state that was true."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from mrsynth.core.errors import OutputError
from mrsynth.core.files import atomic_file, remove, remove_left, synced
from mrsynth.core.records import Part, Record

State = Literal["receiving", "waiting", "working", "sending", "done", "failed", "deleted"]

Put = Literal["new", "same", "other"]
"""What became of an image: stored; there already; another one of its UID is there, which is kept."""


class Result(Part):
    """A synthetic series.

    Attributes:
        model: the recipe of the model that made it.
        target: the contrast that it shows.
        folder: below the study's own.
        sent: the peers that have all of it.
    """

    model: str = Field(max_length=200)
    target: str = Field(max_length=40)
    folder: str = Field(max_length=300)
    sent: tuple[str, ...] = ()


class Study(Record):
    """A study and its fate. Of the patient it says nothing.

    Attributes:
        uid: StudyInstanceUID.
        state: what is done with it, or was.
        complete: the association that sent it was released.
        images: how many were received.
        first_s, changed_s: when its first image came, and when this record was written, in seconds since 1970.
        attempts: at what its state says; not_before_s: when the next one is due.
        found: contrast → the series' number or UID.
        results: what the models made.
        why: what went wrong, in words.
    """

    RECORD: ClassVar[str] = "study of a node"
    DO: ClassVar[str] = "move its folder away and send the study again"
    MAX_BYTES: ClassVar[int] = 1 << 22

    uid: str = Field(max_length=64)
    state: State = "receiving"
    complete: bool = False
    images: int = 0
    first_s: float = 0.0
    changed_s: float = 0.0
    attempts: int = 0
    not_before_s: float = 0.0
    found: dict[str, str] = Field(default_factory=dict)
    results: tuple[Result, ...] = ()
    why: str = Field(default="", max_length=4000)


class Queue:
    """The studies below a folder, one thread at a time.

    Args:
        root: of the node; a study lies in root/studies/<SHA-256 of its UID>, its images in dicom/ there, named by the
            SHA-256 of theirs: no UID becomes part of a path.

    Raises:
        InputError: where a study's record is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "studies"
        self.lock = threading.RLock()
        self.last: dict[str, float] = {}
        self.studies: dict[str, Study] = {}
        for path in sorted(self.folder.glob("*/study.json")):
            remove_left(path.parent)
            key, study = path.parent.name, Study.read(path)
            self.studies[key] = study
            if study.state == "receiving":
                self.last[key] = max((p.stat().st_mtime for p in self.images_of(key).glob("*")), default=0.0)

    def images_of(self, key: str) -> Path:
        """Return the folder of a study's images."""
        return self.folder / key / "dicom"

    def put(self, uid: str, instance: str, content: bytes, most: int) -> Put:
        """Store an image of a study, on the disk when this returns; a study that was made of others is made anew.

        Args:
            uid: StudyInstanceUID.
            instance: SOPInstanceUID.
            content: the file.
            most: how many images a study may have.

        Raises:
            OutputError: where it cannot be written, or the study has too many.
        """
        key = digest(uid)
        path = self.images_of(key) / f"{digest(instance)}.dcm"
        with self.lock:
            study = self.studies.get(key) or Study(uid=uid, first_s=time.time())
            there = path.read_bytes() == content if path.exists() else None
            if there is False:
                return "other"
            self.last[key] = time.time()
            if there is None and study.images >= most:
                raise OutputError("The study has too many images.", found=f"{study.images} images")
            if there and study.state != "failed":
                return "same"
            if key not in self.studies:
                self.images_of(key).mkdir(parents=True, exist_ok=True)
                synced(self.folder)
            if key not in self.studies or study.state != "receiving" or study.complete:
                again = {"state": "receiving", "complete": False, "attempts": 0, "results": (), "why": ""}
                self._keep(key, study.model_copy(update=again))
            if not there:
                with atomic_file(path) as temporary:
                    temporary.write_bytes(content)
                self.studies[key] = self.studies[key].model_copy(update={"images": study.images + 1})
            return "same" if there else "new"

    def release(self, uids: set[str]) -> None:
        """Note that the associations which sent these studies were released."""
        for uid in uids:
            with self.lock:
                if self.studies[digest(uid)].state == "receiving":
                    self.change(digest(uid), complete=True)

    def complete(self, settle_s: float, quiet_s: float) -> None:
        """Put the studies in the queue that are complete.

        Args:
            settle_s: how long after its last image one is, whose association was released.
            quiet_s: how long one is, whose association was not.
        """
        with self.lock:
            for key, study in list(self.studies.items()):
                silent = time.time() - self.last.get(key, 0.0)
                if study.state == "receiving" and silent >= (settle_s if study.complete else quiet_s):
                    images = sum(1 for _ in self.images_of(key).glob("*.dcm"))
                    self.change(key, state="waiting", images=images, attempts=0, not_before_s=0.0)

    def next(self) -> tuple[str, Study] | None:
        """Return the study that is due and came first, None where there is none. One at which the node was killed, or
        found the disk full, is among them."""
        with self.lock:
            now = time.time()
            due = [
                (study.first_s, key)
                for key, study in self.studies.items()
                if study.state in ("waiting", "working", "sending") and study.not_before_s <= now
            ]
            return (key := min(due)[1], self.studies[key]) if due else None

    def change(self, key: str, only_from: State | None = None, **changes: Any) -> bool:
        """Write down what has changed of a study.

        Args:
            key: of the study.
            only_from: a state in which it must still be: images may have come meanwhile, and it begins anew.
            changes: fields of `Study`.

        Returns:
            Whether it was in that state.
        """
        with self.lock:
            study = self.studies[key]
            if only_from is not None and study.state != only_from:
                return False
            self._keep(key, study.model_copy(update=changes))
            return True

    def forget(self, keep_s: float) -> list[str]:
        """Delete the images of studies that have not changed for a while, and what was made of them.

        Returns:
            Their keys; the records stay.
        """
        gone = []
        with self.lock:
            now = time.time()
            for key, study in list(self.studies.items()):
                last = max(study.changed_s, self.last.get(key, 0.0))
                if study.state not in ("working", "deleted") and now - last >= keep_s:
                    for folder in (self.images_of(key), self.folder / key / "out"):
                        remove(folder)
                    state: State = "deleted"
                    why = study.why or ("" if study.state == "done" else f"not finished in time ({study.state})")
                    self.change(key, state=state, results=(), images=0, why=why)
                    gone.append(key)
        return gone

    def _keep(self, key: str, study: Study) -> None:
        study = study.model_copy(update={"changed_s": time.time()})
        study.write(self.folder / key / "study.json")
        self.studies[key] = study


def digest(uid: str) -> str:
    """Return the name that stands for a UID on disk."""
    return hashlib.sha256(uid.encode()).hexdigest()
