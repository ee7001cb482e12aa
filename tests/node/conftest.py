"""A node in this process, which works in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom", reason="pynetdicom (the extra dicom) is not installed")

from mrsynth.node import run as stage
from mrsynth.node.queue import Result, Study
from mrsynth.node.run import Node
from mrsynth.node.settings import Destination, NodeSettings
from mrsynth.node.work import Made
from tiny_run import save_run

Serve = Callable[..., Any]


class Served:
    """A node at work; port: where it listens."""

    def __init__(self, node: Node) -> None:
        self.node, self.port = node, node.receiver.port
        self.folder = node.settings.folder

    def studies(self) -> list[Study]:
        return list(self.node.queue.studies.values())

    def states(self) -> list[str]:
        return [study.state for study in self.studies()]


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    """Of a quick node with the model T1, T2 → FLAIR and nobody to send to."""
    run = save_run(tmp_path / "run", ["t1", "t2"], "flair", 1)
    logging.getLogger("mrsynth.node").propagate = True
    quick = {"settle_s": 0.1, "quiet_s": 2.0, "back_off_s": 0.05, "hang_s": 5.0, "least_free_bytes": 0}
    return NodeSettings(tmp_path / "node", (run,), (), port=0, device="cpu", **quick)


@pytest.fixture
def serve(settings: NodeSettings) -> Serve:
    """Return a context in which a node works; changes: of its settings."""

    @contextmanager
    def serving(port: int | None = None, port_: int = 0, **changes: Any) -> Iterator[Served]:
        peers = {} if port is None else {"send": (Destination("127.0.0.1", port, "PACS"),)}
        told = replace(settings, **{**peers, **changes, "port": port_})
        told.folder.mkdir(exist_ok=True)
        node, stop = Node(told), threading.Event()
        thread = threading.Thread(target=node.serve, args=(stop,))
        thread.start()
        try:
            yield Served(node)
        finally:
            stop.set()
            thread.join(60)

    return serving


@pytest.fixture
def echoing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the node make a "result" that is the study's first image: for what does not depend on models."""

    def make(images: Path, out: Path, *_: Any) -> Made:
        series = out / "0-0" / "flair-dicom"
        series.mkdir(parents=True, exist_ok=True)
        (series / "0001.dcm").write_bytes(min(images.glob("*.dcm")).read_bytes())
        return Made({"t1": "101"}, (Result(model="echo", target="flair", folder="out/0-0/flair-dicom"),))

    monkeypatch.setattr(stage, "make", make)
