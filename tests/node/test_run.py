"""The node among real peers on loopback."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicom_checks import dciodvfy_errors
from dicom_peers import Orthanc, answers, archive, dcmtk, echo, free_port, program, store, wait_until
from mrsynth.core.errors import ModelError, OutputError
from mrsynth.io import read_image
from mrsynth.node import run as stage
from mrsynth.node import work
from mrsynth.node.settings import Destination
from tiny_run import dicom_study, save_run

Serve = Callable[..., Any]

# pynetdicom does not close the socket of a connection that is refused.
LEAKY = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def instances(folder: Path) -> list[str]:
    return sorted(str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in folder.iterdir())


def test_a_study_comes_in_and_its_synthetic_series_goes_back(tmp_path: Path, serve: Serve):
    study = dicom_study(tmp_path / "study", ("t1", "t2"), PatientName="Secret^Name")
    with archive(tmp_path / "back") as port, serve(port) as node:
        assert echo(node.port).returncode == 0
        assert store(node.port, study).returncode == 0
        wait_until(lambda: node.states() == ["done"])
    files = sorted((tmp_path / "back").iterdir())
    assert len(files) == 20
    assert dciodvfy_errors(files[0]) == []
    data = pydicom.dcmread(files[0])
    assert (data.StudyInstanceUID, data.SyntheticData, str(data.PatientName)) == ("1.2.3.1", "YES", "Secret^Name")
    image, scan = read_image(tmp_path / "back", "flair"), read_image(study / "t1", "t1")
    assert image.data.shape == scan.data.shape
    assert abs(image.affine - scan.affine).max() <= 1e-4
    table = (node.folder / "studies.csv").read_text() + (node.folder / "studies.html").read_text()
    assert "flair (tiny)" in table
    assert "Secret" not in table
    assert str(tmp_path) not in table


def test_studies_of_several_senders_at_once_come_back_once_each(tmp_path: Path, serve: Serve, echoing: None):
    studies = [dicom_study(tmp_path / f"s{n}", ("t1",), n) for n in range(1, 6)]
    with archive(tmp_path / "back") as port, serve(port) as node:
        threads = [threading.Thread(target=store, args=(node.port, study)) for study in studies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: node.states() == ["done"] * 5)
        # The same again: nothing is sent twice.
        before = len(list((tmp_path / "back").iterdir()))
        assert store(node.port, *studies).returncode == 0
        time.sleep(0.5)
        assert node.states() == ["done"] * 5
    assert before == len(list((tmp_path / "back").iterdir())) == 5
    assert [study.images for study in node.studies()] == [20] * 5


def test_out_of_order_and_missing_images(tmp_path: Path, serve: Serve):
    study = dicom_study(tmp_path / "study", ("t1", "t2"))
    files = sorted(path for path in study.rglob("*") if path.is_file())
    late = files.pop(5)
    random.Random(1).shuffle(files)
    with archive(tmp_path / "back") as port, serve(port) as node:
        assert store(node.port, *files).returncode == 0
        wait_until(lambda: node.states() == ["failed"])
        assert "missing" in node.studies()[0].why
        assert store(node.port, late).returncode == 0
        wait_until(lambda: node.states() == ["done"])
    assert len(instances(tmp_path / "back")) == 20


def test_a_study_without_the_inputs_of_any_model_is_told(tmp_path: Path, serve: Serve):
    study = dicom_study(tmp_path / "study", ("t1",))
    with serve() as node:
        store(node.port, study)
        wait_until(lambda: node.states() == ["failed"])
    why = node.studies()[0].why
    assert "t1 (series 101)" in why
    assert "t1 and t2" in why


def test_who_may_send(tmp_path: Path, serve: Serve):
    study = dicom_study(tmp_path / "study", ("t1",))
    with serve(accept=("SCANNER",)) as node:
        assert "Called AE Title Not Recognized" in echo(node.port, called="WRONG").stderr
        assert "Calling AE Title Not Recognized" in store(node.port, study, calling="STRANGER").stderr
        assert node.studies() == []
        assert store(node.port, study).returncode == 0
        wait_until(lambda: len(node.studies()) == 1)


@LEAKY
def test_a_peer_that_is_away_gets_it_later(tmp_path: Path, serve: Serve, echoing: None):
    study = dicom_study(tmp_path / "study", ("t1",))
    port = free_port()
    with serve(port) as node:
        store(node.port, study)
        wait_until(lambda: bool(node.studies() and node.studies()[0].attempts >= 2))
        assert "nothing can be sent" in node.studies()[0].why
        with socket.create_server(("127.0.0.1", port)):
            pass
        (tmp_path / "back").mkdir()
        with program(dcmtk("storescp"), "-od", str(tmp_path / "back"), str(port)):
            wait_until(lambda: node.states() == ["done"])
    assert len(list((tmp_path / "back").iterdir())) == 1


def test_a_peer_that_hangs_holds_up_nobody(tmp_path: Path, serve: Serve, echoing: None):
    study = dicom_study(tmp_path / "study", ("t1",))
    # One peer takes the connection and says nothing; two others begin a unit here and leave off.
    with socket.create_server(("127.0.0.1", 0)) as mute, archive(tmp_path / "back") as port:
        peers = (Destination("127.0.0.1", mute.getsockname()[1], "MUTE"), Destination("127.0.0.1", port, "PACS"))
        with serve(send=peers[1:], hang_s=1.0, most_associations=2) as node:
            halves = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(2)]
            for half in halves:
                half.sendall(b"\x01\x00\x00\x00\x40\x00half")
            time.sleep(2.5)
            assert echo(node.port).returncode == 0
            assert store(node.port, study).returncode == 0
            wait_until(lambda: node.states() == ["done"])
            for half in halves:
                half.close()
        with serve(send=peers[:1], hang_s=0.5) as node:
            store(node.port, dicom_study(tmp_path / "other", ("t1",), 2))
            wait_until(lambda: any(study.attempts >= 1 and study.why for study in node.studies()))
            assert echo(node.port).returncode == 0


def test_a_full_disk_is_told_to_the_sender_and_loses_nothing(
    tmp_path: Path, serve: Serve, echoing: None, monkeypatch: pytest.MonkeyPatch
):
    study = dicom_study(tmp_path / "study", ("t1",))
    full = {"is": False}
    write = Path.write_bytes

    def written(path: Path, content: bytes) -> int:
        if full["is"] and "dicom" in path.parts[-2]:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", written)
    with archive(tmp_path / "back") as port, serve(port) as node:
        full["is"] = True
        said = store(node.port, study)
        assert "Refused: OutOfResources" in said.stdout + said.stderr
        full["is"] = False
        assert store(node.port, study).returncode == 0
        wait_until(lambda: node.states() == ["done"])
        assert node.studies()[0].images == 20


def test_a_disk_with_little_room_takes_nothing(tmp_path: Path, serve: Serve):
    with serve(least_free_bytes=1 << 60) as node:
        said = store(node.port, dicom_study(tmp_path / "study", ("t1",)))
        assert "Refused: OutOfResources" in said.stdout + said.stderr
        assert node.studies() == []


def test_what_cannot_be_written_is_tried_again_then_given_up(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    tries: list[int] = []

    def make(*_: Any) -> work.Made:
        tries.append(1)
        raise OutputError("The disk is full.")

    monkeypatch.setattr(stage, "make", make)
    with serve(back_off_s=0.01) as node:
        store(node.port, dicom_study(tmp_path / "study", ("t1",)))
        wait_until(lambda: node.states() == ["failed"])
    assert (len(tries), "full" in node.studies()[0].why) == (stage.MAKE_TRIES, True)


def test_a_study_at_which_the_node_ends_every_time_is_given_up(tmp_path: Path, serve: Serve):
    with serve() as node:
        store(node.port, dicom_study(tmp_path / "study", ("t1",)))
        wait_until(lambda: node.states() == ["failed"])
        key = next(iter(node.node.queue.studies))
    node.node.queue.change(key, state="working", attempts=stage.MAKE_TRIES, why="")
    with serve() as again:
        wait_until(lambda: again.states() == ["failed"])
    assert "the node ended 5 times" in again.studies()[0].why


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, settings: Any):
    settings.folder.mkdir()
    for name, content in (("studies.csv", "patient,date\n"), ("studies.html", "<h1>mine</h1>"), ("node.log", "mine")):
        (settings.folder / name).write_text(content)
        with pytest.raises(OutputError, match=name):
            stage.run(settings, threading.Event())
        assert (settings.folder / name).read_text() == content
        (settings.folder / name).unlink()
    (settings.folder / "studies" / "mine").mkdir(parents=True)
    with pytest.raises(OutputError, match="studies"):
        stage.run(settings, threading.Event())
    shutil.rmtree(settings.folder)
    stopped = threading.Event()
    stopped.set()
    for _ in range(2):  # its own it takes
        stage.run(settings, stopped)


def test_models_that_a_node_cannot_run_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="makes a CT"):
        work.load_models([save_run(tmp_path / "ct", ["t1"], "ct", 1)])


def start(folder: Path, port: int, peer: int, run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mrsynth", "node", "--models", str(run), "--folder", str(folder), "--listen"]
    command += [str(port), "--device", "cpu", "--send", f"PACS@127.0.0.1:{peer}", "--quiet-s", "30"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: answers(port))
    return process


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path, settings: Any, kills: int):
    studies = [dicom_study(tmp_path / f"s{n}", ("t1", "t2"), n) for n in range(1, 4)]
    port, draw = free_port(), random.Random(kills)
    with archive(tmp_path / "back") as peer:
        process = start(tmp_path / "node", port, peer, settings.models[0])
        try:
            for _ in range(kills):
                sender = threading.Thread(target=store, args=(port, *studies))
                sender.start()
                time.sleep(draw.uniform(0.05, 1.5))
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                sender.join()
                process = start(tmp_path / "node", port, peer, settings.models[0])
            wait_until(lambda: all(store(port, study).returncode == 0 for study in studies))
            table = tmp_path / "node" / "studies.csv"
            wait_until(lambda: table.exists() and table.read_text().count(",done,") == 3)
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    found = instances(tmp_path / "back")
    assert len(found) == len(set(found))
    by_study: dict[str, int] = {}
    for path in (tmp_path / "back").iterdir():
        uid = str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)
        by_study[uid] = by_study.get(uid, 0) + 1
    # A study that was made while images were missing cannot be (that fails), so that each comes back once.
    assert sorted(by_study.values()) == [20, 20, 20]
    assert not list((tmp_path / "node").glob("studies/*/dicom/.tmp-*"))


@pytest.mark.slow
def test_a_hundred_studies_in_and_back(tmp_path: Path, serve: Serve):
    with archive(tmp_path / "back") as port, serve(port) as node:
        for n in range(1, 101):
            assert store(node.port, dicom_study(tmp_path / f"s{n}", ("t1", "t2"), n)).returncode == 0
            shutil.rmtree(tmp_path / f"s{n}")
        wait_until(lambda: node.states() == ["done"] * 100, 600)
    assert len(set(instances(tmp_path / "back"))) == 2000


def test_orthanc_sends_and_gets_back_by_both_ways(tmp_path: Path, serve: Serve):
    node_port = free_port()
    with Orthanc(tmp_path / "orthanc", node_port).running() as orthanc:
        peers = (
            Destination("127.0.0.1", orthanc.dicom, "ORTHANC"),
            Destination.parse(f"http://127.0.0.1:{orthanc.http}/dicom-web"),
        )
        with serve(send=peers, port_=node_port) as node:
            study = dicom_study(tmp_path / "study", ("t1", "t2"))
            ids = {}
            for path in sorted(p for p in study.rglob("*") if p.is_file()):
                ids = orthanc.ask("/instances", path.read_bytes())
            orthanc.ask("/modalities/node/store", {"Resources": [ids["ParentStudy"]]})
            wait_until(lambda: node.states() == ["done"])
            assert set(node.studies()[0].results[0].sent) == {peer.name for peer in peers}
        series = orthanc.ask(f"/studies/{ids['ParentStudy']}")["Series"]
        told = [orthanc.ask(f"/series/{one}") for one in series]
    # Sent by both ways, it is there once.
    assert sorted(len(one["Instances"]) for one in told) == [20, 20, 20]
    assert "SYNTHETIC flair (mrsynth)" in [one["MainDicomTags"]["SeriesDescription"] for one in told]


def test_the_log_names_no_patient(tmp_path: Path, serve: Serve, caplog: pytest.LogCaptureFixture):
    study = dicom_study(tmp_path / "study", ("t1",), PatientName="Secret^Name", PatientID="Secret-7")
    with caplog.at_level("INFO"), serve() as node:
        store(node.port, study)
        wait_until(lambda: node.states() == ["failed"])
    assert re.search(r"study [0-9a-f]{12}: 20 images received", caplog.text)
    assert "Secret" not in caplog.text
    assert "Secret" not in (node.folder / "studies.csv").read_text()
