"""The verb that serves a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def serve(
    models: Annotated[list[Path], typer.Argument(help="Run folders, or names of known models.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than loopback take a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8765,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A further name under which browsers reach it. Repeatable.")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", envvar="MRSYNTH_TOKEN", help="What visitors must know; else one is drawn.")
    ] = None,
    max_mib: Annotated[int, typer.Option("--max-mib", min=1, help="What one visit may send, in MiB.")] = 2048,
    keep_minutes: Annotated[
        float, typer.Option("--keep-minutes", min=1, help="How long files are kept that nobody asks for.")
    ] = 60,
) -> None:
    """Serve a local page: drop scans, see what they are taken for, make the missing image, look at it, download it."""
    from mrsynth.io.models import find_model
    from mrsynth.serve.run import Address
    from mrsynth.serve.run import serve as run

    run(
        [find_model(model) for model in models],
        Address(host, port, tuple(name or ()), token),
        max_mib=max_mib,
        keep_minutes=keep_minutes,
    )
