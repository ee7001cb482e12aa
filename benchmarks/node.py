"""The node on loopback: 100 images received from storescu, and a study through it beside `synthesize` alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.dicom_out import scan
from benchmarks.machine import environment, in_turns, medians, row, sized
from benchmarks.synthesize import head, untrained_run
from mrsynth.io.locator import join_locator
from mrsynth.node.queue import Queue, digest
from mrsynth.node.receive import Receiver
from mrsynth.node.run import Node
from mrsynth.node.settings import NodeSettings
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_files
from mrsynth.synthesize.write import Formats

IMAGES = sized((256, 256, 100), (16, 16, 4))
REPEATS = sized(5, 1)


def received_s(folder: Path) -> float | None:
    """Return the least seconds in which storescu sends IMAGES to an idle node, its own start included; None without
    dcmtk."""
    dump = shutil.which("dcmdump")
    if dump is None:
        return None
    images = scan(folder / "images", np.random.default_rng(0).integers(0, 4096, IMAGES))
    settings = NodeSettings(folder / "receiving", (), (), port=0, least_free_bytes=0)
    settings.folder.mkdir()
    receiver = Receiver(settings, Queue(settings.folder))
    command = [str(Path(dump).parent / "storescu"), "-aec", "MRSYNTH", "+sd", "127.0.0.1", str(receiver.port)]
    found = []
    try:
        for _ in range(REPEATS):
            began = time.perf_counter()
            subprocess.run([*command, str(images)], check=True)
            found.append(time.perf_counter() - began)
    finally:
        receiver.close()
    return min(found)


def ways(folder: Path) -> tuple[Callable[[], object], Callable[[], object], Callable[[], None]]:
    """Return a study's way through a node, `synthesize` on it, and what ends the node."""
    values = head()
    images = scan(folder / "t1", 4095 * values / max(float(values.max()), 1.0))
    run = untrained_run(folder / "run")
    settings = NodeSettings(folder / "node", (run,), (), port=0, device="cpu", least_free_bytes=0, settle_s=0)
    settings.folder.mkdir()
    node = Node(settings)
    for path in sorted(images.iterdir()):
        node.queue.put("1.2.3", path.name, path.read_bytes(), most=1000)

    def through() -> None:
        node.queue.change(digest("1.2.3"), state="receiving", complete=True)
        while node.queue.studies[digest("1.2.3")].state != "done":
            node.step()
            assert node.queue.studies[digest("1.2.3")].state != "failed", node.queue.studies

    def alone() -> None:
        place = Place(device="cpu", formats=Formats("dicom"))
        synthesize_files(run, {"t1": join_locator(images, {"series": 1})}, folder / "out", place)

    return through, alone, node.receiver.close


def main() -> None:
    place = environment("pynetdicom", "torch")
    with tempfile.TemporaryDirectory() as temporary:
        spent = received_s(Path(temporary))
        row("node", f"{IMAGES[2]} images of 256² received from storescu", spent, "s", "≤ 1 s", **place)
        through, alone, close = ways(Path(temporary))
        try:
            node_s, alone_s = medians(in_turns(through, alone, repeats=3))
        finally:
            close()
        row("node", "a study through the node, of one scan", node_s, "s", **place)
        row("node", "… over synthesize on it", node_s / alone_s, "×", "≤ 1.1", **place)


if __name__ == "__main__":
    main()
