"""Training of chen2022's network on slabs with its data path, beside the bare network, in turns; and memory layouts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import environment, in_turns, medians, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.core.memory import keep_freed_memory
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.sections import LossTerms, PatchSettings, TrainSettings
from mrsynth.train.fit import fit
from mrsynth.train.history import read_history
from mrsynth.train.patches import PatchSet
from mrsynth.train.supervised import Supervised

INPUTS = ["t1", "t2", "adc"]
LOSS: LossTerms = {"mae": 1, "slice_ssim": 1, "enhancement_mae": {"weight": 1, "delta": 0.1}}
SLAB, CUBE, DEPTH = sized(((64, 88, 3), (32, 32, 32), 64), ((16, 16, 3), (16, 16, 16), 8))
BATCH, STEPS, EPOCHS, THREADS = sized((3, 8, 2, (1, 2)), (1, 1, 1, (1,)))


def prepared(folder: Path) -> PreparedCohort:
    """Write random cases as `mrsynth prepare` would: two to train on, one to validate."""
    cohort = PreparedCohort.create(folder, recipe="bench", steps=[], contrasts=[*INPUTS, "t1ce"])
    draw = np.random.default_rng(0)
    shape = (*SLAB[:2], DEPTH)
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        images = {n: Image(draw.random(shape, dtype=np.float32), np.eye(4), n) for n in (*INPUTS, "t1ce")}
        brain = {"brain": Image(np.ones(shape, np.uint8), np.eye(4), "brain")}
        cohort.write_case(CaseRow(name, name, split, {}), Case(images, brain), [], name)
    cohort.finish(["a", "b", "c"])
    return PreparedCohort.open(folder)


def module(settings: TrainSettings, blocks: int, mode: str = "slab") -> Supervised:
    net = build_net("hrfcn", inputs=3, mode=mode, widths=[8, 16, 32], blocks=blocks)
    return Supervised(net, build_loss(LOSS, INPUTS), settings)


def with_data_path(cohort: PreparedCohort, folder: Path, settings: TrainSettings, blocks: int, memory: float) -> float:
    """Return the steps a second of mrsynth's training (median epoch, the first left out)."""
    train, val = (
        PatchSet(
            cohort, split, (INPUTS, "t1ce"), PatchSettings(size=(None, None, 3), per_epoch=n, within="brain"), 0, memory
        )
        for split, n in (("train", STEPS * BATCH), ("val", 1))
    )
    fit(module(settings, blocks), (train, val), settings, folder)
    seconds = [r["seconds"] for r in read_history(folder / "log" / "history.csv")][1:]
    return STEPS / medians([seconds])[0]


def step_of(settings: TrainSettings, blocks: int, mode: str, size: tuple[int, ...]) -> Callable[[], None]:
    """Return a training step on random tensors that stay in memory."""
    trained = module(settings, blocks, mode)
    optimiser = trained.configure_optimizers()
    batch: tuple[Tensor, Tensor] = torch.rand(BATCH, 3, *size), torch.rand(BATCH, 1, *size)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
            value = trained.loss_of(batch)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        optimiser.step()

    return step


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main() -> None:
    place = environment("torch", "lightning")
    keep_freed_memory()
    base = load_recipe("osman2022", [f"train.epochs={EPOCHS + 1}", f"train.batch_size={BATCH}"]).train
    with tempfile.TemporaryDirectory() as folder:
        cohort = prepared(Path(folder) / "p")
        for count in THREADS:
            for blocks in (1, 2):
                with threads(count):
                    bare: list[float] = []
                    ours: dict[float, list[float]] = {8: [], 0: []}
                    for turn in range(sized(2, 1)):
                        bare += in_turns(step_of(base, blocks, "slab", SLAB), repeats=STEPS)[0]
                        for memory, rates in ours.items():
                            run = Path(folder) / f"{count}-{blocks}-{turn}-{memory}"
                            rates.append(with_data_path(cohort, run, base, blocks, memory))
                rate = 1 / medians([bare])[0]
                what = f"hrfcn {blocks} block(s), slabs, {count} thread(s)"
                row("train_boxes", f"{what}: bare network", rate, "steps/s", **place)
                for memory, source in ((8, "memory"), (0, "disk")):
                    speed = medians([ours[memory]])[0]
                    row("train_boxes", f"{what}: data path ({source}) / bare", speed / rate, "ratio", "≥ 0.9", **place)
    layouts(base, place)


def layouts(base: TrainSettings, place: dict[str, Any]) -> None:
    """Steps with channels last beside the default layout, and in bfloat16."""
    last, first = (base.model_copy(update={"channels_last": is_last}) for is_last in (True, False))
    half = last.model_copy(update={"precision": "bf16-mixed"})
    for count in THREADS:
        for mode, size in (("slab", SLAB), ("cube", CUBE)):
            with threads(count):
                steps = [step_of(settings, 1, mode, size) for settings in (first, last, half)]
                usual, faster, fastest = medians(in_turns(*steps))
            what = f"hrfcn 1 block, {mode}s, {count} thread(s)"
            row("train_boxes", f"{what}: channels first / channels last", usual / faster, "ratio", **place)
            row("train_boxes", f"{what}: float32 / bfloat16", faster / fastest, "ratio", **place)


if __name__ == "__main__":
    main()
