"""Real DICOM peers on loopback: dcmtk's programs and Orthanc, started by a test, skipped where they are missing."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0


def dcmtk(name: str) -> str:
    """Return dcmtk's program (pynetdicom installs others of the same names)."""
    dump = shutil.which("dcmdump")
    if dump is None:
        pytest.skip("dcmtk is not installed")
    return str(Path(dump).parent / name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is true; fail where it does not become so."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def program(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def archive(folder: Path, title: str = "PACS") -> Iterator[int]:
    """An archive (storescp) that writes into a folder; yields its port."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    with program(dcmtk("storescp"), "-od", str(folder), "-aet", title, "+xa", str(port)):
        wait_until(lambda: answers(port))
        yield port


def store(
    port: int, *paths: Path, called: str = "MRSYNTH", calling: str = "SCANNER"
) -> subprocess.CompletedProcess[str]:
    """Send files and folders with storescu."""
    titles = ["-v", "-aet", calling, "-aec", called]
    command = [dcmtk("storescu"), *titles, "+sd", "+r", "127.0.0.1", str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def echo(port: int, called: str = "MRSYNTH") -> subprocess.CompletedProcess[str]:
    command = [dcmtk("echoscu"), "-aec", called, "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


class Orthanc:
    """Debian's Orthanc with its DICOMweb plugin, on loopback; node: the port of the node that it knows as `node`."""

    def __init__(self, folder: Path, node: int) -> None:
        folder.mkdir()
        plugin = next(iter(Path("/usr").glob("*/orthanc/plugins/libOrthancDicomWeb.so*")), None)
        plugin = plugin or next(iter(Path("/usr/lib").glob("**/libOrthancDicomWeb.so*")), None)
        self.program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        if plugin is None or not Path(self.program).exists():
            pytest.skip("Orthanc with its DICOMweb plugin is not installed")
        self.http, self.dicom = free_port(), free_port()
        settings = {
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(plugin)],
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowStore": True,
            "DicomModalities": {"node": ["MRSYNTH", "127.0.0.1", node]},
        }
        self.settings = folder / "orthanc.json"
        self.settings.write_text(json.dumps(settings))

    @contextmanager
    def running(self) -> Iterator[Orthanc]:
        with program(self.program, str(self.settings)):
            wait_until(lambda: answers(self.http) and answers(self.dicom))
            yield self

    def ask(self, path: str, body: Any = None) -> Any:
        """GET, or POST where there is a body."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return json.loads(response.read())
