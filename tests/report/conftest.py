from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mrsynth.io.evaluation import MetricsRecord, PanelsRecord
from mrsynth.io.run import RunRecord
from tiny import trained

HIGHER = {"ssim": True, "psnr": True, "mae": False, "mse": False}
COLUMNS = (
    "metric",
    "value",
    "region",
    "data_range",
    "dimension",
    "aggregation",
    "clip",
    "case",
    "contrast",
    "preset",
    "predictor",
    "fit",
    "n",
    "reason",
)
MakeRun = Callable[..., Path]


def head(rng: np.random.Generator, size: int = 48) -> dict[str, np.ndarray]:
    """Smooth blobs in an ellipse, larger at positive x so that left and right can be told apart."""
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    mask = (x / 0.75) ** 2 + (y / 0.9) ** 2 < 1
    truth = np.clip(0.5 + 6 * gaussian_filter(rng.normal(size=(size, size)), 3) + 0.1 * x, 0, 1) * mask
    synthetic = np.clip(truth + 0.05 * rng.normal(size=truth.shape), 0, 1) * mask
    lesion = ((x - 0.2) ** 2 + (y - 0.2) ** 2 < 0.04) & mask
    arrays = {"input": (1 - truth) * mask, "synthetic": synthetic, "truth": truth, "mask": mask, "lesion": lesion}
    arrays["ssim"] = 1 - np.abs(synthetic - truth)
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def scores(ssim: float) -> dict[str, float]:
    """The four metrics of a case, all better the higher ssim is."""
    mse = (1 - ssim) / 40
    return {"ssim": ssim, "psnr": -10 * math.log10(mse), "mae": (1 - ssim) / 5, "mse": mse}


def record(
    case: str, who: str, metric: str, value: object, region: str = "brain", reason: str = ""
) -> dict[str, object]:
    row: dict[str, object] = {"metric": metric, "value": value, "region": region, "data_range": 1.0, "dimension": 3}
    row |= {"aggregation": "mean over the region", "clip": "none", "case": case, "contrast": "t2", "preset": "default"}
    return row | {"predictor": who, "fit": "none", "n": 1000, "reason": reason}


def write_records(run: Path, records: list[dict[str, object]]) -> None:
    with (run / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(records)


def summarise(records: list[dict[str, object]]) -> list[dict[str, object]]:
    rows = []
    for key in dict.fromkeys((r["predictor"], r["metric"], r["region"]) for r in records):
        mine = [r["value"] for r in records if (r["predictor"], r["metric"], r["region"]) == key]
        given = np.array([float(str(v)) for v in mine if v != ""])
        finite = given[np.isfinite(given)]
        mean, sd = (float(finite.mean()), float(finite.std())) if finite.size else (None, None)
        rows.append(
            dict(
                zip(("predictor", "metric", "region"), key, strict=True), contrast="t2", preset="default", fit="none",
                dimension=3, data_range=1.0, n=int(finite.size), mean=mean, sd=sd, median=mean,
                ci_low=None if mean is None else mean - sd, ci_high=None if mean is None else mean + sd,
                n_infinite=int(np.isinf(given).sum()), n_missing=len(mine) - given.size,
            )
        )  # fmt: skip
    return rows


def paired(metric: str, difference: float) -> list[dict[str, object]]:
    both: dict[str, object] = {"preset": "default", "metric": metric, "region": "brain", "fit": "none"}
    both |= {"a": "model", "b": "identity", "n": 3, "mean_difference": difference, "contrast": "t2"}
    both |= {"dimension": 3, "data_range": 1.0, "ci_low": None, "ci_high": None}
    return [
        both | {"test": "t", "statistic": 3.1, "p": 0.01, "p_holm": 0.04, "ci_low": 0.01, "ci_high": 0.1, "reason": ""},
        both | {"test": "wilcoxon", "statistic": 0, "p": None, "p_holm": None, "reason": "fewer than 6 pairs"},
    ]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder. model, identity: SSIM by case; pictures: panels and epochs too."""

    def make(
        model: dict[str, float],
        identity: dict[str, float],
        extra: list[dict[str, object]] | None = None,
        *,
        pictures: bool = False,
    ) -> Path:
        run = tmp_path / "run"
        (run / "panels").mkdir(parents=True)
        (run / "log").mkdir()
        rng = np.random.default_rng(0)
        records, listing = [], []
        for i, case in enumerate(model):
            for who, values in (("model", model), ("identity", identity)):
                records += [record(case, who, metric, value) for metric, value in scores(values[case]).items()]
            if not pictures:  # they take most of a page's time
                continue
            np.savez(run / "panels" / f"{i}.npz", **head(rng))
            listing.append(
                {"case": case, "patient": f"p{i}", "file": f"{i}.npz", "slice_index": 70, "axis": "axial",
                 "input_contrast": "t1", "target_contrast": "t2", "window": [0, 1], "ssim": model[case], "note": "",
                 "pixel_mm": [1, 1], "psnr": 30, "mae": 0.1}
            )  # fmt: skip
        records += extra or []
        write_records(run, records)
        PanelsRecord.model_validate({"panels": listing}).write(run / "panels" / "panels.json")
        tests = [row for metric in HIGHER for row in paired(metric, 0.05)]
        content = {"preset": ["default"], "n_cases": len(model), "n_patients": len(model), "published": None}
        content |= {"summary": summarise(records), "tests": tests, "higher_is_better": HIGHER}
        MetricsRecord.model_validate(content).write(run / "metrics.json")
        RunRecord.model_validate(trained(recipe="osman2022", title="T2 from T1", seed=7)).write(run / "run.json")
        (run / "recipe.yaml").write_text("net: unet2d\n")
        rows = "0,1,1.2,1e-3,2\n1,.5,.6,1e-3,2\n" if pictures else ""
        (run / "log" / "history.csv").write_text("epoch,train_loss,val_loss,lr,seconds\n" + rows)
        return run

    return make


@pytest.fixture(name="record")
def record_fixture() -> Callable[..., dict[str, object]]:
    return record
