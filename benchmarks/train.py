"""Training of osman2022 with its data path, beside the same network on random tensors in memory, in turns."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import environment, medians, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.core.memory import keep_freed_memory
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.batches import SliceSet
from mrsynth.train.fit import fit
from mrsynth.train.history import read_history
from mrsynth.train.supervised import Supervised

EDGE, SLICES, BATCH, EPOCHS = sized((224, 96, 32, 2), (32, 4, 2, 1))


def prepared(folder: Path) -> PreparedCohort:
    """Write random cases as `mrsynth prepare` would: one to train on, one slice to validate."""
    cohort = PreparedCohort.create(folder, recipe="bench", steps=[], contrasts=["t1", "t2"])
    draw = np.random.default_rng(0)
    for name, split, slices in (("a", "train", SLICES), ("b", "val", 1)):
        shape = (EDGE, EDGE, slices)
        images = {n: Image(draw.random(shape, dtype=np.float32), np.eye(4), n) for n in ("t1", "t2")}
        brain = {"brain": Image(np.ones(shape, np.uint8), np.eye(4), "brain")}
        cohort.write_case(CaseRow(name, name, split, {}), Case(images, brain), [], name)
    cohort.finish(["a", "b"])
    return PreparedCohort.open(folder)


def with_data_path(cohort: PreparedCohort, folder: Path, in_memory_gb: float) -> float:
    """Return the steps a second of mrsynth's training (median epoch, the first left out)."""
    settings = load_recipe("osman2022", [f"train.epochs={EPOCHS + 1}", f"train.batch_size={BATCH}"]).train
    sets = [SliceSet(cohort, s, (["t1"], "t2"), 0.1, in_memory_gb) for s in ("train", "val")]
    module = Supervised(build_net("unet2d"), build_loss({"mse": 1.0}), settings)
    fit(module, (sets[0], sets[1]), settings, folder)
    seconds = [r["seconds"] for r in read_history(folder / "log" / "history.csv")][1:]
    return SLICES / BATCH / medians([seconds])[0]


def bare() -> float:
    """Return the steps a second of the bare network on random tensors that stay in memory."""
    net = build_net("unet2d").to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, y = torch.rand(BATCH, 1, EDGE, EDGE), torch.rand(BATCH, 1, EDGE, EDGE)
    x = x.contiguous(memory_format=torch.channels_last)
    taken = []
    for _ in range((EPOCHS + 1) * SLICES // BATCH):
        start = time.perf_counter()
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(net(x), y).backward()
        optimiser.step()
        taken.append(time.perf_counter() - start)
    return 1 / medians([taken[SLICES // BATCH :]])[0]


def main() -> None:
    place = environment("torch", "lightning")
    with tempfile.TemporaryDirectory() as folder:
        cohort = prepared(Path(folder) / "p")
        bare_default = bare()
        keep_freed_memory()
        rates: dict[str, list[float]] = {"bare": [], "memory": [], "maps": []}
        for turn in range(sized(2, 1)):
            rates["bare"].append(bare())
            rates["memory"].append(with_data_path(cohort, Path(folder) / f"m{turn}", 8))
            rates["maps"].append(with_data_path(cohort, Path(folder) / f"d{turn}", 0))
    rate = dict(zip(rates, medians(list(rates.values())), strict=True))
    row("train", "bare network, random tensors", rate["bare"], "steps/s", **place)
    row("train", "the same, glibc's default allocation", bare_default, "steps/s", **place)
    row("train", "with the data path, slices in memory", rate["memory"], "steps/s", **place)
    row("train", "data path (memory) / bare", rate["memory"] / rate["bare"], "ratio", "≥ 0.9", **place)
    row("train", "data path (from disk) / bare", rate["maps"] / rate["bare"], "ratio", "≥ 0.9", **place)


if __name__ == "__main__":
    main()
