"""The verbs that train a model and use it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mrsynth.cli.failures import print_failed
from mrsynth.cli.options import Overrides, Processes, Quiet, Scheduler, only_with, pairs
from mrsynth.core.errors import InputError

if TYPE_CHECKING:
    from mrsynth.model import Contract

app = typer.Typer()


class Units(StrEnum):
    """The scale of a synthetic image's values."""

    range = "range"
    input = "input"
    training = "training"


class Missing(StrEnum):
    """What to do where an input of a model is missing."""

    refuse = "refuse"
    zeros = "zeros"


class Format(StrEnum):
    """What is written."""

    nifti = "nifti"
    dicom = "dicom"
    both = "both"
    bids = "bids"


class Precision(StrEnum):
    """The numbers a network computes with."""

    full = "32"
    bf16 = "bf16"
    half = "16"


class EngineName(StrEnum):
    """What computes a network on a CPU."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"
    auto = "auto"


Inputs = Annotated[
    list[str] | None, typer.Option("--input", help="contrast=file, e.g. t1=scan.nii.gz; brain=mask. Repeatable.")
]
Imputers = Annotated[
    list[str] | None, typer.Option("--impute", help="contrast=run folder that makes a missing input. Repeatable.")
]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe, e.g. osman2022/t2-t1.")],
    data: Annotated[Path, typer.Option("--data", help="The prepared cohort.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder.")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch.")] = False,
    weights_from: Annotated[
        Path | None, typer.Option("--from", help="Begin with the weights of this run or known model (fine-tuning).")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Cross-validate by patient: a run a fold, and one model of all.")
    ] = None,
    everyone: Annotated[
        Path | None,
        typer.Option("--all", help="Train on every case, for the steps that these folds found; nothing is held out."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a recipe's model on a prepared cohort."""
    from mrsynth.io import PreparedCohort
    from mrsynth.io.models import find_model
    from mrsynth.recipes.recipe import load_recipe
    from mrsynth.train.everyone import train_everyone
    from mrsynth.train.folds import train_folds
    from mrsynth.train.run import train as run

    if folds is not None and everyone is not None:
        raise InputError("Give either --folds or --all: the latter takes the folder that the former left.")

    weights_from = None if weights_from is None else find_model(weights_from)
    loaded, prepared = load_recipe(recipe, overrides or ()), PreparedCohort.open(data)
    if everyone is not None:
        runs = {out: train_everyone(loaded, prepared, out, everyone, resume=resume, weights_from=weights_from)}
    elif folds is None:
        runs = {out: run(loaded, prepared, out, resume=resume, weights_from=weights_from)}
    else:
        contracts = train_folds(loaded, prepared, out, folds, resume=resume, weights_from=weights_from)
        runs = {out / f"fold-{number}": contract for number, contract in enumerate(contracts, start=1)}
    for folder, contract in runs.items():
        _print_outcome(folder, contract)


def _print_outcome(folder: Path, contract: Contract) -> None:
    """Print what came of a training."""
    from mrsynth.io.run import Run

    record, found = contract.training, ""
    if record.best_val_loss is not None:
        found = f", best validation loss {record.best_val_loss:.6g} in epoch {record.best_epoch}"
    ended = "".join(f" {c.words[:1].upper()}{c.words[1:]}." for c in record.convergence[-1:])
    task = "+".join(record.inputs) + "-" + record.target
    print(f"{task}: {record.epochs} epochs{found}.{ended} The model is in {Run(folder).model}.")


@app.command()
def synthesize(
    model: Annotated[Path, typer.Option("--model", help="A run folder, or the name of a known model.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (or folder, with --cohort).")],
    inputs: Inputs = None,
    cohort: Annotated[Path | None, typer.Option("--cohort", help="Predict every case of this table.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="With --cohort: only train, val or test.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="A contrast to make, of a model of several; all: each not given. Repeatable."),
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", help="The input whose grid the result gets; the first there is by default.")
    ] = None,
    units: Annotated[
        Units, typer.Option("--units", help="The model's range, the intensities of --like, or the training scans'.")
    ] = Units.range,
    missing: Annotated[
        Missing, typer.Option("--missing", help="A missing input: refuse it, or let the network see zeros.")
    ] = Missing.refuse,
    impute: Imputers = None,
    precision: Annotated[Precision, typer.Option("--precision", help="Of the network's numbers.")] = Precision.full,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="What computes on a CPU; auto: the faster one that is installed.")
    ] = EngineName.torch,
    compile_net: Annotated[bool, typer.Option("--compile", help="Compile the network first (many cases).")] = False,
    overlap: Annotated[
        int | None,
        typer.Option("--overlap", min=0, help="Slices neighbouring slabs share; by default all but one; 0 is fast."),
    ] = None,
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
    workers: Processes = None,
    scheduler: Scheduler = None,
    extrapolate: Annotated[
        bool, typer.Option("--allow-extrapolation", help="Make doses and fields that were not trained, and mark them.")
    ] = False,
    allow_unlike: Annotated[
        bool, typer.Option("--allow-unlike", help="Take inputs that are unlike those of the training, and say so.")
    ] = False,
    error_map: Annotated[
        bool, typer.Option("--error-map", help="Write beside each image how far it may be wrong (x_error.nii.gz).")
    ] = False,
    spread: Annotated[
        bool, typer.Option("--spread", help="Of an ensemble: how far its networks lie apart (x_spread.nii.gz).")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Make what the model's contract refuses, and say so.")
    ] = False,
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="Both, where the scan is DICOM and -o a folder, else NIfTI; bids: a derivative."),
    ] = None,
    enhanced: Annotated[bool, typer.Option("--enhanced", help="DICOM as one file of Enhanced MR.")] = False,
    jpeg_ls: Annotated[bool, typer.Option("--jpeg-ls", help="DICOM compressed without loss.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make the missing image from the ones at hand, on the patient's own grid."""
    from mrsynth.core.jobs import Workers
    from mrsynth.core.text import counted
    from mrsynth.io import read_cohort
    from mrsynth.synthesize import Doses, MissingInputs
    from mrsynth.synthesize import run as stage
    from mrsynth.synthesize.place import Place
    from mrsynth.synthesize.write import Formats
    from mrsynth.volume.predict import Inference

    if (inputs is None) == (cohort is None):
        raise InputError("Give either --input (one or more) or --cohort.")
    formats = Formats(file_format.value if file_format else None, enhanced, jpeg_ls)
    place = Place(
        like,
        units.value,
        device,
        formats,
        allow_unlike,
        anyway,
        tuple(target or ()),
        error_map,
        spread,
        Workers(workers or 1, scheduler),
    )
    gaps = MissingInputs(missing.value, pairs("--impute", impute, "contrast=run folder, e.g. t2=runs/t1-t2"))
    if compile_net and engine is not EngineName.torch:
        raise InputError(f"--compile is torch's; it does not go with --engine {engine.value}.", do="leave one out")
    how = Inference(
        precision=precision.value, compile=compile_net, engine=engine.value, overlap=overlap, memory_gib=memory_gib
    )
    options: dict[str, Any] = {"place": place, "missing": gaps, "inference": how}
    if extrapolate or any(value is not None for value in (dose, b0, seed)):
        options["doses"] = Doses.parse(dose or "", b0, seed or 0, extrapolate)
    if cohort is not None:
        made, failed = stage.synthesize_cohort(model, read_cohort(cohort), out, split=split, **options)
        print(f"{counted(len(made), 'synthetic image')} in {out}, {len(failed)} failed.")
        print_failed(failed)
    else:
        only_with("--cohort", {"--split": split, "--workers": workers, "--scheduler": scheduler})
        files = pairs("--input", inputs, "contrast=file, e.g. t1=scan.nii.gz")
        print(f"Synthetic image: {stage.synthesize_files(model, files, out, **options)}")
