"""mrsynth evaluate over a cohort in which inputs, or whole cases, are missing."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from distributed import LocalCluster

import dicom_factory as factory
from mrsynth.cli import main
from mrsynth.core.errors import InputError, ModelError, OutputError
from mrsynth.core.jobs import Workers
from mrsynth.evaluate.results import require_free
from mrsynth.evaluate.run import evaluate_predictions, evaluate_run, left_out
from mrsynth.evaluate.truth import read_truth
from mrsynth.evaluate.unseen import not_predicted, without_truth
from mrsynth.index.layouts import find_images
from mrsynth.io import CaseRow, Cohort, read_image, write_cohort, write_image
from mrsynth.io.dicom.sheet import Maker
from mrsynth.io.dicom.write import write_dicom
from mrsynth.io.evaluation import Evaluation
from mrsynth.metrics import read_records, write_records
from mrsynth.metrics.baselines import LinearIdentity, TrainingMean
from mrsynth.model import save_model
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import dump_recipe, load_recipe
from mrsynth.report import build_report
from mrsynth.steps import complete_steps, run_steps
from mrsynth.synthesize import MissingInputs
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.synthesize.write import write_prediction
from small_cases import brain_case
from tiny import STEPS, trained
from tiny_contrasts import save_any_run
from tiny_predictions import predicted

CONTRASTS = ("t1", "t2", "flair")


def save_run(folder: Path, steps: list[dict[str, Any]]) -> Path:
    """A run that makes FLAIR from T1 and T2, its network with its first weights, its baselines of one case."""
    torch.manual_seed(1)
    settings: dict[str, Any] = {"inputs": 2, "widths": [4, 4], "dropout": [0.0, 0.0]}
    contract = {"recipe": "tiny", "inputs": ["t1", "t2"], "target": "flair", "net": "unet2d", "net_settings": settings}
    rest = {"steps": complete_steps(steps), "range": [0, 1], "intensity": [], **trained()}
    net = build_net("unet2d", **settings)
    save_model(folder / "model", net.state_dict(), {**contract, **rest, "patch": None, "flags": False}, "# card\n")
    changes = [f"prepare={steps!r}", "contrasts=[t1, t2, flair]", "task={inputs: [t1, t2], target: flair}"]
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe("osman2022", [*changes, "net.settings.inputs=2"])))
    case, _ = run_steps(brain_case(contrasts=CONTRASTS, seed=7), steps)
    arrays, brain = {name: image.data for name, image in case.images.items()}, case.masks["brain"].data > 0
    identity, mean = LinearIdentity(), TrainingMean()
    identity.update({"t1": arrays["t1"], "t2": arrays["t2"]}, arrays["flair"], brain)
    mean.update(arrays["flair"], brain)
    states = {"identity": identity.to_dict(), "mean": mean.to_dict()}
    np.savez(folder / "baselines.npz", **{f"{n}.{k}": v for n, state in states.items() for k, v in state.items()})
    return folder


def cohort(folder: Path, lacking: dict[int, str]) -> Cohort:
    """Three cases on disk; these lack an image."""
    rows = []
    for seed in range(3):
        case = brain_case(contrasts=CONTRASTS, seed=seed)
        paths = {name: folder / f"{seed}-{name}.nii.gz" for name in CONTRASTS if lacking.get(seed) != name}
        for name, path in paths.items():
            write_image(case.images[name], path)
        rows.append(CaseRow(f"p{seed}", f"case-{seed}", "test", paths))
    return Cohort(tuple(rows))


def predict(run: Path, table: Cohort) -> Path:
    missing = MissingInputs("zeros")
    assert synthesize_cohort(run, table, run / "predictions", missing=missing)[1] == []
    return run / "predictions"


def nearest(run: Path) -> str:
    """The input that the run's identity takes."""
    with np.load(run / "baselines.npz") as stored:
        state = {key.removeprefix("identity."): stored[key] for key in stored.files if key.startswith("identity.")}
    return LinearIdentity.from_dict(state).nearest


def test_a_case_without_an_input_is_judged_and_without_its_target_left_out(tmp_path: Path):
    run = save_run(tmp_path / "run", STEPS)
    gap = nearest(run)
    table = cohort(tmp_path, {1: gap, 2: "flair"})
    path = evaluate_run(run, table, predict(run, table), ["default"])
    record = json.loads(path.read_text())
    assert record["n_cases"] == 2
    assert [case for case, _ in left_out(path)] == ["case-2"]
    assert "no flair image" in left_out(path)[0][1]
    values = {
        (r.case, r.predictor): r for r in read_records(run / "metrics.csv") if r.metric == "mae" and r.fit == "none"
    }
    for predictor in ("model", "training_mean"):
        assert values["case-1", predictor].value is not None
    assert values["case-1", "identity"].value is None
    assert values["case-1", "identity"].reason == f"{gap}, the nearest input, is missing"
    assert values["case-0", "identity"].value is not None
    paired = [row for row in record["tests"] if row["metric"] == "mae" and row["test"] == "paired t"]
    assert all(row["n"] == 1 for row in paired if row["b"] == "identity")
    page = build_report(run).read_text()
    assert "<li>case-2 could not be judged. case-2: no flair image." in page
    assert f"{gap}, the nearest input, is missing" in page
    panels = {one["case"]: one for one in json.loads((run / "panels" / "panels.json").read_text())["panels"]}
    assert set(panels) == {"case-0", "case-1"}
    assert panels["case-1"]["input_contrast"] == ({"t1", "t2"} - {gap}).pop()


def test_a_patient_whom_an_imputer_was_trained_on_is_not_judged(tmp_path: Path):
    """His missing T2 was made by a model that had seen it; the patients whose T2 is there are judged."""
    run, imputer = save_run(tmp_path / "run", STEPS), tmp_path / "imputer"
    settings: dict[str, Any] = {"inputs": 1, "widths": [4, 4], "dropout": [0.0, 0.0]}
    contract = json.loads((run / "model" / "contract.json").read_text())
    contract |= {"inputs": ["t1"], "target": "t2", "net_settings": settings}
    contract |= trained(patients={"train": ["p0", "p1"], "val": ["p9"]})
    del contract["mrsynth"], contract["weights_sha256"]
    save_model(imputer / "model", build_net("unet2d", **settings).state_dict(), contract, "# card\n")
    table = cohort(tmp_path, {1: "t2"})
    missing = MissingInputs(imputers={"t2": imputer})
    assert synthesize_cohort(run, table, run / "predictions", missing=missing)[1] == []
    path = evaluate_run(run, table, run / "predictions", ["default"])
    assert left_out(path) == [("case-1", f"t2 was imputed by {imputer}, which was trained on this patient")]
    assert {record.case for record in read_records(run / "metrics.csv")} == {"case-0", "case-2"}
    listed = json.loads((run / "predictions" / "predictions.json").read_text())
    listed["way"]["imputers_saw"] = {}
    (run / "predictions" / "predictions.json").write_text(json.dumps(listed))
    with pytest.raises(ModelError, match=r"(?s)case-1: a model imputed its t2.*run mrsynth synthesize --cohort again"):
        evaluate_run(run, table, run / "predictions", ["default"])
    synthesize_cohort(run, table, run / "predictions", missing=missing)
    assert [case for case, _ in left_out(evaluate_run(run, table, run / "predictions", ["default"]))] == ["case-1"]


def test_where_all_cases_failed_the_reason_is_that_of_the_first(tmp_path: Path):
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, dict.fromkeys(range(3), "t2"))
    synthesize_cohort(run, table, run / "predictions")
    with pytest.raises(InputError, match=r"(?s)no prediction.*case-0: no prediction of it; .*t2 is missing"):
        evaluate_run(run, table, run / "predictions", ["default"])


def test_visits_of_a_patient_stay_his(tmp_path: Path):
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, {})
    table = Cohort(tuple(replace(row, patient="p0") for row in table.rows))
    evaluate_run(run, table, predict(run, table), ["default"])
    assert {one["patient"] for one in json.loads((run / "panels" / "panels.json").read_text())["panels"]} == {"p0"}


def test_only_the_scans_that_a_prediction_was_made_of_are_judged(tmp_path: Path):
    """Another cohort with the same names of cases, and a scan that was replaced, are told by their bytes."""
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, {})
    predict(run, table)
    path = table.rows[1].files["t2"]
    image = read_image(path, "t2")
    write_image(image.with_data(image.data * np.float32(1.1)), path)
    found = left_out(evaluate_run(run, table, run / "predictions", ["default"]))
    assert [case for case, _ in found] == ["case-1"]
    assert found[0][1].startswith("case-1: its prediction was made of another t2.")


def test_the_report_says_where_its_values_are_those_of_an_earlier_model(tmp_path: Path):
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, {})
    evaluate_run(run, table, predict(run, table), ["default"])
    assert "those of an earlier model" not in build_report(run).read_text()
    contract = json.loads((run / "model" / "contract.json").read_text())
    (run / "model" / "contract.json").write_text(json.dumps(contract | {"weights_sha256": "0" * 64}))
    assert "those of an earlier model" in build_report(run).read_text()
    (run / "model" / "contract.json").unlink()  # a run that was copied without its model says nothing of it
    assert "those of an earlier model" not in build_report(run).read_text()


def test_a_synthetic_image_is_no_truth(tmp_path: Path):
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, {})
    predict(run, table)
    write_prediction(read_image(table.rows[1].files["flair"], "flair"), table.rows[1].files["flair"])
    found = left_out(evaluate_run(run, table, run / "predictions", ["default"]))
    assert [case for case, _ in found] == ["case-1"]
    assert "its flair is a synthetic image, not a scan" in found[0][1]


@pytest.mark.parametrize("multi_frame", [False, True])
def test_a_synthetic_series_that_a_pacs_renamed_is_no_scan(tmp_path: Path, multi_frame: bool):
    run, table = save_run(tmp_path / "run", STEPS), cohort(tmp_path, {})
    predict(run, table)
    factory.series(tmp_path / "t1", SeriesDescription="T1 SE tra")
    scan, home = read_image(tmp_path / "t1", "t1"), tmp_path / "study" / "flair"
    made = replace(scan, data=scan.data / 4096, contrast="flair")
    for path in write_dicom(made, tmp_path / "t1", home, Maker("tiny", "ab" * 32, ("t1",)), multi_frame=multi_frame):
        sent = pydicom.dcmread(path)
        assert sent.SyntheticData == "YES"
        sent.SeriesDescription, sent.ImageType = "FLAIR tra", ["ORIGINAL", "PRIMARY", "M", "ND"]
        for group in sent.get("SharedFunctionalGroupsSequence", ()):
            group.MRImageFrameTypeSequence[0].FrameType = sent.ImageType
        sent.save_as(path)
    (image,) = find_images(home.parent).found
    assert "a synthetic image, not a scan: SyntheticData (0008,001C) is YES" in image.reason
    second = replace(table.rows[1], files={**table.rows[1].files, "flair": image.path})
    rows = Cohort((table.rows[0], second, table.rows[2]))
    found = left_out(evaluate_run(run, rows, run / "predictions", ["default"]))
    assert [case for case, _ in found] == ["case-1"]
    assert "its flair is a synthetic image, not a scan" in found[0][1]


def test_a_table_of_something_else_is_not_overwritten(tmp_path: Path):
    table = tmp_path / "mine.csv"
    table.write_text("patient,case\n")
    with pytest.raises(OutputError, match=r"(?s)mine.csv: is there already"):
        require_free(Evaluation(tmp_path / "mine.json"))
    write_records([], table)
    require_free(Evaluation(tmp_path / "mine.json"))
    (tmp_path / "mine.json").write_text('{"synthetic": true, "image": "mine.nii.gz"}')
    with pytest.raises(OutputError, match=r"(?s)mine.json: is there already"):
        require_free(Evaluation(tmp_path / "mine.json"))
    (tmp_path / "mine.json").unlink()
    (tmp_path / "mine-panels").mkdir()
    (tmp_path / "mine-panels" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"(?s)mine-panels: is there already"):
        require_free(Evaluation(tmp_path / "mine.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("evaluate --prediction p --cohort c.csv --range 2", "--range: only with --reference"),
        ("evaluate --prediction p --cohort c.csv --range 2 --mask m", "--mask and --range: only with --reference"),
        ("prepare {table} --recipe osman2022 --contrasts t1 -o p", "--contrasts: only with --steps"),
        ("prepare {table} --steps n4 --set train.epochs=1 -o p", "--set: only with --recipe"),
        ("synthesize --model m --input t1=x.nii --split test -o p", "--split: only with --cohort"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
):
    table = tmp_path / "cohort.csv"
    write_cohort(cohort(tmp_path, {}), table)
    monkeypatch.setattr(sys, "argv", ["mrsynth", *words.format(table=table).split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_an_image_at_a_dose_without_a_scan_is_named():
    rows = [CaseRow("p", case, "test", {}) for case in ("judged", "asked", "series")]
    index = predicted({"judged": [("a", None)], "asked": [("b", None)], "series": [("c", 0.1), ("d", 0.2)]})
    assert without_truth(rows, index, ["judged"]) == [("asked", "no scan at the dose that was asked for")]


def test_a_truth_whose_scale_comes_from_a_missing_input_is_not_judged(tmp_path: Path):
    steps = [*STEPS[:3], {"unit": {"upper_percentile": 100, "contrasts": ["t1", "t2"]}}]
    steps += [{"radiometric": {"reference": "t1", "images": ["flair"]}}, *STEPS[4:]]
    run = save_run(tmp_path / "run", steps)
    table = cohort(tmp_path, {1: "t1"})
    path = evaluate_run(run, table, predict(run, table), ["default"])
    assert [case for case, _ in left_out(path)] == ["case-1"]
    assert "t1" in left_out(path)[0][1]


def test_the_command_lists_what_was_left_out_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, {2: "flair"})
    predict(run, table)
    write_cohort(table, tmp_path / "cohort.csv")
    words = [
        "evaluate",
        "--prediction",
        run / "predictions",
        "--cohort",
        tmp_path / "cohort.csv",
        "--preset",
        "default",
    ]
    monkeypatch.setattr(sys, "argv", ["mrsynth", *map(str, words), "--quiet"])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert "2 patients, 2 cases" in said.out
    assert "case-2: no flair image" in said.err


def test_where_nothing_can_be_judged_the_first_reason_is_said(tmp_path: Path):
    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, dict.fromkeys(range(3), "flair"))
    with pytest.raises(InputError, match="case-0: no flair image"):
        evaluate_run(run, table, predict(run, table), ["default"])


def test_a_case_that_could_not_be_predicted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, {1: "t2", 2: "t2"})
    other = replace(table.rows[2], split="val")
    table = Cohort((*table.rows[:2], other))
    assert len(synthesize_cohort(run, table, run / "predictions", split="test")[1]) == 1
    path = evaluate_run(run, table, run / "predictions", ["default"])
    assert json.loads(path.read_text())["n_cases"] == 1
    # The third case was not asked for: it is not missing.
    assert [case for case, _ in left_out(path)] == ["case-1"]
    assert left_out(path)[0][1].startswith("no prediction of it; ")
    assert "t2 is missing" in left_out(path)[0][1]
    assert "<li>case-1 could not be judged. no prediction of it; " in build_report(run).read_text()
    write_cohort(table, tmp_path / "cohort.csv")
    words = ["evaluate", "--prediction", run / "predictions", "--cohort", tmp_path / "cohort.csv", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["mrsynth", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "no prediction of it" in capsys.readouterr().err
    assert predict(run, Cohort(table.rows[:2]))
    assert left_out(evaluate_run(run, table, run / "predictions", ["default"])) == []


def test_a_scan_that_is_the_truth_of_another_image_is_not_missing():
    rows = [CaseRow(name, f"case-{name}", "test", {}) for name in ("made", "truth", "missing", "trained")]
    failed = {f"case-{name}": "why" for name in ("truth", "missing", "trained")}
    index = predicted({"case-made": [("x", None)]}, failed)
    contract = SimpleNamespace(patients_seen=lambda: {"trained"})
    found = not_predicted(Cohort(tuple(rows)), index, contract, ["case-made", "case-truth"])  # type: ignore[arg-type]
    assert found == [("case-missing", "no prediction of it; why")]


def test_a_case_that_breaks_in_a_library_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def breaks(row: CaseRow, *rest: Any) -> Any:
        if row.case == "case-1":
            raise RuntimeError("out of slices")
        return read_truth(row, *rest)

    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, {})
    predictions = predict(run, table)
    monkeypatch.setattr("mrsynth.evaluate.score_case.read_truth", breaks)
    path = evaluate_run(run, table, predictions, ["default"])
    assert json.loads(path.read_text())["n_cases"] == 2
    assert [case for case, _ in left_out(path)] == ["case-1"]
    assert "RuntimeError: out of slices" in left_out(path)[0][1]


def test_metrics_are_written_as_json_only(tmp_path: Path):
    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, {})
    for out in (tmp_path / "results.csv", tmp_path / "results"):
        with pytest.raises(InputError, match="written as JSON"):
            evaluate_predictions(predict(run, table), table, ["default"], out)
    assert not (run / "metrics.json").exists()  # refused before any work


@pytest.fixture
def worker() -> Iterator[Workers]:
    """Another process, which works for whoever gives this scheduler."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield Workers(1, cluster.scheduler_address)


def test_a_worker_process_predicts_and_judges_what_this_one_does(tmp_path: Path, worker: Workers):
    """Byte for byte, and in the same order."""
    run = save_run(tmp_path / "run", STEPS)
    table = cohort(tmp_path, {1: "t2"})
    results = []
    for name, workers in (("here", Workers()), ("there", worker)):
        folder = tmp_path / name
        made, failed = synthesize_cohort(
            run, table, folder, missing=MissingInputs("zeros"), place=Place(workers=workers)
        )
        assert (sorted(made), failed) == (["case-0", "case-1", "case-2"], [])
        evaluate_run(run, table, folder, ["default"], out=Evaluation.in_folder(folder), workers=workers)
        images = {path.name: read_image_bytes(path) for path in sorted(folder.glob("*.nii.gz"))}
        record = json.loads((folder / "predictions.json").read_text())
        cases = dict(sorted(record.pop("cases").items()))
        metrics = (folder / "metrics.csv").read_text(), json.loads((folder / "metrics.json").read_text())
        scripts = {path.name: path.read_bytes() for path in sorted((folder / "viewer").iterdir())}
        results.append((images, record, cases, metrics, scripts))
    assert results[0] == results[1]


def read_image_bytes(path: Path) -> bytes:
    return nib.load(path).get_fdata().tobytes()


def test_a_model_without_its_run_is_judged_at_the_target_that_was_asked_for(tmp_path: Path):
    """Another target than the contract's own, and a model as it is shipped: without recipe.yaml and baselines."""
    run, table = save_any_run(tmp_path / "run"), cohort(tmp_path, {})
    synthesize_cohort(run, table, tmp_path / "out", place=Place(targets=("t1", "t2")))
    for target in ("t1", "t2"):
        record = json.loads(evaluate_predictions(tmp_path / "out" / target, table, ["default"], None).read_text())
        assert record["n_cases"] == 3
        assert {(row["predictor"], row["contrast"]) for row in record["summary"]} == {("model", target)}
        assert f"none was fitted for {target}" in record["remarks"][0]
