"""What a user sees of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.core.progress import hush
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.progress import duration
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe


def test_a_log_has_a_line_an_epoch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path)), ["train.accelerator=cpu"])
    hush(False)
    train(recipe, tiny_prepared(tmp_path / "p"), tmp_path / "run")
    text = " ".join(capsys.readouterr().err.split())
    for epoch in (1, 2, 3):
        assert f"epoch {epoch}/3: training loss " in text
    assert text.count("validation loss") == 3
    assert "0 s left" in text
    assert "oard" not in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min"), (190_800, "2 d 5 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
