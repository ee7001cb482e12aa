"""The command line: thin verbs. Heavy imports stand inside the functions, so that `mrsynth --help` loads no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import mrsynth
from mrsynth.errors import InputError, MrsynthError

app = typer.Typer(
    name="mrsynth",
    help="Synthesize the brain image that was not acquired. Research software, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
recipes_app = typer.Typer(help="The methods: list them, read one, check one.", no_args_is_help=True)
app.add_typer(recipes_app, name="recipes")


class PhantomProfile(StrEnum):
    """What a phantom cohort holds."""

    brats = "brats"
    ct = "ct"
    dose = "dose"
    tumour = "tumour"


class Units(StrEnum):
    """The scale of a synthetic image's values."""

    range = "range"
    input = "input"
    training = "training"


class Missing(StrEnum):
    """What to do where an input of a model is missing."""

    refuse = "refuse"
    zeros = "zeros"


class Precision(StrEnum):
    """The numbers a network computes with."""

    full = "32"
    bf16 = "bf16"
    half = "16"


class Scale(StrEnum):
    """The size of a reproduction."""

    smoke = "smoke"
    small = "small"
    paper = "paper"


CohortFile = Annotated[Path, typer.Argument(help="The cohort table (CSV) that mrsynth index wrote.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe's value: section.key=value. Repeatable.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


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


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything the demo makes.")] = Path("demo"),
    quiet: Quiet = False,
) -> None:
    """The whole way once, on a phantom cohort: simulate, prepare, train, synthesize, evaluate, report."""
    from mrsynth.recipes.demo import demo as run_demo

    page = run_demo(out, progress=not quiet)
    print(f"Done. Open {page} in a browser.")


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for the cohort.")],
    subjects: Annotated[int, typer.Option("--subjects", min=1, help="How many.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")],
    profile: Annotated[
        PhantomProfile, typer.Option("--profile", help="Which scans each subject gets.")
    ] = PhantomProfile.brats,
    spacing: Annotated[float, typer.Option("--spacing", min=0.5, max=8, help="Voxel size in mm.")] = 1.0,
    quiet: Quiet = False,
) -> None:
    """Make a cohort of digital brain phantoms with known truth, as NIfTI files and a cohort table."""
    from mrsynth.recipes.stages.simulate import simulate as run

    table = run(out, subjects, seed, profile.value, spacing_mm=spacing, progress=not quiet)
    print(f"{subjects} subjects in {out}; the cohort table is {table}.")


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
) -> None:
    """Find DICOM, BIDS and NIfTI cases below a folder and write the cohort table; say what was recognised, and why."""
    from mrsynth.recipes.stages.index import describe
    from mrsynth.recipes.stages.index import index as run

    for line in describe(run(folder, out, seed, derivatives=derivatives or (), found=found), out):
        print(line)


@app.command()
def check(cohort: CohortFile, quiet: Quiet = False) -> None:
    """Report every problem of a cohort in words; exit code 1 where there is an error."""
    from mrsynth.recipes.stages.check import check as run

    lines, errors = run(cohort, progress=not quiet)
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
    """Run a recipe's preparation, or single steps, over a cohort. Run it again to go on after an interruption."""
    from mrsynth.io import read_cohort
    from mrsynth.recipes.recipe import load_recipe
    from mrsynth.recipes.stages.cluster import Workers
    from mrsynth.recipes.stages.index import counted
    from mrsynth.recipes.stages.plan import Plan
    from mrsynth.recipes.stages.prepare import prepare as run

    if (recipe is None) == (steps is None):
        raise InputError("Give either --recipe or --steps.", do="mrsynth recipes list shows the recipes")
    table = read_cohort(cohort)
    if recipe is not None:
        plan = Plan.of_recipe(load_recipe(recipe, overrides or ()))
    else:
        plan = Plan.of_steps(steps or "", table, [name for name in contrasts.split(",") if name])
    done = run(table, plan, out, workers=Workers(workers, scheduler), stop_at_first=stop_at_first, progress=not quiet)
    up_to_date = f"{len(done.unchanged)} up to date, {len(done.failed)} failed"
    print(f"{counted(len(done.made), 'case')} prepared, {up_to_date}: {out}")
    print(f"Look at {done.page} in a browser.")
    _print_failed(done.failed)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, e.g. osman2022/t2-t1.")],
    data: Annotated[Path, typer.Option("--data", help="The prepared cohort.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch.")] = False,
    folds: Annotated[int | None, typer.Option("--folds", help="Cross-validate by patient: a run a fold.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a recipe's model on a prepared cohort."""
    from mrsynth.io import PreparedCohort
    from mrsynth.recipes.recipe import load_recipe
    from mrsynth.recipes.stages.folds import train_folds
    from mrsynth.recipes.stages.train import train as run

    loaded, prepared = load_recipe(recipe, overrides or ()), PreparedCohort.open(data)
    if folds is None:
        runs = {out: run(loaded, prepared, out, resume=resume, progress=not quiet)}
    else:
        contracts = train_folds(loaded, prepared, out, folds, resume=resume, progress=not quiet)
        runs = {out / f"fold-{number}": contract for number, contract in enumerate(contracts, start=1)}
    for folder, contract in runs.items():
        record = contract.training
        print(
            f"{loaded.translation}: {record['epochs']} epochs, best validation loss {record['best_val_loss']:.6g} in "
            f"epoch {record['best_epoch']}. The model is in {folder / 'model'}."
        )


@app.command()
def synthesize(
    model: Annotated[Path, typer.Option("--model", help="The run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (or folder, with --cohort).")],
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="contrast=file, e.g. t1=scan.nii.gz; brain=mask. Repeatable.")
    ] = None,
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Predict every case of this table.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="With --cohort: only train, val or test.")] = None,
    like: Annotated[
        str | None, typer.Option("--like", help="The input whose grid the result gets; the first there is by default.")
    ] = None,
    units: Annotated[
        Units, typer.Option("--units", help="The model's range, the intensities of --like, or the training scans'.")
    ] = Units.range,
    missing: Annotated[
        Missing, typer.Option("--missing", help="A missing input: refuse it, or let the network see zeros.")
    ] = Missing.refuse,
    impute: Annotated[
        list[str] | None, typer.Option("--impute", help="contrast=run folder that makes a missing input. Repeatable.")
    ] = None,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the network's numbers.")] = Precision.full,
    compile_net: Annotated[bool, typer.Option("--compile", help="Compile the network first (many cases).")] = False,
    overlap: Annotated[
        int, typer.Option("--overlap", min=0, help="Slices that neighbouring slabs of a 3-D model share.")
    ] = 0,
    memory_gib: Annotated[
        float | None, typer.Option("--memory-gib", min=0.1, help="Memory beside weights and volume.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda …; a GPU where there is one.")] = None,
    dose: Annotated[
        str | None, typer.Option("--dose", help="Of a model with doses: those to make, e.g. 0.1,0.17; a case's own.")
    ] = None,
    b0: Annotated[
        float | None, typer.Option("--b0", min=0.1, help="With doses: the scanner's field in tesla; a case's own.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="With doses: of the noise; 0 by default.")] = None,
    extrapolate: Annotated[
        bool, typer.Option("--allow-extrapolation", help="Make doses and fields that were not trained, and mark them.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Make the missing image from the ones at hand, on the patient's own grid."""
    from mrsynth.io import read_cohort
    from mrsynth.recipes.stages import synthesize as stage
    from mrsynth.recipes.stages.index import counted
    from mrsynth.synthesize import Doses, Inference, MissingInputs

    if (inputs is None) == (cohort is None):
        raise InputError("Give either --input (one or more) or --cohort.")
    place = stage.Place(like, units.value, device)
    gaps = MissingInputs(missing.value, _pairs("--impute", impute, "contrast=run folder, e.g. t2=runs/t1-t2"))
    how = Inference(precision=precision.value, compile=compile_net, overlap=overlap, memory_gib=memory_gib)
    options: dict[str, Any] = {"place": place, "missing": gaps, "inference": how}
    if extrapolate or any(value is not None for value in (dose, b0, seed)):
        options["doses"] = Doses.parse(dose or "", b0, seed or 0, extrapolate)
    if cohort is not None:
        made, failed = stage.synthesize_cohort(
            model, read_cohort(cohort), out, split=split, progress=not quiet, **options
        )
        print(f"{counted(len(made), 'synthetic image')} in {out}, {len(failed)} failed.")
        _print_failed(failed)
    else:
        files = _pairs("--input", inputs, "contrast=file, e.g. t1=scan.nii.gz")
        print(f"Synthetic image: {stage.synthesize_files(model, files, out, progress=not quiet, **options)}")


@app.command()
def evaluate(
    prediction: Annotated[Path, typer.Option("--prediction", help="A synthetic image, or a folder of them.")],
    reference: Annotated[Path | None, typer.Option("--reference", help="The true image, or a folder.")] = None,
    mask: Annotated[Path | None, typer.Option("--mask", help="Brain mask, or a folder of them.")] = None,
    data_range: Annotated[float | None, typer.Option("--range", help="The data range of PSNR and SSIM.")] = None,
    preset: Annotated[
        list[str] | None, typer.Option("--preset", help="Metric convention: default, osman2022. Repeatable.")
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option("--cohort", help="Table with the references of RUN/predictions.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="metrics.json; a metrics.csv goes beside it.")] = None,
    quiet: Quiet = False,
) -> None:
    """Measure predictions against references. With --cohort: a run's predictions, beside the baselines, with tests."""
    from mrsynth.io import read_cohort
    from mrsynth.recipes.stages import evaluate as stage

    if (reference is None) == (cohort is None):
        raise InputError("Give either --reference (a file or a folder) or --cohort.")
    if cohort is not None:
        path = stage.evaluate_predictions(prediction, read_cohort(cohort), preset, out, progress=not quiet)
    else:
        assert reference is not None
        from mrsynth.recipes.stages.evaluate_files import evaluate_files

        path = evaluate_files(prediction, reference, mask, data_range, preset or ["default"], out)
    for line in stage.describe(path):
        print(line)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="The run folder.")]) -> None:
    """Write a run's report.html: one file with tables, learning curves and pictures."""
    from mrsynth.report import build_report

    print(f"Open {build_report(run)} in a browser.")


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="Study, e.g. chen2022, or a YAML file.")],
    scale: Annotated[Scale, typer.Option("--scale", help="How large.")],
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Real scans; by default phantoms are made.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; runs/STUDY-SCALE by default.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Cells side by side, the cores shared.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="A Dask scheduler's address (tcp://host:8786), or slurm.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Run this cell or job alone. Repeatable.")] = None,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Run nothing; write the tables of what is there.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run a paper's whole study and write its tables, published beside measured. Run it again to go on."""
    from mrsynth.recipes.reproduce import reproduce as run
    from mrsynth.recipes.stages.cluster import Workers

    done = run(
        study,
        scale.value,
        out or Path("runs") / f"{Path(study).stem}-{scale.value}",
        cohort,
        workers=Workers(workers, scheduler),
        only=only or (),
        tables_only=tables_only,
        progress=not quiet,
    )
    for path in done.tables:
        print(path.read_text(encoding="utf-8"))
    print(f"Open {done.page} in a browser; the tables are in {done.page.parent / 'tables'}.")
    _print_failed(done.failed)


@recipes_app.command("list")
def recipes_list() -> None:
    """List the recipes with their variants."""
    from mrsynth.recipes.recipe import list_recipes, load_recipe

    for name in list_recipes():
        recipe = load_recipe(name)
        print(f"{name}: {recipe.title}")
        print(f"  {recipe.translation} by default; variants: " + ", ".join(f"{name}/{v}" for v in recipe.variants))


@recipes_app.command("show")
def recipes_show(
    recipe: Annotated[str, typer.Argument(help="Recipe, variants or file.")], overrides: Overrides = None
) -> None:
    """Print a recipe as it would run, variants and overrides applied."""
    from mrsynth.recipes.recipe import dump_recipe, load_recipe

    print(dump_recipe(load_recipe(recipe, overrides or ())), end="")


@recipes_app.command("check")
def recipes_check(
    recipe: Annotated[str, typer.Argument(help="Recipe, variants or file.")], overrides: Overrides = None
) -> None:
    """Say whether a recipe is valid; where not, which key is wrong and what was probably meant."""
    from mrsynth.nets import build_net, count_parameters
    from mrsynth.recipes.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    parameters = count_parameters(build_net(loaded.net.name, **loaded.net.settings))
    print(f"{recipe} is valid: {loaded.translation}, {loaded.net.name} with {parameters:,} parameters.")


def _pairs(option: str, texts: list[str] | None, expected: str) -> dict[str, Path]:
    """Return the paths of an option's name=path by name; raises InputError where one is none."""
    parts = [text.partition("=") for text in texts or ()]
    for name, _, path in parts:
        if not name or not path:
            raise InputError(f"{option} {name}: not of the form name=path.", expected=expected)
    return {name: Path(path) for name, _, path in parts}


def _print_failed(failed: Sequence[tuple[str, str]]) -> None:
    """Print the cases that failed and end with exit code 1 where there are any."""
    for case, why in failed:
        print(f"\n{_shown(case)}\n{_shown(why)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _shown(message: object) -> str:
    """Return a message for the terminal, line by line: names of files in it may hold escape sequences."""
    from mrsynth.io.files import printable

    return "\n".join(printable(line) for line in str(message).split("\n"))


def main() -> None:
    """Run the command line; errors become a few lines on standard error and an exit code ≠ 0."""
    try:
        app()
    except MrsynthError as error:
        print(f"mrsynth: {_shown(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"mrsynth: {_shown(f'{error.strerror or error}{where}')}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:
            print(
                "\nmrsynth: stopped. What is finished is kept; run the same command again to go on (train: --resume).",
                file=sys.stderr,
            )
        raise
