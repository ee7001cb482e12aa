"""mrsynth serve: the page on this machine, until you stop it."""

from __future__ import annotations

import ipaddress
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.core.extras import require_extra
from mrsynth.core.progress import hush
from mrsynth.model import load_contract
from mrsynth.serve.visits import Visits


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host, port: where the server listens.
        names: further names under which browsers may reach it.
        token: that they must know (None: one is drawn where the page is not on loopback alone).
    """

    host: str = "127.0.0.1"
    port: int = 8765
    names: tuple[str, ...] = ()
    token: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Say whether nobody but this machine reaches the page."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def serve(runs: Sequence[Path], address: Address = Address(), *, max_mib: int = 2048, keep_minutes: float = 60) -> None:
    """Serve the page until the process is interrupted; all that visitors sent is deleted then.

    Args:
        runs: run folders, whose models are offered.
        address: of the page.
        max_mib: what one visit may send, in MiB, packed and unpacked.
        keep_minutes: how long a visit's files are kept that nobody asks for.

    Raises:
        ModelError: a run holds no model.
        InputError: two runs have one name.
        RecipeError: fastapi or uvicorn is not installed.
    """
    for package in ("fastapi", "uvicorn"):
        require_extra(package, "serve")
    import uvicorn

    from mrsynth.serve.app import Serving, build_app

    offered = named(runs)
    token = address.token or (None if address.is_loopback else secrets.token_urlsafe(24))
    with tempfile.TemporaryDirectory(prefix="mrsynth-serve-") as folder:
        visits = Visits(Path(folder), keep_minutes * 60)
        serving = Serving(offered, visits, max_mib * 2**20, token, _hosts(address))
        where = f"http://{address.host}:{address.port}/" + (f"?token={token}" if token else "")
        print(f"Open {where} in a browser; Ctrl-C ends it and deletes what was sent.", flush=True)
        if not address.is_loopback:
            print("Other machines reach this page, unencrypted: put it behind a proxy with TLS.", flush=True)
        hush()
        uvicorn.run(build_app(serving), host=address.host, port=address.port, log_level="warning", access_log=False)


def named(runs: Sequence[Path]) -> dict[str, Path]:
    """Return runs by the names of their folders; raises ModelError for one without a model, InputError for two of one
    name."""
    found: dict[str, Path] = {}
    for run in runs:
        load_contract(run)
        name = run.resolve().name
        if name in found:
            raise InputError("Two runs have one name.", found=f"{found[name]}, {run}", do="rename one of the folders")
        found[name] = run
    return found


def _hosts(address: Address) -> tuple[str, ...]:
    """Return the names under which the page answers."""
    return ("127.0.0.1", "localhost", "[::1]", address.host, *address.names)
