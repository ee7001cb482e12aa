"""Peers and images that mean no good."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE

import dicom_factory as factory
from dicom_peers import archive, echo, store, wait_until
from mrsynth.core.errors import OutputError
from mrsynth.node.queue import Study
from mrsynth.node.send import send
from mrsynth.node.settings import Destination, NodeSettings, Tls
from mrsynth.node.table import write_table
from tiny_run import dicom_study

Serve = Callable[..., Any]


def image(**tags: Any) -> Dataset:
    data = factory.slice_file(factory.stored()[0], (0, 0, 0))
    factory.put(data, {"SOPInstanceUID": "1.2.3.4.5", **tags})
    data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    return data


def status(port: int, data: Dataset, **named: str) -> int | None:
    """Send one image and return the status that the node answers, None where it answers nothing."""
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage)
    association = entity.associate("127.0.0.1", port, ae_title="MRSYNTH")
    assert association.is_established
    try:
        for keyword, value in named.items():
            # The request says one thing, the data set another.
            original, data = data, Dataset()
            data.update(original)
            data.file_meta = original.file_meta
            setattr(data, keyword, value)
        return association.send_c_store(data).get("Status")
    finally:
        association.release()


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/../3", "<script>alert(1)</script>", "", "1" * 80])
def test_a_study_with_a_uid_that_is_none_is_not_understood(serve: Serve, uid: str):
    with serve() as node:
        assert status(node.port, image(StudyInstanceUID=uid)) == 0xC000
        assert node.studies() == []
        assert [path.name for path in node.folder.rglob("*") if path.is_file()] == []


def test_an_image_that_differs_from_the_one_that_is_there_is_refused(serve: Serve):
    with serve(settle_s=60) as node:
        assert status(node.port, image()) == 0
        assert status(node.port, image()) == 0
        assert status(node.port, image(SeriesDescription="another")) == 0xC000
        assert node.studies()[0].images == 1


def test_bytes_that_are_no_data_set_are_not_understood(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    for broken in (b"\x08\x00\x18\x00UI\xff\xff", b"\x08\x00\x18\x00" + b"\xff" * 100, b"\0" * 64):
        monkeypatch.setattr("pynetdicom.association.encode", lambda *_, b=broken: b)
        with serve() as node:
            assert status(node.port, image()) == 0xC000
            assert node.studies() == []


def test_an_image_beyond_the_limit_ends_its_association_alone(serve: Serve):
    big = image()
    big.Rows, big.Columns, big.PixelData = 512, 512, bytes(1 << 19)
    with serve(most_bytes=1 << 18) as node:
        assert status(node.port, big) is None
        assert node.studies() == []
        assert status(node.port, image()) == 0


@pytest.mark.parametrize(
    "first", [b"\x01\x00\xff\xff\xff\xff" + b"x" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096]
)
def test_a_unit_of_any_declared_size_is_not_waited_for(serve: Serve, first: bytes):
    with serve(hang_s=1.0) as node:
        with socket.create_connection(("127.0.0.1", node.port)) as peer:
            peer.sendall(first)
            peer.settimeout(10)
            end = b"x"
            try:
                while end:
                    end = peer.recv(4096)
            except ConnectionResetError:
                pass
        assert echo(node.port).returncode == 0


def test_no_more_associations_than_allowed(serve: Serve):
    with serve(most_associations=1) as node:
        entity = AE("SCANNER")
        entity.add_requested_context("1.2.840.10008.1.1")
        first = entity.associate("127.0.0.1", node.port, ae_title="MRSYNTH")
        assert first.is_established
        second = entity.associate("127.0.0.1", node.port, ae_title="MRSYNTH")
        assert second.is_rejected
        first.release()
        assert echo(node.port).returncode == 0


def test_markup_in_names_and_descriptions_is_shown_harmlessly(tmp_path: Path, serve: Serve):
    evil = "<script>alert(1)</script>"
    study = dicom_study(tmp_path / "study", ("t1",), PatientName=evil, SeriesDescription=evil, StudyDescription=evil)
    with serve() as node:
        store(node.port, study)
        wait_until(lambda: node.states() == ["failed"])
        page = (node.folder / "studies.html").read_text()
    assert "<script" not in page


def test_the_table_is_inert(tmp_path: Path):
    study = Study(uid="=HYPERLINK(1)", why="<b>bold</b>\x1b[31m\n=1+1", found={"t1": "<i>"})
    write_table({"0" * 64: study}, tmp_path)
    page, table = (tmp_path / "studies.html").read_text(), (tmp_path / "studies.csv").read_text()
    assert "&lt;b&gt;bold" in page
    assert "&lt;i&gt;" in page
    assert "\x1b" not in page + table
    assert "'=HYPERLINK" in table


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = subprocess.run([*command.split(), *names], cwd=folder, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    return Tls(folder / "cert.pem", folder / "key.pem", folder / "cert.pem")


def test_with_tls_only_who_has_a_certificate_is_served(
    tmp_path: Path, settings: NodeSettings, serve: Serve, certificates: Tls
):
    path = tmp_path / "image.dcm"
    image().save_as(path, enforce_file_format=True)
    with serve(tls=certificates, hang_s=3.0) as node:
        # One that says nothing keeps nobody waiting; one without TLS, or without a certificate, gets nothing.
        with socket.create_connection(("127.0.0.1", node.port)):
            assert echo(node.port).returncode != 0
            trusting = ssl.create_default_context(cafile=str(certificates.authority))
            with pytest.raises(OSError), socket.create_connection(("127.0.0.1", node.port)) as peer:  # noqa: PT012
                peer.settimeout(5)
                with trusting.wrap_socket(peer, server_hostname="127.0.0.1") as wrapped:
                    wrapped.sendall(b"\x01\x00\x00\x00\x00\x04abcd")
                    if not wrapped.recv(100):
                        raise OSError("closed")
            send([path], Destination("127.0.0.1", node.port, "MRSYNTH"), node.node.settings)
        assert len(node.studies()) == 1


def test_an_answer_that_refuses_is_an_error(tmp_path: Path, settings: NodeSettings):
    path = tmp_path / "image.dcm"
    image().save_as(path, enforce_file_format=True)
    with archive(tmp_path / "back") as port:
        send([path], Destination("127.0.0.1", port, "PACS"), settings)
    with socket.create_server(("127.0.0.1", 0)) as web:
        peer = Destination.parse(f"http://127.0.0.1:{web.getsockname()[1]}/dicom-web")
        began = time.monotonic()
        with pytest.raises(OutputError, match="nothing can be sent"):
            send([path], peer, replace(settings, hang_s=0.5))
        assert time.monotonic() - began < 5
