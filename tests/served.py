"""The local page, served in this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mrsynth.serve.visits import Visits


@contextmanager
def serving(runs: dict[str, Path], visits: Visits, max_bytes: int = 1 << 24, token: str | None = None) -> Iterator[str]:
    """Serve the page on a free port of loopback and yield its address."""
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    from mrsynth.serve.app import Serving, build_app

    app = build_app(Serving(runs, visits, max_bytes, token))
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [port]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
