"""Every recipe's training at full width on one GPU, and a head of 1 mm beside MONAI's sliding window: 8 minutes.

For each recipe: steps a second with mrsynth's data path beside the bare network (forward, backward, optimiser, in the
recipe's precision), the share of the time that training waits for data, peak memory, and bfloat16 beside float32 in
time and in validation loss after as many steps on the same data. The images are random: speed does not depend on them,
and a validation loss says only whether bfloat16 changes it. Where there is no GPU, the rows say "not measured".
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.full_head import monai
from benchmarks.machine import TOY, environment, medians, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.io.run import Run
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.train.fit import fit
from mrsynth.train.history import read_history
from mrsynth.train.loader import Batch, Loader
from mrsynth.train.method import method_of
from mrsynth.train.pretrained import run_features
from mrsynth.train.stages import build_stages
from mrsynth.volume.predict import Inference, predict_volume

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SECONDS, EPOCHS, MOST_STEPS, FEWEST_STEPS = sized((12.0, 3, 400, 10), (0.0, 2, 5, 5))
"""How long the bare network may take for the steps of one epoch; epochs, of which the first is not timed; limits of the
steps (five of a critic are one of a generator)."""

BUDGET_S = 480.0
"""Recipes that would begin later than two thirds of it are not measured."""

HEAD, WIDTHS, BLOCKS = sized(((192, 256, 192), [64, 128, 256], 4), ((16, 16, 16), [4, 4, 8], 1))


@dataclass(frozen=True)
class Subject:
    """A recipe to train: its changes at full and at toy size, and the shape of its prepared cases at both."""

    recipe: str
    shape: tuple[int, int, int]
    toy: tuple[int, int, int]
    small: tuple[str, ...]
    changes: tuple[str, ...] = ()


SUBJECTS = (
    Subject(
        "osman2022", (224, 224, 100), (32, 32, 4), ("net.settings.widths=[4, 8]", "net.settings.dropout=[0.1, 0.1]")
    ),
    Subject("chen2022", (192, 256, 160), (24, 24, 9), ("net.settings.widths=[4, 4, 8]", "net.settings.blocks=1")),
    Subject(
        "chen2022/ours2d", (192, 256, 160), (24, 24, 9), ("net.settings.widths=[4, 4, 8]", "net.settings.blocks=1")
    ),
    Subject(
        "pinetz2023",
        (176, 216, 176),
        (24, 24, 24),
        ("net.settings.width=6", "method.critic.settings.width=6", "samples.patch.size=[16, 16, 16]"),
    ),
    Subject(
        "pasumarthi2021",
        (256, 256, 128),
        (56, 56, 8),
        (
            "net.settings.width=4",
            "method.critic.settings.widths=[4, 8]",
            "samples.planes=[z]",
            "loss.perceptual.features.training={steps: 2, batch_size: 2, crop: 32}",
        ),
        ("samples.planes=[z]", "loss.perceptual.features.training.steps=20"),
    ),
    Subject(
        "li2022",
        (448, 448, 40),
        (64, 64, 4),
        ("net.settings.depth=18", "loss.contextual.features.training={steps: 2, batch_size: 2, crop: 32}"),
        ("loss.contextual.features.training.steps=20",),
    ),
)
MEASURED = sized(SUBJECTS, SUBJECTS[::2])


def recipe_of(subject: Subject, steps: int, precision: str) -> Recipe:
    """Return the recipe for an epoch of so many steps.

    Args:
        subject: what is trained.
        steps: batches an epoch.
        precision: as Lightning names it.
    """
    changes = [*subject.changes, *sized((), (*subject.small, "train.batch_size=2", "train.workers=0"))]
    plain = load_recipe(subject.recipe, changes)
    samples = steps * plain.train.batch_size
    counted = "samples.patch.per_epoch" if plain.samples.patch else "train.samples_per_epoch"
    more = [f"{counted}={samples}", f"train.epochs={EPOCHS}", f"train.precision={precision}"]
    more += [f"train.stages.{stage}=null" for stage in plain.train.stages]
    return load_recipe(subject.recipe, [*changes, *more, "train.patience=1000"])


def cohort_of(subject: Subject, recipe: Recipe, folder: Path) -> PreparedCohort:
    """Write random cases as `mrsynth prepare` would: one to train on, one to validate.

    Args:
        subject: whose shapes they have.
        recipe: whose contrasts they have.
        folder: where.
    """
    shape = sized(subject.shape, subject.toy)
    names = recipe.contrasts
    cohort = PreparedCohort.create(folder, recipe="bench", steps=[], contrasts=names)
    draw = np.random.default_rng(0)
    for case, split, depth in (("a", "train", shape[2]), ("b", "val", sized(max(8, shape[2] // 8), shape[2]))):
        size = (*shape[:2], depth if recipe.samples.patch is None else shape[2])
        images = {n: Image(draw.random(size, dtype=np.float32), np.eye(4), n) for n in names}
        brain = {"brain": Image(np.ones(size, np.uint8), np.eye(4), "brain")}
        cohort.write_case(
            CaseRow(case, case, split, {}, 3.0, 0.2), Case(images, brain, {"dose": 0.2, "b0_tesla": 3.0}), [], case
        )
    cohort.finish(["a", "b"])
    return PreparedCohort.open(folder)


class Waited(Loader):
    """A loader that adds up how long its reader waited."""

    seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            Waited.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch


def bare_step_s(recipe: Recipe, prepared: PreparedCohort) -> float:
    """Return the seconds of forward, backward and optimiser of the network alone, on one batch that stays there.

    Args:
        recipe: whose network and batch.
        prepared: its cohort.
    """
    train_set, _ = method_of(recipe).samples(prepared)
    batch = next(iter(Loader(train_set, recipe.train.batch_size, None, 0)))
    net = method_of(recipe).drawn(recipe.net, "weights").to(DEVICE).train()
    inputs = [part.to(DEVICE) for part in seen(recipe, batch)]
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.train.learning_rate)
    half = recipe.train.precision == "bf16-mixed"
    taken = []
    for _ in range(sized(12, 2)):
        start = time.perf_counter()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
            out = net(*inputs)
        heads = [out] if isinstance(out, Tensor) else list(out)
        optimiser.zero_grad()
        torch.stack([head.float().square().mean() for head in heads]).sum().backward()
        optimiser.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return medians([taken[1:]])[0]


def seen(recipe: Recipe, batch: Batch) -> tuple[Tensor, ...]:
    """Return what the recipe's network takes of a batch.

    Args:
        recipe: the recipe.
        batch: inputs, target and, of a network with doses, condition.
    """
    if len(batch) == 2:
        return (batch[0],)
    inputs, target, condition = batch
    return torch.randn_like(target), inputs[:, :1], inputs[:, 1:], condition


def trained(recipe: Recipe, prepared: PreparedCohort, folder: Path) -> dict[str, float]:
    """Train and return steps a second, share of waiting, peak memory in GiB and validation loss.

    Args:
        recipe: the recipe.
        prepared: its cohort.
        folder: of the run.
    """
    method = method_of(recipe)
    samples = method.samples(prepared)
    features = run_features(recipe, prepared, Run(folder))
    module: Any = method.module(features)
    stages = build_stages(recipe.train, recipe.loss, recipe.task.inputs, features)
    Waited.seconds = 0.0
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    with patch("mrsynth.train.fit.Loader", Waited):
        fit(module, samples, recipe.train, folder, stages=stages)
    whole = time.perf_counter() - start
    epochs = read_history(Run(folder).history)
    steps = len(Loader(samples[0], recipe.train.batch_size, None, 0))
    if recipe.train.samples_per_epoch:
        steps = -(-recipe.train.samples_per_epoch // recipe.train.batch_size)
    peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else float("nan")
    rate = steps / medians([[epoch["seconds"] for epoch in epochs[1:]]])[0]
    return {"rate": rate, "waiting": Waited.seconds / whole, "peak": peak, "loss": epochs[-1]["val_loss"]}


def recipe_rows(subject: Subject, place: dict[str, Any]) -> None:
    """Print the rows of a recipe.

    Args:
        subject: what is trained.
        place: what `environment` found.
    """
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepared = cohort_of(subject, recipe_of(subject, FEWEST_STEPS, "32-true"), folder / "prepared")
        for precision in ("32-true", "bf16-mixed"):
            step = bare_step_s(recipe_of(subject, FEWEST_STEPS, precision), prepared)
            steps = max(FEWEST_STEPS, min(MOST_STEPS, int(SECONDS / step)))
            recipe = recipe_of(subject, steps, precision)
            found[precision] = {"bare": 1 / step, **trained(recipe, prepared, folder / precision)}
    full, half = found["32-true"], found["bf16-mixed"]
    name = subject.recipe
    row("gpu", f"{name}, float32: bare network", full["bare"], "steps/s", **place)
    row("gpu", f"{name}, float32: training", full["rate"], "steps/s", **place)
    row("gpu", f"{name}, bfloat16: bare network", half["bare"], "steps/s", **place)
    row("gpu", f"{name}, bfloat16: training", half["rate"], "steps/s", **place)
    row("gpu", f"{name}: bfloat16 / float32, validation loss", half["loss"] / full["loss"], "ratio", "≤ 1.05", **place)
    row("gpu", f"{name}, bfloat16: part of the time spent waiting for data", half["waiting"], "", "≤ 0.1", **place)
    for precision, one in (("float32", full), ("bfloat16", half)):
        row("gpu", f"{name}, {precision}: peak memory", one["peak"] if DEVICE == "cuda" else None, "GiB", **place)


def head_rows(place: dict[str, Any]) -> None:
    """Print how long a head of 1 mm takes through chen2022's network on cubes, ours and MONAI's way.

    Args:
        place: what `environment` found.
    """
    generator = torch.Generator().manual_seed(0)
    net: nn.Module = build_net("hrfcn", generator=generator, mode="cube", widths=WIDTHS, blocks=BLOCKS).eval()
    inputs = [np.random.default_rng(n).random(HEAD, dtype=np.float32) for n in range(3)]
    size = "×".join(map(str, HEAD))
    seconds = timed(lambda: predict_volume(net, inputs, Inference(patch=[64] * 3), DEVICE))
    row("gpu", f"a head of {size} through hrfcn (cube, full width): mrsynth", seconds, "s", **place)
    there = None
    if find_spec("monai"):
        there = timed(monai(net.to(DEVICE), inputs, DEVICE))
    row("gpu", "… MONAI's sliding window (96³, overlap 0.25)", there, "s", **place)


def timed(run: Any) -> float:
    """Return the seconds of the second call.

    Args:
        run: what is called, twice.
    """
    run()
    start = time.perf_counter()
    run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    place = environment("torch", "lightning", *(["monai"] if find_spec("monai") else []))
    if DEVICE == "cuda":
        place["device"] = torch.cuda.get_device_name()
    elif not TOY:
        for subject in MEASURED:
            row("gpu", f"{subject.recipe}: training at full width", None, "steps/s", **place)
        row("gpu", "a head of 1 mm beside MONAI's sliding window", None, "s", **place)
        return
    began = time.perf_counter()
    head_rows(place)
    for subject in MEASURED:
        if time.perf_counter() - began > BUDGET_S * 2 / 3:
            row("gpu", f"{subject.recipe}: training at full width", None, "steps/s", **place)
            continue
        recipe_rows(subject, place)


if __name__ == "__main__":
    main()
