"""The verb that hands a model to other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Form(StrEnum):
    """What a model is exported to."""

    onnx = "onnx"
    bundle = "bundle"


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or the name of a known model.")],
    form: Annotated[Form, typer.Option("--to", help="ONNX with its contract, or a MONAI bundle.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it must not be there yet.")],
) -> None:
    """Hand a run's model to other programs: as ONNX, checked against torch, or as a MONAI bundle."""
    from mrsynth.export.run import export as run_export
    from mrsynth.io.models import find_model

    print(f"{out}: {run_export(find_model(run), form.value, out)}.")
