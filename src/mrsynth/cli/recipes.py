"""mrsynth recipes: the methods."""

from __future__ import annotations

from typing import Annotated

import typer

from mrsynth.cli.options import Overrides

app = typer.Typer(help="The methods: list them, read one, check one.", no_args_is_help=True)


@app.command("list")
def list_them() -> None:
    """List the recipes with their variants."""
    from mrsynth.recipes.recipe import list_recipes, load_recipe

    for name in list_recipes():
        recipe = load_recipe(name)
        print(f"{name}: {recipe.title}")
        print(f"  {recipe.translation} by default; variants: " + ", ".join(f"{name}/{v}" for v in recipe.variants))


@app.command("show")
def show(recipe: Annotated[str, typer.Argument(help="Recipe, variants or file.")], overrides: Overrides = None) -> None:
    """Print a recipe as it would run, variants and overrides applied."""
    from mrsynth.recipes.recipe import dump_recipe, load_recipe

    print(dump_recipe(load_recipe(recipe, overrides or ())), end="")


@app.command("check")
def check(
    recipe: Annotated[str, typer.Argument(help="Recipe, variants or file.")], overrides: Overrides = None
) -> None:
    """Say whether a recipe is valid; where not, which key is wrong and what was probably meant."""
    from mrsynth.nets import build_net, count_parameters
    from mrsynth.recipes.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    parameters = count_parameters(build_net(loaded.net.name, **loaded.net.settings))
    print(f"{recipe} is valid: {loaded.translation}, {loaded.net.name} with {parameters:,} parameters.")
