from __future__ import annotations

from pathlib import Path

import numpy as np

from mrsynth.evaluate.results import summary_of
from mrsynth.metrics import PairInfo, evaluate_pair, write_records
from mrsynth.report import build_report


def test_what_evaluate_writes_is_what_report_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    brain = np.zeros((20, 20, 16), bool)
    brain[3:17, 3:17, 3:13] = True
    records = []
    for i in range(3):
        truth = rng.random(brain.shape).astype(np.float32) * brain
        for who, noise in (("model", 0.05), ("identity", 0.3)):
            prediction = np.clip(truth + noise * rng.normal(size=truth.shape), 0, 1).astype(np.float32) * brain
            regions = {"volume": np.ones_like(brain), "brain": brain, "lesion": np.zeros_like(brain)}
            info = PairInfo(case=f"case{i}", contrast="t2", predictor=who)
            records += evaluate_pair(prediction, truth, regions, 1.0, "default", info=info)
    write_records(records, tmp_path / "metrics.csv")
    summary_of(records, {f"case{i}": f"case{i}" for i in range(3)}).write(tmp_path / "metrics.json")
    html = build_report(tmp_path).read_text()
    assert 'class="verdict good"' in html
    assert "3 missing" in html
    assert html.count('<article class="case"') == 3
    assert ">nan" not in html.lower()
