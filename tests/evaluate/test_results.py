"""What `mrsynth evaluate` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mrsynth.evaluate.results import describe
from mrsynth.io.evaluation import MetricsRecord
from mrsynth.metrics import HIGHER_IS_BETTER

PATH = Path("metrics.json")


def row(predictor: str, mean: float | None, **other: Any) -> dict[str, Any]:
    known = {"metric": "ssim", "region": "brain", "contrast": "t2", "preset": "default", "fit": "none", "dimension": 3}
    rest = {"data_range": 1.0, "n": 4, "sd": None, "median": None, "ci_low": None, "ci_high": None}
    counts = {"n_infinite": 0, "n_missing": 0}
    return {"predictor": predictor, "mean": mean, **known, **rest, **counts, **other}


def record(*rows: dict[str, Any]) -> MetricsRecord:
    known = {"preset": ["default"], "n_cases": 4, "n_patients": 4, "tests": [], "remarks": ["Read this."]}
    return MetricsRecord.model_validate({**known, "summary": rows, "higher_is_better": dict(HIGHER_IS_BETTER)})


RIVALS = (row("identity", 0.5), row("filter", 0.75), row("table_mean", 0.7), row("second_scan", 0.99))


def test_a_line_has_the_model_beside_the_identity_and_the_best_rival_by_name() -> None:
    first, line, last = describe(record(row("model", 0.8, sd=0.01), *RIVALS), PATH)
    assert first == "4 patients, 4 cases; all values in metrics.json"
    assert line.split("  ", 2)[0] == "default"
    assert "brain   0.8 ± 0.01" in line
    assert line.endswith("identity 0.5  linear filter 0.75 (best rival)  (n 4, range 1, 3-D)")
    assert last == "Read this."


@pytest.mark.parametrize(("metric", "best"), [("ssim", "identity 0.5 (best rival)"), ("mae", "identity 0.5  linear")])
def test_the_best_is_the_least_error_and_the_highest_similarity(metric: str, best: str) -> None:
    rows = [row("model", 0.8), row("identity", 0.5), row("filter", 0.25)]
    (_, line, _) = describe(record(*[{**one, "metric": metric} for one in rows]), PATH)
    assert best in line


def test_regions_fits_and_metrics_are_not_mixed() -> None:
    strange = [{**row("filter", 0.9), key: value} for key, value in (("region", "volume"), ("fit", "linear"))]
    (_, line, _) = describe(record(row("model", 0.8), row("identity", 0.5), *strange), PATH)
    assert "identity 0.5 (best rival)" in line


def test_a_model_alone_has_nothing_beside_it() -> None:
    (_, line, _) = describe(record(row("model", None, n_infinite=4)), PATH)
    assert line.split()[-4:] == ["(n", "4,", "range", "1,", "3-D)"][-4:]
    assert "infinite" in line
    assert "rival" not in line


def test_all_of_it_is_a_line_a_row() -> None:
    rows = [row("model", 0.8), *RIVALS, row("model", 0.9, fit="linear"), row("model", None, region="tumour")]
    lines = describe(record(*rows), PATH, every=True)[1:-1]
    assert len(lines) == len(rows)
    for line, one in zip(lines, rows, strict=True):
        assert one["predictor"] in line
        assert one["region"] in line
        assert one["fit"] in line
