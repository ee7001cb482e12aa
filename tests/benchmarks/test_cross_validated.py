"""The cross-validated table of anycontrast, on tiny cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.cross_validated import (
    CHOSEN,
    RATIOS,
    SHARES,
    auc,
    calibration,
    covered,
    every_task,
    quantile,
    refused,
    trust,
)

from benchmarks import cross_validated
from mrsynth.io.contract import Calibration
from mrsynth.nets.anycontrast import ErrorOf
from mrsynth.train.folds import train_folds
from tiny_contrasts import contrasts_prepared, contrasts_recipe


def test_each_unseen_case_is_judged_once_in_every_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = contrasts_prepared(tmp_path)
    train_folds(contrasts_recipe("train.epochs=1"), prepared, tmp_path / "folds", 2)
    monkeypatch.setattr(cross_validated, "TASKS", (("t1", "t2"), ("t1", "flair")))
    words = ["cv", str(tmp_path / "prepared"), str(tmp_path / "folds"), "-o", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    cross_validated.main()
    known = json.loads((tmp_path / "out" / "cases.json").read_text("utf-8"))
    assert sum(key.endswith(" t1-t2") for key in known) == 5
    assert sum(key.endswith(" t1-flair") for key in known) == 4  # one case has no FLAIR
    assert {"model", "mix", "identity", "table_mean", "filter"} <= set(known["case-0 t1-t2"]["scores"])
    printed = capsys.readouterr().out
    assert "| t1-t2 | 5 | model |" in printed
    assert f"| t1-t2 | 5 | {CHOSEN} |" in printed
    shares, why = (json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8")) for name in ("trust", "refused"))
    assert set(shares) == {"t1-t2", "t1-flair"}
    assert set(shares.values()) <= set(SHARES.values())
    assert len(why) >= 7
    assert "not judged" in why["t2-t1"]
    Calibration.model_validate(json.loads((tmp_path / "out" / "calibration.json").read_text("utf-8")))
    before = (tmp_path / "out" / "cases.json").read_text("utf-8")
    monkeypatch.setattr(cross_validated, "every_task", lambda _: [("t1", "t2"), ("t2+flair", "t1")])
    monkeypatch.setattr("sys.argv", [*words, "--all-tasks"])
    cross_validated.main()
    after = json.loads((tmp_path / "out" / "cases.json").read_text("utf-8"))
    assert {key: after[key] for key in json.loads(before)} == json.loads(before)
    assert {key.rsplit(" ", 1)[1] for key in after} == {"t1-t2", "t1-flair", "t2+flair-t1"}


SCORES = {name: {"psnr": 20 + share, "ssim": 0.5} for name, share in SHARES.items()}


def test_a_translation_is_refused_where_a_rival_is_as_good() -> None:
    worse = {**SCORES, "identity": {"psnr": 20.5, "ssim": 0.5}}
    better = {**SCORES, "identity": {"psnr": 20.7, "ssim": 0.4}}  # by less than a table may be
    known = {f"c{n} t1-t2": {"patient": f"p{n}", "scores": worse} for n in range(3)}
    known |= {f"c{n} t2-t1": {"patient": f"p{n}", "scores": better} for n in range(3)}
    assert trust(known) == {"t1-t2": 1.0, "t2-t1": 1.0}
    why = refused(known, [("t1", "t2"), ("t2", "t1"), ("t1", "flair")])
    assert set(why) == {"t2-t1", "t1-flair"}
    assert "as good or may be" in why["t2-t1"]
    assert "an input itself reaches 20.70 dB, the network 21.00 dB" in why["t2-t1"]


@pytest.mark.parametrize(("found", "reason"), [(None, "not judged"), (0.6, "60 of 100 pairs"), (0.9, None)])
def test_a_t1ce_that_does_not_show_what_enhances_is_refused(found: float | None, reason: str | None) -> None:
    more = {} if found is None else {"enhancing_ml": 20.0, "auc": found}
    scores = {name: {**one, **more} for name, one in SCORES.items()}
    known = {f"c{n} t1-t1ce": {"patient": f"p{n}", "scores": scores} for n in range(3)}
    why = refused(known, [("t1", "t1ce")])
    assert set(why) == (set() if reason is None else {"t1-t1ce"})
    assert reason is None or reason in why["t1-t1ce"]


def test_one_pass_gives_the_images_and_scales_of_every_share(tmp_path: Path) -> None:
    prepared = contrasts_prepared(tmp_path)
    train_folds(contrasts_recipe("train.epochs=1"), prepared, tmp_path / "folds", 2)
    fold = cross_validated.Fold(prepared, tmp_path / "folds" / "fold-1", {})
    contract, case = fold.contract.for_target("t2"), fold.cases(("t1", "t2"))[0]
    images = {"t1": np.ascontiguousarray(prepared.array(case, "t1")[:-3, :-5])}  # no multiples of the stride
    shares = (0.0, 0.5, 1.0)
    for share, (image, scale) in zip(shares, fold.shares("t2", images, shares), strict=True):
        fold.net.trust.fill_(share)
        np.testing.assert_allclose(image, fold._run(fold.net, contract, images), atol=1e-6)
        np.testing.assert_allclose(scale, fold._run(ErrorOf(fold.net), contract, images), atol=1e-6)


def test_every_subset_makes_every_other_contrast() -> None:
    assert len(every_task(["t1", "t1ce", "t2", "flair"])) == 28
    assert ("t1+t2", "flair") in every_task(["t1", "t2", "flair"])


def test_intervals_of_the_calibration_hold_what_they_promise() -> None:
    """Errors of a Laplace distribution whose scale the network knows: 90 % lie within 2.30 scales."""
    rng = np.random.default_rng(0)
    draw = lambda: np.histogram(np.abs(rng.laplace(size=20_000)), RATIOS)[0]  # noqa: E731
    known = {
        f"case-{n} t1-t2": {"patient": f"p{n}", "ratios": {"model": {"brain": draw().tolist()}}, "scores": SCORES}
        for n in range(8)
    }
    found = calibration(known)
    assert found["patients"] == 8
    assert found["factor"]["t2"][0] == pytest.approx(np.log(10), rel=0.03)
    assert covered(draw(), found["factor"]["t2"][0]) == pytest.approx(0.9, abs=0.01)
    assert quantile([draw()], 0.5) == pytest.approx(np.log(2), rel=0.03)


def test_the_area_under_the_curve_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.3
    pairs = score[positive][:, None] - score[~positive][None, :]
    assert auc(score, positive) == pytest.approx(float(np.mean((pairs > 0) + 0.5 * (pairs == 0))))
