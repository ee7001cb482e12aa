"""All verbs of the command line, and what they share. Heavy imports stand inside functions: `--help` loads no torch."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import mrsynth
from mrsynth.cli import cohorts, export, known, models, node, recipes, results, serve
from mrsynth.core.errors import InputError


class _Verbs(TyperGroup):
    """The verbs, of which none ends in typer's "Aborted." because a library met the end of a file."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise InputError("A file ended before it was read whole.", found=str(error) or None) from error


app = typer.Typer(
    name="mrsynth",
    cls=_Verbs,
    help="Synthesize the brain image that was not acquired. Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verbs in (cohorts, models, results, export, serve, node):
    app.add_typer(verbs.app)  # without a name: verbs of mrsynth itself, in this order
app.add_typer(recipes.app, name="recipes")
app.add_typer(known.app, name="models")


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
