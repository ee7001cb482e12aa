from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import ModelError
from mrsynth.io.evaluation import Evaluation
from mrsynth.io.run import Began, Model, Run, RunRecord, Training
from tiny import trained


def test_a_run_and_an_evaluation_know_the_names_of_their_files():
    run = Run(Path("run"))
    assert run.evaluation.table == Path("run/metrics.csv")
    assert run.evaluation.listing == Path("run/panels/panels.json")
    other = Evaluation(Path("there/site2.json"))
    files = [other.record, other.table, other.panels, other.response, other.response_chart]
    assert [path.name for path in files] == [
        "site2.json",
        "site2.csv",
        "site2-panels",
        "site2-dose_response.csv",
        "site2-dose_response.png",
    ]


def test_a_record_comes_back_and_one_of_before_is_read(tmp_path: Path):
    facts = trained()
    record = RunRecord(began=Began.model_validate(facts["began"]), training=Training.model_validate(facts["training"]))
    path = Run(tmp_path).record
    record.write(path)
    assert RunRecord.read(path) == record
    path.write_text(json.dumps({**facts["began"], **facts["training"]}))  # type: ignore[dict-item]
    assert RunRecord.read(path) == record
    path.write_text(json.dumps(facts["began"]))
    assert RunRecord.read(path) == RunRecord(began=record.began)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"started": 3}', "[" * 100_000, '{"mrsynth": {"record": "x", "version": 1}}', "7"],
)
def test_a_damaged_record_is_a_sentence(tmp_path: Path, text: str):
    Run(tmp_path).record.write_text(text)
    with pytest.raises(ModelError, match=r"run\.json"):
        RunRecord.read(Run(tmp_path).record)


def test_a_model_is_found_in_its_run_and_alone(tmp_path: Path):
    with pytest.raises(ModelError, match=r"holds no trained model[\s\S]*no such folder"):
        Model.of(tmp_path / "nowhere")
    model = Model(Run(tmp_path).model)
    model.folder.mkdir()
    assert not Run(tmp_path).is_trained
    model.contract.touch()
    assert Run(tmp_path).is_trained
    assert Model.of(tmp_path) == Model.of(model.folder) == model
