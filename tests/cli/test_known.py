"""mrsynth models list and show; every verb that takes a run takes a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mrsynth.cli.root import app
from mrsynth.io import models
from mrsynth.io.models import OWN
from tiny_contrasts import save_any_run, scans_of


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OWN, str(tmp_path / "own"))
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path / "shipped")
    return tmp_path / "own"


def said(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0
    return found.output


def test_with_none_at_hand_the_list_says_so(own: Path) -> None:
    assert f"none in {own}" in said("models", "list")


def test_the_list_says_what_each_makes_and_a_broken_one_does_not_hide_the_others(own: Path, tmp_path: Path) -> None:
    save_any_run(own / "any")
    save_any_run(tmp_path / "shipped" / "late")
    save_any_run(own / "broken")
    (own / "broken" / "model" / "contract.json").write_text("{}")
    lines = said("models", "list").splitlines()
    assert "any (your own): makes each of t1, t2, flair from any of the others" in lines
    assert any(line.startswith("broken (your own): cannot be used.") for line in lines)
    assert any(line.startswith("late (shipped)") for line in lines)
    assert f"0 patients; 0.1 MB; {own / 'any'}" in "\n".join(lines)


def test_show_says_what_a_model_is_good_for(own: Path) -> None:
    calibration = {"coverage": 0.9, "patients": 9, "factor": {"t2": [2.0, 1.5]}}
    save_any_run(own / "any", refused={"t1-t2": "it is no better"}, calibration=calibration, licence="CC BY 4.0")
    shown = said("models", "show", "any")
    for words in ("# card", "90 % of the voxels", "on 9 patients", "t1-t2 (it is no better)", "CC BY 4.0"):
        assert words in shown
    save_any_run(own / "bare")
    assert "not calibrated" in said("models", "show", own / "bare")


def test_a_name_does_for_a_run(own: Path, tmp_path: Path) -> None:
    save_any_run(own / "any")
    scan = scans_of(tmp_path / "scans", "t1")["t1"]
    out = tmp_path / "t2.nii.gz"
    said("synthesize", "--model", "any", "--input", f"t1={scan}", "-o", out, "--quiet")
    assert str(own / "any") in out.with_name("t2.json").read_text()
