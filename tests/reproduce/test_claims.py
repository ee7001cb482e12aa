"""Claims of a study: judged by numbers whose order is known, and not judged where a number is missing."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from scipy import stats

from mrsynth.core.errors import RecipeError
from mrsynth.io import Cohort
from mrsynth.reproduce.claim_settings import ClaimSettings
from mrsynth.reproduce.claims import judged, measured, write_claims
from mrsynth.reproduce.layout import claims_table
from mrsynth.reproduce.records import Claims
from mrsynth.reproduce.study import load_study
from mrsynth.reproduce.tables import Results
from tiny_study import study_data, write_study

ORDER = ClaimSettings(
    figure="1", says="a > b", of={"a": "x", "b": "y"}, metric=("p", "psnr", "volume"), order="falling"
)


@pytest.mark.parametrize(
    ("changes", "values", "verdict"),
    [
        ({}, (2.0, 1.0), "holds"),
        ({}, (1.0, 2.0), "does not hold"),
        ({}, (1.0, 1.0), "does not hold"),
        ({"order": "rising"}, (1.0, 2.0), "holds"),
        ({"order": None, "at_most": 1.5}, (1.0, 1.5), "holds"),
        ({"order": None, "at_most": 1.5}, (1.0, 1.6), "does not hold"),
        ({}, (1.0, None), "not judged"),
        ({"why_not": "too few"}, (2.0, 1.0), "untestable"),
        ({"why_not": "no skull", "of": {}}, (), "not judged"),
    ],
)
def test_the_verdict_follows_from_the_numbers(changes: dict, values: tuple, verdict: str):
    claim = ORDER.model_copy(update=changes)
    row = judged(claim, dict(zip(claim.of, values, strict=True)))
    assert row.verdict == verdict
    if verdict == "not judged" and values:
        assert row.why == "no number of b"


class Known(Results):
    """Metrics that are known: cell → values of patients."""

    known: ClassVar = {"x": [3.0, 5.0], "y": [1.0], "f.fold-1": [1.0, 1.1, 1.2], "f.fold-2": [3.0, 3.1, 3.3]}

    def values(self, source, column, predictor="model"):  # type: ignore[no-untyped-def]
        return pd.DataFrame({0: self.known[source]}) if source in self.known else pd.DataFrame()


def test_metrics_are_means_over_patients_and_the_claims_are_written(tmp_path: Path):
    results, cohort = Known({}, ()), Cohort(())
    assert measured(ORDER, results, cohort) == {"a": 4, "b": 1}
    folds = ClaimSettings(figure="4", says="alike", of={"f": "f", "x": "x"}, by="folds_p", at_least=0.05)
    found = measured(folds, Known({}, (), {"f": ["f.fold-1", "f.fold-2"]}), cohort)
    assert found["f"] == pytest.approx(stats.f_oneway([1.0, 1.1, 1.2], [3.0, 3.1, 3.3]).pvalue)
    assert found["x"] is None  # no folds
    assert judged(folds, {"f": found["f"], "x": 0.5}).verdict == "does not hold"
    absent = ORDER.model_copy(update={"of": {"a": "x", "b": "z"}})
    curves = ClaimSettings(figure="2", says="flat", of={"a": "x"}, by="late_fall", at_most=0.1)
    profile = ClaimSettings(figure="3", says="parallel", of={"T1": "t1"}, by="profile", at_most=1)
    claims = {"one": ORDER, "two": absent, "three": curves, "four": profile}
    path = write_claims(tmp_path, claims, results, cohort)
    rows = Claims.read(tmp_path / "claims.json").claims
    assert [row.verdict for row in rows] == ["holds", "not judged", "not judged", "not judged"]
    text = path.read_text(encoding="utf-8")
    assert "| 1 | a > b |" in text
    assert "**holds**" in text
    assert "no number of b" in text
    assert len(claims_table(rows).rows) == 4


def test_a_claim_that_cannot_be_judged_is_refused(tmp_path: Path):
    data = study_data(Path("tiny.yaml"))
    metric = ["osman2022", "psnr", "volume"]
    claim = {"figure": "1", "says": "x", "of": {"a": "both", "b": "t1"}, "metric": metric, "order": "falling"}
    wrong = [
        ({"of": {"a": "bothh"}}, "there is no cell 'bothh'"),
        ({"metric": ["osman", *metric[1:]]}, "there is no preset 'osman'"),
        ({"by": "sparsity"}, "one of by and metric"),
        ({"at_most": 1}, "one of order, at_most and at_least"),
        ({"of": {}}, "or why nothing is"),
    ]
    for changes, message in wrong:
        with pytest.raises(RecipeError, match=message):
            load_study(write_study(tmp_path, data | {"claims": {"one": claim | changes}}))


def test_every_figure_of_li2022_that_makes_a_claim_is_there():
    claims = load_study("li2022").claims
    assert {claim.figure.split(",")[0][:7].strip() for claim in claims.values()} >= {
        "Fig. 6",
        "Fig. 7",
        "Fig. 8A",
        "Fig. 10",
    }
    depth = [claim for name, claim in claims.items() if name.startswith("fig7-depth")]
    assert all("no cohort of 5" in claim.why_not for claim in depth)
