"""anycontrast, judged on patients whom its network never saw.

`python -m benchmarks.cross_validated PREPARED FOLDS -o OUT`; FOLDS is what `mrsynth train anycontrast --folds K` left.
Each fold's test patients are predicted by that fold's network: every task in TASKS beside the identity, the polynomial
at which the network begins, and the rivals of `metrics.rivals`, all fitted on the fold's training patients; with
--all-tasks every subset and target beside the polynomial and the best of the inputs, in the middle SLAB slices of the
brain. `--beside NAME=FOLDS` adds other networks trained on the same folds (a specialist, a plain U-Net).

OUT/cases.json holds every number and goes on where it stopped; OUT/calibration.json what `ship_model` takes; the tables
are printed. Region brain, 3-D; the truth's 0.5th to 99.5th percentile in the brain is [0, 1]; after the best linear
fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.files import write_json
from mrsynth.core.image import edges_mm
from mrsynth.io import PreparedCohort
from mrsynth.metrics.measure import measure_regions
from mrsynth.metrics.pair import PairInfo, checked_pair
from mrsynth.metrics.presets import PRESETS
from mrsynth.metrics.regions import bounding_box
from mrsynth.metrics.rivals import RivalCase, RivalFit, Rivals
from mrsynth.metrics.voxel_table import PointLoss
from mrsynth.model import Contract, load_contract, load_weights
from mrsynth.nets import build_net
from mrsynth.nets.anycontrast import MIDDLE, STRETCH, AnyContrast, polynomial
from mrsynth.nets.protocol import Network
from mrsynth.synthesize.impute import network_inputs
from mrsynth.volume.predict import Inference, predict_volume

TASKS = (("t1", "t2"), ("t2", "t1"), ("t1", "flair"), ("t1+t2", "flair"), ("t1+t2+flair", "t1ce"))
"""Inputs and target of the tasks that stand beside all rivals."""

TRUST = (0.5, 0.75)
"""Shares of what the network adds to its polynomial that are judged beside all of it."""

SLAB = 48
"""Slices in which tasks are judged that are not in TASKS."""

MARGIN = 8
"""Voxels that are left about the brain."""

COVERAGE = 0.9
"""Of the intervals."""

RATIOS = np.geomspace(1e-3, 1e3, 601)
"""Edges of the histogram of error over scale, from which any patients' quantile is pooled."""

LABELS_ML = 5.0
"""From this much enhancing tissue on a patient enhances much."""

ENHANCING = (3, 4)
"""Labels of enhancing tumour (io/labels.py)."""


def main() -> None:
    """Judge what is not judged yet, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("folds", type=Path)
    parser.add_argument("--out", "-o", type=Path, required=True)
    parser.add_argument("--beside", action="append", default=[], help="name=folder of folds")
    parser.add_argument("--all-tasks", action="store_true")
    parser.add_argument("--bf16", action="store_true", help="predict in bfloat16: 2.5e-5 of the range off, in the mean")
    asked = parser.parse_args()
    prepared, path = PreparedCohort.open(asked.prepared), asked.out / "cases.json"
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    beside = {name: Path(folder) for name, folder in (text.split("=", 1) for text in asked.beside)}
    for run in sorted(asked.folds.glob("fold-*")):
        fold = Fold(prepared, run, {name: folder / run.name for name, folder in beside.items()}, asked.bf16)
        for task in every_task(fold.contract.contrasts) if asked.all_tasks else TASKS:
            for case in fold.cases(task):
                key = f"{case} {'-'.join(task)}"
                lacking = [name for name in fold.predictors(task) if name not in known.get(key, {}).get("scores", {})]
                if lacking:
                    known[key] = fold.judge(case, task, lacking, known.get(key))
                    write_json(path, known)
    write_json(asked.out / "calibration.json", calibration(known))
    print("\n".join(tables(known)))


def every_task(contrasts: list[str]) -> list[tuple[str, str]]:
    """Return every subset of contrasts with every other one."""
    return [
        ("+".join(inputs), target)
        for target in contrasts
        for n in range(1, len(contrasts))
        for inputs in combinations([name for name in contrasts if name != target], n)
    ]


class Both(Network):
    """The network, which keeps the scale of the error of each batch: for all of its copies, as prediction makes one."""

    first_weights = None
    scales: ClassVar[list[Tensor]] = []

    def __init__(self, net: AnyContrast) -> None:
        super().__init__()
        self.net = net
        self.scales.clear()
        self.inputs, self.stride, self.smallest = net.inputs, net.stride, net.smallest

    def forward(self, x: Tensor) -> Tensor:
        """Return the image."""
        image, scale = cast("AnyContrast", self.net).image_and_error(x)
        if not scale.is_meta:  # the memory is planned on shapes alone
            self.scales.append(scale)
        return image


class Fold:
    """A fold's network with its rivals, and the patients that it never saw."""

    def __init__(self, prepared: PreparedCohort, run: Path, beside: Mapping[str, Path], bf16: bool = False) -> None:
        self.prepared, self.contract, self.bf16 = prepared, load_contract(run), bf16
        net = load_weights(run, self.contract, build_net(self.contract.net, **self.contract.net_settings))
        assert isinstance(net, AnyContrast)
        self.net = net
        self.beside = {name: load_contract(folder) for name, folder in beside.items()}
        self.nets = {
            name: load_weights(beside[name], c, build_net(c.net, **c.net_settings)) for name, c in self.beside.items()
        }
        self.rivals: dict[tuple[str, str], Rivals] = {}

    def cases(self, task: tuple[str, str]) -> list[str]:
        """Return the unseen cases that have what a task needs."""
        return [c for c in self._of("test") if not self._lacks(c, task)]

    def predictors(self, task: tuple[str, str]) -> list[str]:
        """Return who is judged in a task."""
        others = [n for n, c in self.beside.items() if ("+".join(c.inputs), c.target) == task or c.contrasts]
        rivals = ["table_mean", "table_loss", "filter"] if task in TASKS else []
        return ["model", *map(trusted, TRUST), "mix", "identity", *rivals, *others]

    def judge(self, case: str, task: tuple[str, str], names: list[str], before: Any) -> dict[str, Any]:
        """Return what is known of a case in a task, with the scores of some predictors."""
        inputs, target = task[0].split("+"), task[1]
        box = self._box(case, None if task in TASKS else SLAB)
        images = {name: np.ascontiguousarray(self.prepared.array(case, name)[box]) for name in {*inputs, target}}
        brain, truth = self.prepared.array(case, "brain")[box] > 0, images.pop(target)
        found: dict[str, Any] = before or {"patient": self.prepared.rows[case].patient, "scores": {}}
        made = dict(self._made(case, task, names, images, brain))
        scale = made.pop("scale", None)
        for name, image in made.items():
            found["scores"][name] = scores(image, truth, brain)
        if "identity" in names and "identity" not in made:
            each = [scores(image, truth, brain) for image in images.values()]
            found["scores"]["identity"] = max(each, key=lambda one: one["psnr"])
        if scale is not None:
            lesion = self.prepared.array(case, "lesion")[box] > 0 if self._has_lesion(case) else None
            found["ratios"] = ratios(made["model"], truth, scale, brain, lesion)
        if target == "t1ce" and "t1" in inputs:
            for name, image in made.items():
                found["scores"][name] |= self._enhancement(case, image, truth, images["t1"], brain, box)
        return found

    def _made(
        self, case: str, task: tuple[str, str], names: list[str], images: dict[str, np.ndarray], brain: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the predictors' images."""
        contract = self.contract.for_target(task[1])
        shares = {"mix": 0.0, **{trusted(share): share for share in TRUST}, "model": 1.0}
        if set(names) & shares.keys():
            model, scale = self._both(contract, images)
            mix = polynomial_of(self.net, contract, images, task[1])
            yield from ((name, mix + share * (model - mix)) for name, share in shares.items() if name in names)
            yield "scale", scale
        if task in TASKS and set(names) & {"identity", "table_mean", "table_loss", "filter"}:
            made, _ = self._rivals(task).images(RivalCase(images, brain, self._edges(case)))
            yield from ((name, made[name]) for name in names if name in made)
        for name, other in self.beside.items():
            if name in names:
                yield name, self._run(self.nets[name], other.for_target(task[1]), images)

    def _both(self, contract: Contract, images: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the network's image, and the scale of its error from the same pass."""
        both = Both(self.net)
        image = self._run(both, contract, images)
        shape = (image.shape[2], image.shape[0], image.shape[1])  # slices are filled up to the stride at their end
        scale = torch.cat(both.scales)[:, 0, : shape[1], : shape[2]].reshape(shape).permute(1, 2, 0)
        return image, scale.float().numpy()

    def _run(self, net: nn.Module | Callable[[Tensor], Tensor], contract: Contract, images: Any) -> np.ndarray:
        how = Inference(neighbours=contract.neighbours, patch=contract.patch, planes=contract.predict)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return predict_volume(net, network_inputs(contract, images), how)

    def _rivals(self, task: tuple[str, str]) -> Rivals:
        """Return the rivals of a task, fitted on the fold's training cases."""
        if task not in self.rivals:
            inputs, target = task[0].split("+"), task[1]
            cases = [case for case in self._of("train") if not self._lacks(case, task)]
            fit = RivalFit(target, len(cases), PointLoss(kind="absolute"))
            for case in cases:
                arrays = {name: self.prepared.array(case, name) for name in [*inputs, target, "brain"]}
                brain, truth = arrays.pop("brain") > 0, arrays.pop(target)
                fit.update(RivalCase(arrays, brain, self._edges(case), truth))
            self.rivals[task] = fit.finish()
        return self.rivals[task]

    def _enhancement(
        self, case: str, image: np.ndarray, truth: np.ndarray, t1: np.ndarray, brain: np.ndarray, box: Any
    ) -> dict[str, float]:
        """Return how well what enhances is made: PSNR there, and whether the predicted enhancement finds the label."""
        if not self._has_lesion(case):
            return {}
        label = np.isin(self.prepared.array(case, "lesion")[box], ENHANCING) & brain
        ml = float(label.sum()) * float(np.prod(self._edges(case))) / 1000
        if not label.any():
            return {"enhancing_ml": 0.0}
        low, high = np.percentile(truth[brain], (0.5, 99.5))
        mse = float(np.mean((image - truth)[label] ** 2)) / (high - low) ** 2
        return {
            "enhancing_ml": ml,
            "enhancing_psnr": -10 * float(np.log10(mse)),
            "auc": auc((image - t1)[brain], label[brain]),
        }

    def _of(self, split: str) -> list[str]:
        patients = set(self.contract.training.patients[split])
        return [row.case for row in self.prepared.rows.values() if row.patient in patients]

    def _lacks(self, case: str, task: tuple[str, str]) -> list[str]:
        return self.prepared.record(case).lacking([*task[0].split("+"), task[1]])

    def _has_lesion(self, case: str) -> bool:
        return "lesion" in self.prepared.record(case).images

    def _box(self, case: str, slices: int | None) -> tuple[slice, ...]:
        """Return the box about the brain, of its middle slices where so many are wanted."""
        x, y, z = bounding_box(self.prepared.array(case, "brain") > 0, MARGIN) or (slice(None),) * 3
        if slices is not None and z.stop - z.start > slices:
            start = (z.start + z.stop - slices) // 2
            z = slice(start, start + slices)
        return x, y, z

    def _edges(self, case: str) -> tuple[float, float, float]:
        return edges_mm(self.prepared.record(case).grid.affine)


def scores(image: np.ndarray, truth: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Return PSNR and SSIM of an image in the brain after the best linear fit."""
    low, high = np.percentile(truth[brain], (0.5, 99.5))
    prediction, reference = (
        (np.where(brain, x, low) - low).astype(np.float32) / np.float32(high - low) for x in (image, truth)
    )
    pair = checked_pair(prediction, reference, {"brain": brain}, 1.0, PairInfo())
    records = measure_regions(pair, PRESETS["default"])
    return {
        r.metric: r.value for r in records if r.fit == "linear" and r.metric in ("psnr", "ssim") and r.value is not None
    }


def polynomial_of(net: AnyContrast, contract: Contract, images: Mapping[str, np.ndarray], target: str) -> np.ndarray:
    """Return the polynomial at which a network begins, of images (x, y, z), in the recipe's range."""
    names = contract.contrasts
    every = np.stack([images.get(name, np.zeros_like(next(iter(images.values())))) for name in names])
    there = torch.from_numpy(every.reshape(1, len(names), -1))
    values = (there - MIDDLE) * STRETCH * (there > 0)
    subset = sum(1 << number for number, name in enumerate(names) if name in images)
    found = (net.mix[subset, names.index(target)][:, None] * polynomial(values)[0]).sum(0)
    inside = there[0].amax(0) > 0
    return ((found / STRETCH + MIDDLE) * inside).reshape(every.shape[1:]).numpy()


def ratios(
    image: np.ndarray, truth: np.ndarray, scale: np.ndarray, brain: np.ndarray, lesion: np.ndarray | None
) -> dict[str, list[int]]:
    """Return the histogram of error over scale, in the brain and in lesions."""
    ratio = np.abs(image - truth) / np.maximum(scale, 1e-6)
    places = {"brain": brain} | ({} if lesion is None else {"lesion": lesion & brain})
    counted = {name: np.histogram(np.clip(ratio[where], *RATIOS[[0, -1]]), RATIOS) for name, where in places.items()}
    return {name: counts.tolist() for name, (counts, _) in counted.items()}


def trusted(share: float) -> str:
    """Return the name of the network of which a share is taken."""
    return f"{share:g} of the model"


def chosen(ones: list[Any]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield for each patient's examination the share that the others' mean PSNR chooses, with its scores."""
    names = ["mix", *map(trusted, TRUST), "model"]
    for one in ones:
        others = [other["scores"] for other in ones if other["patient"] != one["patient"]] or [one["scores"]]
        best = max(names, key=lambda name: float(np.mean([scores[name]["psnr"] for scores in others])))
        yield best, one["scores"][best]


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a positive voxel scores above another."""
    from scipy.stats import rankdata

    ranks, n = rankdata(score), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def quantile(histograms: list[np.ndarray], share: float) -> float:
    """Return a quantile of the ratio, each patient counting alike."""
    pooled = np.sum([h / max(h.sum(), 1) for h in histograms], axis=0)
    return float(np.interp(share * pooled.sum(), np.cumsum(pooled), RATIOS[1:]))


def covered(histogram: np.ndarray, factor: float) -> float:
    """Return the share of a histogram's voxels whose error is within factor · scale."""
    return float(np.interp(factor, RATIOS[1:], np.cumsum(histogram) / max(histogram.sum(), 1)))


def groups(known: Mapping[str, Any]) -> dict[tuple[str, int], dict[str, list[Any]]]:
    """Return what is known by target and number of inputs, then by patient."""
    found: dict[tuple[str, int], dict[str, list[Any]]] = {}
    for key, one in known.items():
        inputs, target = key.rsplit(" ", 1)[1].rsplit("-", 1)
        found.setdefault((target, inputs.count("+") + 1), {}).setdefault(one["patient"], []).append(one)
    return found


def calibration(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calibration of the error (`io.contract.Calibration`): split conformal over the unseen patients."""
    factor: dict[str, dict[int, float]] = {}
    for (target, inputs), patients in groups(known).items():
        histograms = [np.sum([one["ratios"]["brain"] for one in ones], axis=0) for ones in patients.values()]
        factor.setdefault(target, {})[inputs] = quantile(histograms, COVERAGE)
    listed = {target: [found.get(n, max(found.values())) for n in range(1, 4)] for target, found in factor.items()}
    return {"coverage": COVERAGE, "patients": len({one["patient"] for one in known.values()}), "factor": listed}


def tables(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables in Markdown: scores, coverage, enhancement."""
    by_task: dict[str, list[Any]] = {}
    for key, one in known.items():
        by_task.setdefault(key.rsplit(" ", 1)[1], []).append(one)
    yield from ("| task | n | predictor | PSNR, dB | SSIM |", "|---|---|---|---|---|")
    for task, ones in by_task.items():
        rows = {name: [one["scores"][name] for one in ones if name in one["scores"]] for name in ones[0]["scores"]}
        for name, found in {**rows, "chosen by the others": [scores for _, scores in chosen(ones)]}.items():
            psnr, ssim = (np.array([f[metric] for f in found]) for metric in ("psnr", "ssim"))
            spread = f"{psnr.mean():.2f} ± {psnr.std(ddof=1):.2f}" if len(found) > 1 else f"{psnr.mean():.2f}"
            yield f"| {task} | {len(found)} | {name} | {spread} | {ssim.mean():.3f} |"
    yield from ("", "| target | inputs | n | coverage in the brain | in lesions |", "|---|---|---|---|---|")
    for (target, inputs), patients in groups(known).items():
        held = [(name, [h for other, h in patients.items() if other != name]) for name in patients]
        inside: dict[str, list[float]] = {"brain": [], "lesion": []}
        for name, others in held if len(held) > 1 else []:
            rest = [np.sum([one["ratios"]["brain"] for one in ones], axis=0) for ones in others]
            factor = quantile(rest, COVERAGE)
            for place, values in inside.items():
                mine = [np.array(one["ratios"][place]) for one in patients[name] if place in one["ratios"]]
                values += [covered(np.sum(mine, axis=0), factor)] if mine and np.sum(mine) else []
        words = [f"{100 * np.mean(values):.1f} %" if values else "–" for values in inside.values()]
        yield f"| {target} | {inputs} | {len(patients)} | {words[0]} | {words[1]} |"
    yield from ("", "| case and task | enhancing, ml | predictor | PSNR there, dB | AUC |", "|---|---|---|---|---|")
    for key, one in known.items():
        for name, found in one["scores"].items():
            if found.get("enhancing_ml", 0) > LABELS_ML:
                numbers = f"{found['enhancing_psnr']:.2f} | {found['auc']:.3f}"
                yield f"| {key} | {found['enhancing_ml']:.1f} | {name} | {numbers} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
