"""Where a training's numbers go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.io.run import Run
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train import loggers
from mrsynth.train.loggers import loggers_of


def test_the_settings_name_the_loggers():
    assert load_recipe("osman2022/t2-t1").train.log == ("csv", "tensorboard")
    assert load_recipe("osman2022/t2-t1", ["train.log=[csv, wandb]"]).train.log == ("csv", "wandb")
    with pytest.raises(RecipeError, match="log"):
        load_recipe("osman2022/t2-t1", ["train.log=[paper]"])


def test_csv_alone_needs_no_logger_and_none_is_made_twice(tmp_path: Path):
    assert loggers_of(["csv"], Run(tmp_path)) == []
    assert len(loggers_of(["tensorboard", "tensorboard"], Run(tmp_path))) == 1


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_gets_a_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mrsynth.core.extras.find_spec", lambda package: None)
    with pytest.raises(RecipeError, match=rf"pip install 'mrsynth\[{name}\]'"):
        loggers_of([name], Run(tmp_path))


def test_wandb_sends_nothing_unless_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    (logger,) = loggers_of(["wandb"], Run(tmp_path))
    logger.log_metrics({"train_loss": 0.5}, 1)
    logger.finalize("success")
    assert list(Run(tmp_path).log.rglob("offline-run-*"))


def test_every_name_of_the_setting_is_known():
    named = load_recipe("osman2022/t2-t1").train.model_json_schema()["properties"]["log"]
    assert {"csv", *loggers.LOGGERS} == set(named["items"]["enum"]), json.dumps(named)
