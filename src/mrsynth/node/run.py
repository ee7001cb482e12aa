"""mrsynth node: takes studies, one after the other makes what its models make of them, and sends that back."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from mrsynth.core.errors import InputError, ModelError, MrsynthError, OutputError
from mrsynth.core.files import printable
from mrsynth.core.locks import writing
from mrsynth.core.ownership import PAGE_MARK, begins_with, is_named, require_ours
from mrsynth.core.progress import hush
from mrsynth.node.queue import Queue, State, Study
from mrsynth.node.receive import Receiver
from mrsynth.node.send import send
from mrsynth.node.settings import NodeSettings
from mrsynth.node.table import STUDY_COLUMNS, write_table
from mrsynth.node.work import Model, load_models, make

LOG = logging.getLogger("mrsynth.node")

TICK_S = 0.1

MAKE_TRIES = 5
"""Also of a study at which the whole node ended: it is not begun for ever."""

SEND_TRIES = 60
"""At an hour each about two days and a half."""

LONGEST_S = 3600.0

LOG_BYTES = 1 << 24


def _is_log(path: Path) -> bool:
    return path.is_file() and (not path.stat().st_size or begins_with(" INFO ", " WARNING ", " ERROR ")(path))


def _are_studies(path: Path) -> bool:
    return path.is_dir() and all(is_named(p.name, "?" * 64) for p in path.iterdir())


OWN = {
    "studies.csv": begins_with(",".join(STUDY_COLUMNS)),
    "studies.html": begins_with(PAGE_MARK),
    "studies": _are_studies,
    "node.log": _is_log,
}
"""What the node writes into its folder, and how its own is known."""


class Node:
    """The work of a node; one thread calls `step` again and again.

    Args:
        settings: what it is told.

    Raises:
        MrsynthError: where a model, the folder, the port or TLS cannot be used.
    """

    def __init__(self, settings: NodeSettings) -> None:
        settings.require_safe()
        self.settings = settings
        self.models: list[Model] = load_models(settings.models)
        self.queue = Queue(settings.folder)
        self.receiver = Receiver(settings, self.queue)
        self.shown: dict[str, Study] = {}

    def step(self) -> bool:
        """Do what is due: work on one study, or send its results; returns whether there was anything."""
        self.queue.complete(self.settings.settle_s, self.settings.quiet_s)
        for key in self.queue.forget(self.settings.keep_s):
            LOG.info("study %s: its images are deleted", key[:12])
        due = self.queue.next()
        if due is not None:
            key, study = due
            if study.state == "sending":
                self._send(key, study)
            else:
                self._make(key, study)
        self._show()
        return due is not None

    def serve(self, stop: threading.Event) -> None:
        """Do what is due until the event is set; then listen no more."""
        LOG.info("listening on %s:%d as %s", self.settings.host, self.receiver.port, self.settings.title)
        try:
            while not stop.is_set():
                try:
                    busy = self.step()
                except (OutputError, OSError) as error:  # a full disk; what is queued stays
                    LOG.error("%s", printable(error))
                    busy = stop.wait(self.settings.back_off_s)
                if not busy:
                    stop.wait(TICK_S)
        finally:
            self.receiver.close()
            LOG.info("stopped")

    def _make(self, key: str, study: Study) -> None:
        """Make what the models make of a study."""
        if study.attempts >= MAKE_TRIES:
            self._fail(key, study.why or f"the node ended {study.attempts} times while it worked on it")
            return
        if not self.queue.change(key, only_from=study.state, state="working", attempts=study.attempts + 1):
            return
        began = time.monotonic()
        out = self.queue.folder / key / "out"
        try:
            made = make(self.queue.images_of(key), out, self.models, self.settings)
        except (InputError, ModelError) as error:
            self._fail(key, str(error))
            return
        except (MrsynthError, OSError) as error:
            self._again(key, study, "working", str(error))
            return
        changes = {"found": dict(made.found), "results": made.results, "attempts": 0, "why": "", "not_before_s": 0.0}
        if self.queue.change(key, only_from="working", state="sending", **changes):
            what = ", ".join(result.target for result in made.results)
            LOG.info("study %s: %s made in %.1f s", key[:12], what, time.monotonic() - began)

    def _send(self, key: str, study: Study) -> None:
        """Send what was made of a study to every peer that lacks it."""
        results = list(study.results)
        for number, result in enumerate(results):
            files = sorted((self.queue.folder / key / result.folder).iterdir())
            for peer in self.settings.send:
                if peer.name in result.sent:
                    continue
                try:
                    send(files, peer, self.settings)
                except (OutputError, OSError) as error:
                    self._again(key, study, "sending", str(error))
                    return
                result = result.model_copy(update={"sent": (*result.sent, peer.name)})
                results[number] = result
                if not self.queue.change(key, only_from="sending", results=tuple(results)):
                    return
                LOG.info("study %s: %s sent to %s", key[:12], result.target, peer.name)
        self.queue.change(key, only_from="sending", state="done", attempts=0, why="")

    def _again(self, key: str, study: Study, state: State, why: str) -> None:
        """Try again later, each time after twice as long, or give up. state: what is tried."""
        tries = study.attempts + 1
        if tries >= (MAKE_TRIES if state == "working" else SEND_TRIES):
            self._fail(key, why)
            return
        wait = min(self.settings.back_off_s * 2.0**study.attempts, LONGEST_S)
        LOG.warning("study %s: %s; again in %.0f s", key[:12], printable(why), wait)
        changes = {"attempts": tries, "not_before_s": time.time() + wait, "why": why[:2000]}
        self.queue.change(key, only_from=state, **changes)

    def _fail(self, key: str, why: str) -> None:
        LOG.error("study %s failed: %s", key[:12], printable(why))
        state = self.queue.studies[key].state
        if state != "receiving":
            self.queue.change(key, only_from=state, state="failed", why=why[:2000])

    def _show(self) -> None:
        """Write the table where anything has changed."""
        now = dict(self.queue.studies)
        if any(self.shown.get(key) is not study for key, study in now.items()):
            write_table(now, self.settings.folder)
            self.shown = now


def run(settings: NodeSettings, stop: threading.Event | None = None) -> None:
    """Run a node until it is told to stop (SIGTERM, Ctrl-C, or the event).

    Args:
        settings: what it is told.
        stop: set by another thread.

    Raises:
        MrsynthError: where it cannot begin.
    """
    stop = stop or _stopped_by_signals()
    hush()
    require_ours(settings.folder, OWN)
    with writing(settings.folder, "node"), _logging(settings):
        Node(settings).serve(stop)


def _stopped_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def _logging(settings: NodeSettings) -> Iterator[None]:
    """Let the node's words go to node.log and to standard error, for as long as the block runs."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    file = RotatingFileHandler(settings.folder / "node.log", maxBytes=LOG_BYTES, backupCount=5, encoding="utf-8")
    handlers: list[logging.Handler] = [file, logging.StreamHandler()]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for handler in handlers:
        handler.setFormatter(form)
        LOG.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
            with suppress(OSError):
                handler.close()
