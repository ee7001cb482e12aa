"""anycontrast, judged on patients whom its network never saw.

`python -m benchmarks.cross_validated PREPARED FOLDS -o OUT`; FOLDS is what `mrsynth train anycontrast --folds K` left.
Each fold's test patients are predicted by that fold's network: every task in TASKS beside the identity, the start of
the network (`nets.starts`) and the rivals of `metrics.rivals`, all fitted on the fold's training patients; with
--all-tasks every subset and target beside the start and the best of the inputs, in the middle SLAB slices of the brain.
`--beside NAME=FOLDS` adds other networks trained on the same folds (a specialist, a plain U-Net).

OUT/cases.json holds every number and goes on where it stopped; calibration.json, trust.json and refused.json are what
`ship_model` takes; the tables are printed. Region brain, 3-D; the truth's 0.5th to 99.5th percentile in the brain is
[0, 1]; after the best linear fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from mrsynth.nets.anycontrast import AnyContrast
from mrsynth.nets.protocol import Network
from mrsynth.synthesize.impute import network_inputs
from mrsynth.volume.predict import Inference, predict_volume

TASKS = (("t1", "t2"), ("t2", "t1"), ("t1", "flair"), ("t1+t2", "flair"), ("t1+t2+flair", "t1ce"))
"""Inputs and target of the tasks that stand beside all rivals."""

SHARES = {"mix": 0.0, "1/4 of the model": 0.25, "half of the model": 0.5, "3/4 of the model": 0.75, "model": 1.0}
"""Shares of what the network adds to its start, by name."""

SLAB = 32
"""Slices in which tasks are judged that are not in TASKS."""

MARGIN = 8
"""Voxels that are left about the brain."""

CHOSEN = "the share that the others choose"

RIVALS = {
    "mix": "the network's start, a function of the inputs' voxels",
    "identity": "an input itself",
    "table_mean": "a voxel table",
    "table_loss": "a voxel table of the absolute error",
    "filter": "a linear 3×3×3 filter",
}

COVERAGE = 0.9
"""Of the intervals."""

RATIOS = np.geomspace(1e-3, 1e3, 601)
"""Edges of the histogram of error over scale, from which any patients' quantile is pooled."""

LABELS_ML = 5.0
"""From this much enhancing tissue on a patient enhances much."""

LEAD_DB = 0.4
"""So far a voxel table was ahead of the polynomial, at most, in TASKS: where no table was judged the network must be as
far ahead."""

LEAST_AUC = 0.8
"""A predicted T1ce that finds what enhances less well is refused."""

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
    every = every_task(load_contract(run).contrasts)
    for name, content in (
        ("calibration", calibration(known)),
        ("trust", trust(known)),
        ("refused", refused(known, every)),
    ):
        write_json(asked.out / f"{name}.json", content)
    print("\n".join(tables(known)))


def every_task(contrasts: list[str]) -> list[tuple[str, str]]:
    """Return every subset of contrasts with every other one."""
    return [
        ("+".join(inputs), target)
        for target in contrasts
        for n in range(1, len(contrasts))
        for inputs in combinations([name for name in contrasts if name != target], n)
    ]


class Parts(Network):
    """The start of a network, which keeps what the network adds to it (`AnyContrast.parts`): for all
    of its copies, as prediction makes one."""

    first_weights = None
    kept: ClassVar[list[Tensor]] = []

    def __init__(self, net: AnyContrast) -> None:
        super().__init__()
        self.net = net
        self.kept.clear()
        self.inputs, self.stride, self.smallest = net.inputs, net.stride, net.smallest

    def forward(self, x: Tensor) -> Tensor:
        """Return the start."""
        rival, *others, brain = cast("AnyContrast", self.net).parts(x)
        if not x.is_meta:  # the memory is planned on shapes alone
            self.kept.append(torch.cat(others, dim=1) * brain)
        return rival * brain


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
        return [*SHARES, "identity", *rivals, *others]

    def judge(self, case: str, task: tuple[str, str], names: list[str], before: Any) -> dict[str, Any]:
        """Return what is known of a case in a task, with the scores of some predictors."""
        inputs, target = task[0].split("+"), task[1]
        box = self._box(case, None if task in TASKS else SLAB)
        images = {name: np.ascontiguousarray(self.prepared.array(case, name)[box]) for name in {*inputs, target}}
        brain, truth = self.prepared.array(case, "brain")[box] > 0, images.pop(target)
        found: dict[str, Any] = before or {"patient": self.prepared.rows[case].patient, "scores": {}}
        made: dict[str, np.ndarray] = {}
        lesion = self.prepared.array(case, "lesion")[box] > 0 if self._has_lesion(case) else None
        for name, image, scale in self._made(case, task, names, images, brain):
            made[name] = image
            found["scores"][name] = scores(image, truth, brain)
            if scale is not None:
                found.setdefault("ratios", {})[name] = ratios(image, truth, scale, brain, lesion)
        if "identity" in names and "identity" not in made:
            each = [scores(image, truth, brain) for image in images.values()]
            found["scores"]["identity"] = max(each, key=lambda one: one["psnr"])
        if target == "t1ce" and "t1" in inputs:
            for name, image in made.items():
                found["scores"][name] |= self._enhancement(case, image, truth, images["t1"], brain, box)
        return found

    def _made(
        self, case: str, task: tuple[str, str], names: list[str], images: dict[str, np.ndarray], brain: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
        """Yield the predictors' images, and the scale of their error where they know one."""
        if set(names) & SHARES.keys():
            for name, made in zip(SHARES, self.shares(task[1], images, SHARES.values()), strict=True):
                yield name, *made
        if task in TASKS and set(names) & {"identity", "table_mean", "table_loss", "filter"}:
            made, _ = self._rivals(task).images(RivalCase(images, brain, self._edges(case)))
            yield from ((name, made[name], None) for name in names if name in made)
        for name, other in self.beside.items():
            if name in names:
                yield name, self._run(self.nets[name], other.for_target(task[1]), images), None

    def shares(self, target: str, images: Any, shares: Iterable[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, for each share that is taken of what the network adds, the image and the scale of its error; all from
        one pass."""
        contract = self.contract.for_target(target)
        parts = Parts(self.net)
        rival = self._run(parts, contract, images)
        x, y, z = rival.shape  # slices are filled up to the stride at their end
        kept = torch.cat(parts.kept)[:, :, :x, :y].float().numpy()
        added, scale, apart = (kept[:, k].reshape(z, x, y).transpose(1, 2, 0) for k in range(3))
        yield from ((rival + share * added, scale + share * apart) for share in shares)

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


def ratios(
    image: np.ndarray, truth: np.ndarray, scale: np.ndarray, brain: np.ndarray, lesion: np.ndarray | None
) -> dict[str, list[int]]:
    """Return the histogram of error over scale, in the brain and in lesions."""
    ratio = np.abs(image - truth) / np.maximum(scale, 1e-6)
    places = {"brain": brain} | ({} if lesion is None else {"lesion": lesion & brain})
    counted = {name: np.histogram(np.clip(ratio[where], *RATIOS[[0, -1]]), RATIOS) for name, where in places.items()}
    return {name: counts.tolist() for name, (counts, _) in counted.items()}


def best_share(ones: Iterable[Any]) -> str:
    """Return the share with the best mean PSNR over some examinations."""
    listed = [one["scores"] for one in ones]
    return max(SHARES, key=lambda name: float(np.mean([scores[name]["psnr"] for scores in listed])))


def chosen(ones: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield each examination with the share that the other patients' choose."""
    for one in ones:
        others = [other for other in ones if other["patient"] != one["patient"]] or [one]
        yield best_share(others), one


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
    """Return what is known by target and number of inputs, then by patient; `share`: the name of that of its task."""
    found: dict[tuple[str, int], dict[str, list[Any]]] = {}
    for task, ones in by_task(known).items():
        inputs, target = task.rsplit("-", 1)
        share = best_share(ones)
        for one in ones:
            patients = found.setdefault((target, inputs.count("+") + 1), {})
            patients.setdefault(one["patient"], []).append({**one, "share": share})
    return found


def by_task(known: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what is known of each translation."""
    found: dict[str, list[Any]] = {}
    for key, one in known.items():
        found.setdefault(key.rsplit(" ", 1)[1], []).append(one)
    return found


def trust(known: Mapping[str, Any]) -> dict[str, float]:
    """Return for each translation the share of what the network adds that is best over all patients."""
    return {task: SHARES[best_share(ones)] for task, ones in by_task(known).items()}


def refused(known: Mapping[str, Any], every: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the translations in which the network, with the share that the other patients choose, is not ahead of its
    best rival in mean PSNR, those to T1ce that do not find what enhances, and those that nobody judged: each with the
    reason."""
    why, judged = {}, by_task(known)
    for task in map("-".join, every):
        if task not in judged:
            why[task] = "It was not judged on patients whom the network never saw."
            continue
        ones = judged[task]
        own = float(np.mean([one["scores"][name]["psnr"] for name, one in chosen(ones)]))
        means = {
            name: float(np.mean([one["scores"][name]["psnr"] for one in ones]))
            for name in RIVALS
            if name in ones[0]["scores"]
        }
        best = max(means, key=lambda name: means[name])
        lead = 0.0 if "table_mean" in means else LEAD_DB
        if own <= means[best] + lead:
            patients = len({one["patient"] for one in ones})
            why[task] = (
                f"A simple rival is as good{' or may be' if lead else ' or better'}: {RIVALS[best]} reaches "
                f"{means[best]:.2f} dB, the network {own:.2f} dB (cross-validation over {patients} patients)."
            )
        elif task.endswith("-t1ce") and (blind := _blind(ones)):
            why[task] = blind
    return why


def _blind(ones: list[Any]) -> str:
    """Return why images of T1ce are not to be trusted, "" where they find what enhances."""
    scores = [one["scores"][name] for name, one in chosen(ones)]
    found = [score["auc"] for score in scores if score.get("enhancing_ml", 0) > LABELS_ML]
    if not found:
        return "Whether it shows what enhances was not judged."
    if np.mean(found) >= LEAST_AUC:
        return ""
    return (
        f"It does not show what enhances: a voxel that enhances is brighter than one that does not in "
        f"{100 * np.mean(found):.0f} of 100 pairs ({len(found)} patients with more than {LABELS_ML:g} ml)."
    )


def calibration(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the calibration of the error (`io.contract.Calibration`): split conformal over the unseen patients."""
    factor: dict[str, dict[int, float]] = {}
    for (target, inputs), patients in groups(known).items():
        factor.setdefault(target, {})[inputs] = quantile(list(map(pooled, patients.values())), COVERAGE)
    listed = {target: [found.get(n, max(found.values())) for n in range(1, 4)] for target, found in factor.items()}
    return {"coverage": COVERAGE, "patients": len({one["patient"] for one in known.values()}), "factor": listed}


def pooled(ones: Iterable[Any], place: str = "brain") -> np.ndarray:
    """Return the histogram of error over scale of a patient's examinations, empty where there is no such place."""
    listed = [one["ratios"][one["share"]].get(place, []) for one in ones]
    return np.sum([counts for counts in listed if counts] or [np.zeros(len(RATIOS) - 1)], axis=0)


def tables(known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables in Markdown: scores, coverage, enhancement."""
    yield from ("| task | n | predictor | PSNR, dB | SSIM |", "|---|---|---|---|---|")
    for task, ones in by_task(known).items():
        rows = {name: [one["scores"][name] for one in ones if name in one["scores"]] for name in ones[0]["scores"]}
        for name, found in {**rows, CHOSEN: [one["scores"][name] for name, one in chosen(ones)]}.items():
            psnr, ssim = (np.array([f[metric] for f in found]) for metric in ("psnr", "ssim"))
            spread = f"{psnr.mean():.2f} ± {psnr.std(ddof=1):.2f}" if len(found) > 1 else f"{psnr.mean():.2f}"
            yield f"| {task} | {len(found)} | {name} | {spread} | {ssim.mean():.3f} |"
    yield from ("", "| target | inputs | n | coverage in the brain | in lesions |", "|---|---|---|---|---|")
    for (target, inputs), patients in groups(known).items():
        held = [(name, [h for other, h in patients.items() if other != name]) for name in patients]
        inside: dict[str, list[float]] = {"brain": [], "lesion": []}
        for name, others in held if len(held) > 1 else []:
            factor = quantile(list(map(pooled, others)), COVERAGE)
            for place, values in inside.items():
                mine = pooled(patients[name], place)
                values += [covered(mine, factor)] if mine.sum() else []
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
