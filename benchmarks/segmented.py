"""Whether a synthetic FLAIR helps to find lesions, judged on patients whom neither network saw.

`python -m benchmarks.segmented PREPARED FOLDS -o OUT --phantoms PREPARED`; FOLDS is what `mrsynth train anycontrast
--folds K` left, PHANTOMS a cohort of phantoms, prepared by the same recipe. For each fold two small U-Nets of slices
learn to find lesions in the fold's training patients and in the phantoms: one in T1, T2 and FLAIR, one in T1 and T2.
The first then gets the unseen patients' real FLAIR, the one that the fold's network makes of T1 and T2, and the one at
which that network begins.

OUT/cases.json holds every Dice coefficient and goes on where it stopped; the table is printed. Region: the whole lesion
inside the brain.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.cross_validated import Fold
from mrsynth.core.files import write_json
from mrsynth.core.seeds import derive_seed
from mrsynth.io import PreparedCohort
from mrsynth.nets import build_net
from mrsynth.recipes.sections import AugmentSettings
from mrsynth.train.augment import Augmentation
from mrsynth.volume.predict import Inference, predict_volume

STEPS, BATCH, CROP, RATE = 600, 8, (128, 160), 2e-3

WIDTHS = (16, 32, 64, 128)

CONTRASTS = ("t1", "t2", "flair")

SHARE = 0.5
"""Of what the network adds to its start."""

FOUND = {
    "real": "T1, T2 and the real FLAIR",
    "model": "T1, T2 and the synthetic FLAIR",
    "start": "T1, T2 and the FLAIR at which the network begins",
    "without": "T1 and T2 alone",
}

AUGMENT = AugmentSettings(gain=0.05, gamma=0.1, bias=0.05, noise=0.01, resolution=1.5, rotate_deg=10, zoom=0.1)


def main() -> None:
    """Judge the folds that are not judged yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("folds", type=Path)
    parser.add_argument("--phantoms", type=Path)
    parser.add_argument("--out", "-o", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    prepared, path = PreparedCohort.open(asked.prepared), asked.out / "cases.json"
    phantoms = [PreparedCohort.open(asked.phantoms)] if asked.phantoms else []
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for run in sorted(asked.folds.glob("fold-*")):
        fold = Fold(prepared, run, {}, bf16=True)
        unseen = labelled(prepared, fold.cases(("t1+t2", "flair")))
        if set(unseen) <= set(known):
            continue
        seen = {row.case for row in prepared.rows.values()} - set(fold.cases(("t1", "t2")))
        cohorts = [prepared, *phantoms]
        cases = [(p, case) for p in cohorts for case in labelled(p, seen if p is prepared else p.cases())]
        nets = {names: segmenter(cases, names, asked.steps) for names in (CONTRASTS, CONTRASTS[:2])}
        for case in unseen:
            known[case] = {"patient": prepared.rows[case].patient, "dice": judged(fold, case, nets)}
            write_json(path, known)
    print("\n".join(table(known)))


def labelled(prepared: PreparedCohort, cases: Any) -> list[str]:
    """Return the cases that have a lesion in the brain, and every contrast."""
    return [
        case
        for case in sorted(cases)
        if not prepared.record(case).lacking([*CONTRASTS, "lesion"])
        and (prepared.array(case, "lesion")[prepared.array(case, "brain") > 0] > 0).any()
    ]


def segmenter(cases: Sequence[tuple[PreparedCohort, str]], names: Sequence[str], steps: int) -> nn.Module:
    """Return a network that was trained to find lesions, (b, c, u, v) → logits (b, 1, u, v)."""
    torch.manual_seed(0)
    net = build_net(
        "unet2d", inputs=len(names), widths=WIDTHS, dropout=(0.0,) * len(WIDTHS), norm="batch", head="linear"
    )
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    change = Augmentation(AUGMENT, list(names), "lesion", 1, 0.0, 1.0)
    for step, (images, lesion) in enumerate(batches(cases, names, steps)):
        images, lesion = change(images, lesion, derive_seed(0, "change", step))
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(images).float()
        lesion = (lesion > 0.5).float()
        value = functional.binary_cross_entropy_with_logits(logits, lesion) + 1 - overlap(logits.sigmoid(), lesion)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


def batches(
    cases: Sequence[tuple[PreparedCohort, str]], names: Sequence[str], steps: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and lesions of random slices, every other one with a lesion, cropped and mirrored at random."""
    rng = np.random.default_rng(0)
    held = [np.stack([p.array(case, name).astype(np.float16) for name in (*names, "lesion")]) for p, case in cases]
    with_brain = [np.flatnonzero((volume[0] > 0).any((0, 1))) for volume in held]
    with_lesion = [np.flatnonzero(volume[-1].any((0, 1))) for volume in held]
    for _ in range(steps):
        block = []
        for number in range(BATCH):
            k = int(rng.integers(len(held)))
            z = rng.choice((with_lesion if number % 2 else with_brain)[k])
            corner = [int(rng.integers(max(0, n - size) + 1)) for n, size in zip(held[k].shape[1:3], CROP, strict=True)]
            (u, v), (du, dv) = corner, CROP
            piece = held[k][:, u : u + du, v : v + dv, z]
            block.append(piece[:, ::-1] if rng.random() < 0.5 else piece)
        batch = torch.from_numpy(np.stack(block).astype(np.float32))
        yield batch[:, :-1], (batch[:, -1:] > 0).float()


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Return the soft Dice coefficient of a batch."""
    return (2 * (one * other).sum() + 1) / (one.sum() + other.sum() + 1)


def judged(fold: Fold, case: str, nets: dict[tuple[str, ...], nn.Module]) -> dict[str, float]:
    """Return the Dice coefficient of a case's lesion for each way of finding it."""
    prepared = fold.prepared
    arrays = {name: prepared.array(case, name) for name in (*CONTRASTS, "brain", "lesion")}
    brain, lesion = arrays.pop("brain") > 0, arrays.pop("lesion") > 0
    flair = arrays.pop("flair")
    made = fold.shares("flair", arrays, (SHARE, 0.0))
    flairs = dict(zip(("model", "start"), (image for image, _ in made), strict=True)) | {"real": flair}
    found = {name: [*arrays.values(), image] for name, image in flairs.items()} | {"without": [*arrays.values()]}
    dice = {}
    for name, images in found.items():
        logits = predict_volume(nets[CONTRASTS[: len(images)]], images, Inference())
        where = (logits > 0) & brain
        dice[name] = 2 * float((where & lesion).sum()) / float(where.sum() + (lesion & brain).sum())
    return dice


def table(known: dict[str, Any]) -> Iterator[str]:
    """Yield the table in Markdown: means over examinations."""
    yield from ("| found in | n | Dice, mean ± SD | median |", "|---|---|---|---|")
    for name, words in FOUND.items():
        values = np.array([one["dice"][name] for one in known.values()])
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        yield f"| {words} | {len(values)} | {values.mean():.3f}{spread} | {np.median(values):.3f} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
