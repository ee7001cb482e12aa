from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError, MrsynthError, OutputError
from mrsynth.io.evaluation import PanelsRecord
from mrsynth.io.run import RunRecord
from mrsynth.report import build_report, inputs
from tiny import trained

MODEL = {"easy": 0.9, "hard": 0.6, "middle": 0.8}
IDENTITY = {"easy": 0.7, "hard": 0.5, "middle": 0.6}
MakeRun = Callable[..., Path]


def page(run: Path) -> str:
    path = build_report(run)
    assert path == run / "report.html"
    return path.read_text()


def verdict_class(html: str) -> str:
    return re.search(r'class="verdict (\w+)"', html).group(1)


def test_page_is_one_file_that_asks_nothing_of_anyone(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY, pictures=True)
    before = set(run.rglob("*"))
    html = page(run)
    assert set(run.rglob("*")) - before == {run / "report.html"}
    assert page(run) == html  # and the same bytes again
    targets = re.findall(r'(?:src|srcset|href)="([^"]*)"', html)
    assert targets
    assert all(target.startswith(("data:image/png;base64,", "data:image/webp;base64,", "#")) for target in targets)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert (run / "report.html").stat().st_size < 3e6


def test_every_case_appears_the_worst_first_each_with_five_pictures(make_run: MakeRun) -> None:
    html = page(make_run(MODEL, IDENTITY, pictures=True))
    articles = html.split('<article class="case"')[1:]
    assert [re.search(r"</span> (\w+) ", article).group(1) for article in articles] == ["hard", "middle", "easy"]
    for article in articles:
        assert re.findall(r'<figure class="(\w+)"', article) == ["input", "synthetic", "truth", "difference", "ssim"]


def test_of_many_cases_some_are_shown_evenly_from_the_worst_to_the_best(make_run: MakeRun) -> None:
    run = make_run({f"c{i}": 0.5 + i / 100 for i in range(9)}, {f"c{i}": 0.4 for i in range(9)})
    html = build_report(run, pictures=3).read_text()
    assert re.findall(r'id="case-(\d+)"', html) == ["1", "5", "9"] == re.findall(r'href="#case-(\d+)"', html)
    assert "3 of 9 cases are shown" in html
    assert all(f">c{i}<" in html for i in range(9))  # the table has all of them
    assert "cases are shown" not in page(run)
    assert "0 of 9 cases are shown" in build_report(run, pictures=0).read_text()


def test_a_page_of_many_noisy_cases_is_small_and_reads_what_it_shows(make_run: MakeRun, monkeypatch) -> None:
    cases = {f"c{i:03d}": 0.5 + i / 1000 for i in range(100)}
    run = make_run(cases, dict.fromkeys(cases, 0.4), pictures=True)
    rng, noise = np.random.default_rng(0), {}
    for kind in ("input", "synthetic", "truth"):
        noise[kind] = rng.uniform(0.2, 0.9, (120, 140)).astype(np.float32)
    rest = {"ssim": noise["truth"], "mask": np.ones((120, 140), np.float32)}
    for entry in PanelsRecord.read(run / "panels" / "panels.json").panels:
        np.savez(run / "panels" / entry.file, **noise, **rest)
    opened: list[str] = []
    read = inputs.read_panel
    monkeypatch.setattr(inputs, "read_panel", lambda path, meta: [opened.append(meta["case"]), read(path, meta)][1])
    html = page(run)
    shown = set(re.findall(r'id="case-(\d+)"', html))
    assert {int(case[1:]) + 1 for case in opened} == {int(rank) for rank in shown}
    assert len(shown) == 13
    assert len(html.encode()) < 3e6


def test_model_ahead_is_green_and_nothing_is_red(make_run: MakeRun) -> None:
    html = page(make_run(MODEL, IDENTITY))
    assert verdict_class(html) == "good"
    assert "The model beats every simple rival." in html
    assert 'class="bad' not in html
    assert "3 patients" in html


def test_identity_ahead_is_red_in_verdict_tables_and_cases(make_run: MakeRun) -> None:
    html = page(make_run(IDENTITY, MODEL))
    assert verdict_class(html) == "bad"
    assert "does not beat its best simple rival, the identity" in html
    assert html.count('<td class="bad') > 12
    assert html.count("behind identity</span>") == 3


def test_a_tie_does_not_beat_identity(make_run: MakeRun) -> None:
    assert verdict_class(page(make_run(MODEL, MODEL))) == "bad"


def test_a_model_ahead_of_the_identity_and_behind_a_table_of_voxels_is_red(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    metrics = json.loads((run / "metrics.json").read_text())
    for row in [row for row in metrics["summary"] if row["predictor"] == "identity" and row["metric"] == "ssim"]:
        metrics["summary"].append({**row, "predictor": "table_mean", "mean": 0.999})
        metrics["summary"].append({**row, "predictor": "second_scan", "mean": 1.0})  # a ceiling, no rival
    (run / "metrics.json").write_text(json.dumps(metrics))
    html = page(run)
    assert verdict_class(html) == "bad"
    assert "The model does not beat its best simple rival, the voxel table, mean." in html
    assert "All simple rivals" in html


def test_the_page_says_whether_the_training_converged(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    assert "would lower the validation loss" not in page(run)
    facts = RunRecord.read(run / "run.json")
    ended = {"stage": 0, "epochs": 12, "further_percent": 4.0, "further_percent_95": (3.0, 5.0), "verdict": "falling"}
    content = facts.model_dump(mode="json") | {"convergence": [ended]}
    (run / "run.json").write_text(json.dumps(content))
    assert "not converged: 12 epochs more would lower the validation loss by 4 % (3 to 5)." in page(run)


def test_other_metrics_behind_make_the_verdict_mixed(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    metrics = json.loads((run / "metrics.json").read_text())
    for row in metrics["summary"]:
        if row["metric"] == "psnr" and row["predictor"] == "model":
            row["mean"] = 1.0
    (run / "metrics.json").write_text(json.dumps(metrics))
    html = page(run)
    assert verdict_class(html) == "mixed"
    assert "does not beat the best rival in PSNR (dB) (the identity)" in html


def test_names_are_text_and_never_markup(make_run: MakeRun) -> None:
    names = ["<script>alert(1)</script>", '" onload="x', "$\\frac", "{{ 7 * 7 }}"]
    run = make_run(dict.fromkeys(names, 0.8), dict.fromkeys(names, 0.5), pictures=True)
    name = " ".join(names)
    facts = trained(title=name, commit=name, versions={name: name})
    RunRecord.model_validate(facts).write(run / "run.json")
    (run / "recipe.yaml").write_text(f"title: {name}</pre>\n")
    html = page(run)
    assert html.count("<script>") == 1
    assert 'onload="' not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert "{{ 7 * 7 }}" in html


def test_what_is_missing_is_said(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    for name in ("metrics.json", "run.json", "recipe.yaml", "log/history.csv"):
        (run / name).unlink()
    shutil.rmtree(run / "panels")
    html = page(run)
    for name in ("metrics.json", "run.json", "recipe.yaml", "log/history.csv", "panels/panels.json"):
        assert f"<li>{name} is missing" in html
    assert verdict_class(html) == "unknown"
    assert "There are no learning curves" in html
    assert html.count("There is no picture of this case.") == 3
    assert all(case in html for case in MODEL)


def test_missing_and_infinite_values_are_counted_with_their_reason(
    make_run: MakeRun, record: Callable[..., dict]
) -> None:
    extra = [
        record("easy", "model", "ssim", "", region="lesion", reason="the region lesion is empty"),
        record("hard", "model", "ssim", 0.5, region="lesion"),
        record("easy", "model", "psnr", math.inf, region="shell"),
    ]
    html = page(make_run(MODEL, IDENTITY, extra))
    assert "1 missing" in html
    assert "the region lesion is empty" in html
    assert "1 perfect (∞), left out" in html
    assert "infinite: perfect match" in html
    assert "fewer than 6 pairs" in html
    assert not re.search(r">[^<]*\bnan\b", html)


def test_a_case_without_value_comes_first(make_run: MakeRun, record: Callable[..., dict]) -> None:
    extra = [record("broken", "model", "ssim", "", reason="constant image")]
    html = page(make_run(MODEL, IDENTITY, extra))
    assert html.index(">broken</a>") < html.index(">hard</a>")


def test_means_of_other_cases_do_not_decide(make_run: MakeRun, record: Callable[..., dict[str, object]]) -> None:
    """The identity lacks the hard case, so its mean is the higher one; where both have a value the model is ahead."""
    extra = [record("harder", "model", "ssim", 0.05)]
    extra += [record("harder", "identity", "ssim", "", reason="t1, the nearest input, is missing")]
    run = make_run(MODEL, IDENTITY, extra)
    assert verdict_class(page(run)) == "good"
    assert "Where both have a value, model − identity is +0.050 in the mean; this counts." in page(run)
    metrics = json.loads((run / "metrics.json").read_text())
    for test in metrics["tests"]:
        test["mean_difference"] = -0.05
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert verdict_class(page(run)) == "bad"


def test_published_values_stand_only_beside_their_own_convention(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    metrics = json.loads((run / "metrics.json").read_text())
    numbers = {"ssim": [0.914, 0.02], "psnr": [29.45, 1.72]}
    metrics["published"] = {"source": "Osman 2022", "n": 95, "values": numbers}
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "they stand in no table" in page(run)
    for name in ("metrics.csv", "metrics.json"):
        (run / name).write_text((run / name).read_text().replace("default", "osman2022"))
    html = page(run)
    assert "published (n = 95)" in html
    assert "29.45 ± 1.72" in html


def test_how_each_number_is_computed_is_said(make_run: MakeRun) -> None:
    html = page(make_run(MODEL, IDENTITY))
    assert "SSIM, preset default: 3-D, in brain; data range 1; mean over the region; no clipping." in html
    assert "Research software, not a medical device." in html


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.csv", None, "has no metrics"),
        ("metrics.csv", "a,b\n1,2\n", "no column metric"),
        ("metrics.csv", "", "cannot be read"),
        ("metrics.json", "{", "cannot be read"),
        ("run.json", "[]", "holds no JSON object"),
        ("log/history.csv", "step\n1\n", "holds no training history"),
        ("panels/0.npz", "no archive", "cannot be read as a panel"),
        ("panels/panels.json", "[]", "holds no JSON object"),
    ],
)
def test_unusable_files_are_named_and_leave_no_page(
    make_run: MakeRun, name: str, content: str | None, says: str
) -> None:
    run = make_run(MODEL, IDENTITY, pictures=True)
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    with pytest.raises(MrsynthError, match=says) as error:
        build_report(run)
    assert Path(name).name in str(error.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "../../secret.npz"}, "begins with a dot"),
        ({"file": "/secret.npz"}, "a path separator"),
        ({"file": "9.npz"}, "is not there"),
        ({"window": [1, 0]}, "window: .*expected low < high"),
        ({"slice_index": -1}, "greater than or equal to 0"),
    ],
)
def test_a_listing_names_pictures_beside_it_alone(make_run: MakeRun, change: dict[str, object], says: str) -> None:
    run = make_run(MODEL, IDENTITY, pictures=True)
    listing = run / "panels" / "panels.json"
    content = json.loads(listing.read_text())
    content["panels"][0] |= change
    listing.write_text(json.dumps(content))
    with pytest.raises(InputError, match=says):
        build_report(run)


def test_a_report_goes_where_it_is_told_and_shows_another_evaluation(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(MODEL, IDENTITY, pictures=True)
    there = tmp_path / "site2"
    there.mkdir()
    for name in ("metrics.json", "metrics.csv", "panels"):
        (run / name).rename(there / name)
    out = build_report(run, evaluation=there / "metrics.json")
    assert out == there / "report.html"
    assert not (run / "report.html").exists()
    assert out.read_text().count('<article class="case"') == len(MODEL)
    build_report(run, evaluation=there / "metrics.json", out=tmp_path / "page.html")
    (tmp_path / "page.html").write_text("<p>mine</p>")
    with pytest.raises(OutputError, match="is there already"):
        build_report(run, evaluation=there / "metrics.json", out=tmp_path / "page.html")


def test_a_picture_that_was_cut_off_is_named(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY, pictures=True)
    path = run / "panels" / "0.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read as a panel"):
        build_report(run)


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        build_report(tmp_path / "nothing")


def test_a_dose_response_that_is_announced_must_be_there(make_run: MakeRun) -> None:
    run = make_run(MODEL, IDENTITY)
    metrics = json.loads((run / "metrics.json").read_text())
    response = {"in_words": "lesions whose enhancement falls: none", "trained": [0.1]}
    (run / "metrics.json").write_text(json.dumps({**metrics, "dose_response": response}))
    with pytest.raises(InputError, match="no dose response"):
        build_report(run)
    (run / "dose_response.csv").write_text("label,patient\nmodel,p1\n")
    with pytest.raises(InputError, match="no column region"):
        build_report(run)
    rows = [f"model,p1,{region},{dose},{dose}" for region in ("oedema", "lesion#1") for dose in (0.1, 0.2)]
    (run / "dose_response.csv").write_text("\n".join(["label,patient,region,dose,enhancement", *rows]))
    assert response["in_words"] in page(run)
