"""The verbs that judge and show what came out, of a run and of a whole study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mrsynth.cli.failures import print_failed
from mrsynth.cli.options import Processes, Quiet, Scheduler, only_with, pairs
from mrsynth.core.errors import InputError

app = typer.Typer()


class StudyScale(StrEnum):
    """The size of a reproduction."""

    smoke = "smoke"
    small = "small"
    long = "long"
    mixed = "mixed"
    paper = "paper"


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
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="With --cohort: the run or known model that made the predictions, if it was moved."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="metrics.json; a metrics.csv goes beside it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Print every rival, region and fit.")] = False,
    workers: Processes = None,
    scheduler: Scheduler = None,
    quiet: Quiet = False,
) -> None:
    """Measure predictions against references. With --cohort: a run's predictions, beside the baselines, with tests."""
    from mrsynth.core.jobs import Workers
    from mrsynth.evaluate.results import describe
    from mrsynth.evaluate.run import evaluate_predictions, read_metrics
    from mrsynth.io import read_cohort
    from mrsynth.io.models import find_model

    if (reference is None) == (cohort is None):
        raise InputError("Give either --reference (a file or a folder) or --cohort.")
    if cohort is not None:
        only_with("--reference", {"--mask": mask, "--range": data_range})
        where = Workers(workers or 1, scheduler)
        model = None if model is None else find_model(model)
        path = evaluate_predictions(prediction, read_cohort(cohort), preset, out, model, workers=where)
    else:
        assert reference is not None
        only_with("--cohort", {"--model": model, "--workers": workers, "--scheduler": scheduler})
        from mrsynth.evaluate.files import evaluate_files

        path = evaluate_files(prediction, reference, mask, data_range, preset or ["default"], out)
    record = read_metrics(path)
    for line in describe(record, path, every):
        print(line)
    print_failed([(entry.case, entry.why) for entry in record.left_out])


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    pictures: Annotated[
        int, typer.Option("--pictures", min=0, help="Cases to show one by one, evenly from the worst to the best.")
    ] = 13,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="The metrics.json to show; the run's own by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; report.html beside what it shows by default.")
    ] = None,
) -> None:
    """Write a run's report.html: one file with tables, learning curves and pictures."""
    from mrsynth.report import build_report

    print(f"Open {build_report(run, pictures, evaluation=evaluation, out=out)} in a browser.")


@app.command()
def reproduce(
    study: Annotated[str, typer.Argument(help="Study, e.g. chen2022, or a YAML file.")],
    scale: Annotated[StudyScale, typer.Option("--scale", help="How large.")],
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Real scans; by default phantoms are made.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; runs/STUDY-SCALE by default.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Cells side by side, the cores shared.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="A Dask scheduler's address (tcp://host:8786), or slurm.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Run this cell or job alone. Repeatable.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights", help="network=file of weights that others trained, e.g. vgg16=…; or cache. Repeatable."
        ),
    ] = None,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Run nothing; write the tables of what is there.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Run nothing; say what is left, and the core-hours that it takes here.")
    ] = False,
    export_results: Annotated[
        Path | None, typer.Option("--export-results", help="Run nothing; write all finished numbers into this folder.")
    ] = None,
    import_results: Annotated[
        Path | None, typer.Option("--import-results", help="Take numbers of another machine; then write the tables.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run a paper's whole study and write its tables, published beside measured. Run it again to go on."""
    from mrsynth.core.jobs import Workers
    from mrsynth.drawing.table import table_markdown
    from mrsynth.reproduce.run import cost_of, give_results, take_results
    from mrsynth.reproduce.run import reproduce as run

    named = pairs("--weights", weights, "network=file, e.g. vgg16=vgg16.safetensors")
    given = None if weights is None else {name: str(path) for name, path in named.items()}
    folder = out or Path("runs") / f"{Path(study).stem}-{scale.value}"
    if plan:
        print(table_markdown(cost_of(study, scale.value, folder, only or (), given)))
        return
    if export_results is not None:
        files = give_results(study, scale.value, folder, export_results)
        print(f"{len(files)} results are in {export_results}.")
        return
    if import_results is not None:
        taken = take_results(study, scale.value, folder, import_results, cohort, weights=given)
        print(f"Taken: {', '.join(taken) or 'nothing new'}.")
    done = run(
        study,
        scale.value,
        folder,
        cohort,
        workers=Workers(workers, scheduler),
        only=only or (),
        tables_only=tables_only or import_results is not None,
        weights=given,
    )
    for path in done.tables:
        print(path.read_text(encoding="utf-8"))
    print(f"Open {done.page} in a browser; the tables are in {done.page.parent / 'tables'}.")
    print_failed(done.failed)
