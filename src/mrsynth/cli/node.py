"""The verb that stands in a hospital's network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrsynth.core.errors import InputError

app = typer.Typer()

Models = Annotated[list[Path], typer.Option("--models", help="A run folder, or the name of a known model. Repeatable.")]
Send = Annotated[
    list[str], typer.Option("--send", help="Where results go: AET@host:port or https://host/dicom-web. Repeatable.")
]
Accept = Annotated[
    list[str] | None, typer.Option("--accept", help="An AE title that may send. Repeatable; any, on loopback alone.")
]
Pem = Path | None


@app.command()
def node(
    models: Models,
    send: Send,
    folder: Annotated[Path, typer.Option("--folder", help="For all that it keeps.")] = Path("node"),
    listen: Annotated[int, typer.Option("--listen", min=1, max=65535, help="The port.")] = 11112,
    host: Annotated[str, typer.Option("--host", help="The address that it listens on.")] = "127.0.0.1",
    aet: Annotated[str, typer.Option("--aet", help="Its own AE title.")] = "MRSYNTH",
    accept: Accept = None,
    tls_cert: Annotated[Pem, typer.Option("--tls-cert", help="PEM: its certificate.")] = None,
    tls_key: Annotated[Pem, typer.Option("--tls-key", help="PEM: the certificate's key.")] = None,
    tls_ca: Annotated[Pem, typer.Option("--tls-ca", help="PEM: whose certificates it believes.")] = None,
    quiet_s: Annotated[float, typer.Option("--quiet-s", min=1, help="A study that is silent so long is whole.")] = 60,
    keep_days: Annotated[float, typer.Option("--keep-days", min=0.01, help="Then its images are deleted.")] = 7,
    enhanced: Annotated[bool, typer.Option("--enhanced", help="Results as Enhanced MR.")] = False,
    jpeg_ls: Annotated[bool, typer.Option("--jpeg-ls", help="Results compressed without loss.")] = False,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda …; a GPU where there is one.")] = None,
) -> None:
    """Take studies over DICOM, run the models whose inputs are there, send the results back."""
    try:
        from mrsynth.io.models import find_model
        from mrsynth.node.run import run
        from mrsynth.node.settings import Destination, NodeSettings, Tls
    except ModuleNotFoundError as error:
        raise InputError("The node needs pynetdicom.", found=error, do="pip install 'mrsynth[dicom]'") from error

    files = [path for path in (tls_cert, tls_key, tls_ca) if path is not None]
    if files and len(files) < 3:
        raise InputError("TLS needs --tls-cert, --tls-key and --tls-ca.", found=", ".join(map(str, files)))
    settings = NodeSettings(
        folder,
        tuple(find_model(model) for model in models),
        tuple(Destination.parse(text) for text in send),
        host,
        listen,
        aet,
        tuple(accept or ()),
        Tls(*files) if files else None,
        quiet_s=quiet_s,
        keep_s=keep_days * 86400,
        enhanced=enhanced,
        jpeg_ls=jpeg_ls,
        device=device,
    )
    run(settings)
