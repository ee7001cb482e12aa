"""Whether a synthetic image helps to find lesions, on tiny cases whose lesions are bright in FLAIR alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import segmented
from mrsynth.io import CaseRow, Cohort, PreparedCohort
from mrsynth.prepare.run import prepare
from mrsynth.train.folds import train_folds
from small_cases import brain_case
from tiny import write_scan
from tiny_contrasts import CONTRASTS, contrasts_recipe


def with_lesions(folder: Path) -> PreparedCohort:
    """Four balls with a lesion each, at another place."""
    rows = []
    for seed in range(4):
        images = {name: image.data.copy() for name, image in brain_case(contrasts=CONTRASTS, seed=seed).images.items()}
        lesion = np.zeros_like(images["t1"])
        lesion[8 + seed : 13 + seed, 11:17, 7:13] = 1
        images["flair"] += 500 * lesion
        files = {name: write_scan(data, folder / f"{seed}" / f"{name}.nii.gz") for name, data in images.items()}
        files["lesion"] = write_scan(lesion, folder / f"{seed}" / "lesion.nii.gz")
        rows.append(CaseRow(f"p{seed}", f"case-{seed}", "train", files, metadata={"labels": "binary"}))
    prepare(Cohort(tuple(rows)), contrasts_recipe(), folder / "prepared")
    return PreparedCohort.open(folder / "prepared")


def test_each_unseen_lesion_is_found_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = with_lesions(tmp_path)
    train_folds(contrasts_recipe("train.epochs=1"), prepared, tmp_path / "folds", 2)
    for name, value in {"CROP": (24, 24), "WIDTHS": (8, 16), "BATCH": 4}.items():
        monkeypatch.setattr(segmented, name, value)
    folders = [str(tmp_path / "prepared"), str(tmp_path / "folds")]
    monkeypatch.setattr("sys.argv", ["segmented", *folders, "-o", str(tmp_path / "out"), "--steps", "60"])
    segmented.main()
    known = json.loads((tmp_path / "out" / "cases.json").read_text("utf-8"))
    assert len(known) == 4
    dice = {name: np.mean([one["dice"][name] for one in known.values()]) for name in segmented.FOUND}
    assert dice["real"] > 0.5
    assert dice["real"] > dice["without"]
    assert "| T1, T2 and the real FLAIR | 4 |" in capsys.readouterr().out
    monkeypatch.setattr(segmented, "segmenter", None)  # nothing is left to train
    segmented.main()


def test_overlap_is_dices() -> None:
    one, other = torch.zeros(100), torch.zeros(100)
    one[:60], other[30:90] = 1, 1
    assert float(segmented.overlap(one, other)) == pytest.approx(2 * 30 / 120, abs=0.01)
