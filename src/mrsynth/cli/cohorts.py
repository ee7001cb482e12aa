"""The verbs that make, find, check and prepare a cohort."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mrsynth.cli.failures import print_failed, shown
from mrsynth.cli.options import CohortFile, Overrides, Quiet, only_with
from mrsynth.core.errors import InputError

app = typer.Typer()


class PhantomProfile(StrEnum):
    """What a phantom cohort holds."""

    brats = "brats"
    ct = "ct"
    dose = "dose"
    tumour = "tumour"


class PhantomSites(StrEnum):
    """Where the phantoms are scanned."""

    usual = "usual"
    drawn = "drawn"


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("demo"),
    quiet: Quiet = False,
) -> None:
    """The whole way once, on a phantom cohort: simulate, prepare, train, synthesize, evaluate, report."""
    from mrsynth.reproduce.demo import demo as run_demo

    page = run_demo(out)
    print(f"Done. Open {page} in a browser.")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the cohort.")],
    subjects: Annotated[int, typer.Option("--subjects", min=1, help="How many.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")],
    profile: Annotated[
        PhantomProfile, typer.Option("--profile", help="Which scans each subject gets.")
    ] = PhantomProfile.brats,
    spacing: Annotated[float, typer.Option("--spacing", min=1, max=4, help="Voxel size in mm.")] = 1.0,
    sites: Annotated[
        PhantomSites,
        typer.Option("--sites", help="Scanners: the profile's usual sites, or one drawn for each subject."),
    ] = PhantomSites.usual,
    quiet: Quiet = False,
) -> None:
    """Make a cohort of digital brain phantoms with known truth, as NIfTI files and a cohort table."""
    from mrsynth.core.text import counted
    from mrsynth.io import read_cohort
    from mrsynth.simulate import simulate as run

    table = run(out, subjects, seed, profile.value, spacing_mm=spacing, sites=sites.value)
    held = len({row.patient for row in read_cohort(table).rows})
    more = f", {subjects} of them asked for now" if held != subjects else ""
    print(f"{counted(held, 'subject')} in {out}{more}; the cohort table is {table}.")


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(help="Folder with the scans.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The cohort table to write (CSV).")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the split by patient (64/16/20 %).")] = 0,
    found: Annotated[
        Path | None, typer.Option("--found", help="The found table of an earlier run, corrected: it has the last word.")
    ] = None,
    derivatives: Annotated[
        list[str] | None, typer.Option("--derivatives", help="Use this BIDS derivative. Repeatable.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option("--labels", help="Convention of the lesion masks: brats2021, brats2023, brats2024, ms, binary …"),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes for many DICOM files; as many as cores by default."),
    ] = None,
) -> None:
    """Find DICOM, BIDS and NIfTI cases below a folder and write the cohort table; say what was recognised, and why."""
    from mrsynth.core.jobs import default_workers
    from mrsynth.index.run import describe
    from mrsynth.index.run import index as run

    cohort, previous = run(
        folder,
        out,
        seed,
        derivatives=derivatives or (),
        found=found,
        labels=labels,
        workers=workers or default_workers(),
    )
    for line in describe(cohort, out, previous):
        print(line)


@app.command()
def check(
    cohort: CohortFile,
    model: Annotated[
        Path | None, typer.Option("--model", help="A run: say, too, what is unlike the images it was trained on.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Report every problem of a cohort in words; exit code 1 where there is an error."""
    from mrsynth.check.run import check as run

    lines, errors = run(cohort, model)
    for line in lines:
        print(line)
    raise typer.Exit(1 if errors else 0)


@app.command()
def prepare(
    cohort: CohortFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the prepared cohort.")],
    recipe: Annotated[str | None, typer.Option("--recipe", help="Recipe, e.g. osman2022 or osman2022/small.")] = None,
    steps: Annotated[
        str | None,
        typer.Option("--steps", help="Steps instead of a recipe's: 'register, resample, brain_mask', or a YAML file."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="A run instead: prepare as for its training, and flag what is unlike that."),
    ] = None,
    contrasts: Annotated[str, typer.Option("--contrasts", help="With --steps: t1,t2 …; all by default.")] = "",
    overrides: Overrides = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; as many as cores and memory allow by default.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="A Dask scheduler's address (tcp://host:8786), or slurm.")
    ] = None,
    stop_at_first: Annotated[bool, typer.Option("--stop-at-first", help="Stop at the first broken case.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run the preparation of a recipe or a run, or single steps, over a cohort. Run it again to go on."""
    from mrsynth.core.jobs import Workers
    from mrsynth.core.text import counted
    from mrsynth.io import read_cohort
    from mrsynth.model import load_contract
    from mrsynth.prepare.plan import Plan
    from mrsynth.prepare.run import prepare as run
    from mrsynth.recipes.recipe import load_recipe

    if sum(given is not None for given in (recipe, steps, like)) != 1:
        raise InputError("Give one of --recipe, --steps and --like.", do="mrsynth recipes list shows the recipes")
    table, contract = read_cohort(cohort), None if like is None else load_contract(like)
    if steps is None:
        only_with("--steps", {"--contrasts": contrasts or None})
    if recipe is None:
        only_with("--recipe", {"--set": overrides})
    if contract is not None:
        plan = Plan.of_model(contract, table)
    elif recipe is not None:
        plan = Plan.of_recipe(load_recipe(recipe, overrides or ()))
    else:
        plan = Plan.of_steps(steps or "", table, [name for name in contrasts.split(",") if name])
    done = run(table, plan, out, workers=Workers(workers, scheduler), stop_at_first=stop_at_first, like=contract)
    up_to_date = f"{len(done.unchanged)} up to date, {len(done.failed)} failed"
    print(f"{counted(len(done.made), 'case')} prepared, {up_to_date}: {out}")
    for case, told in done.unlike.items():
        print(shown(f"{case}: {' '.join(told)}"))
    print(f"Look at {done.page} in a browser.")
    print_failed(done.failed)
