"""The command line: thin verbs. Heavy imports stand inside the functions, so that `mrsynth --help` loads no torch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import mrsynth
from mrsynth.cli import cohorts, export, models, node, recipes, results, serve
from mrsynth.cli.failures import shown
from mrsynth.core.errors import MrsynthError

app = typer.Typer(
    name="mrsynth",
    help="Synthesize the brain image that was not acquired. Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verbs in (cohorts, models, results, export, serve, node):
    app.add_typer(verbs.app)  # without a name: verbs of mrsynth itself, in this order
app.add_typer(recipes.app, name="recipes")


def _version(value: bool) -> None:
    if value:
        print(f"mrsynth {mrsynth.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; errors become a few lines on standard error and an exit code ≠ 0."""
    try:
        app()
    except MrsynthError as error:
        print(f"mrsynth: {shown(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"mrsynth: {shown(f'{error.strerror or error}{where}')}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:
            print(
                "\nmrsynth: stopped. What is finished is kept; run the same command again to go on (train: --resume).",
                file=sys.stderr,
            )
        raise
