"""RESULTS.md is written by one run of one clean commit, or not at all."""

from __future__ import annotations

import sys

import pytest

from benchmarks import run

ROW = {"benchmark": "start", "what": "it", "value": 0.25, "unit": "s", "wanted": "≤ 1 s", "device": "d", "load": 1}
ROW |= {"versions": "v", "commit": "abc"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where RESULTS.md would be written, by benchmarks that all print one row of commit abc."""
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(run, "measured", lambda names: [{**ROW, "benchmark": name} for name in names])
    monkeypatch.setattr(sys, "argv", ["run"])
    return tmp_path / "RESULTS.md"


def test_all_benchmarks_of_one_commit_become_the_results(results, monkeypatch):
    monkeypatch.setattr(run, "commit_of_clean_tree", lambda: "abc")
    run.main()
    text = results.read_text(encoding="utf-8")
    assert "one commit: abc" in text
    assert all(f"| {name} | it | 0.25 s | ≤ 1 s |" in text for name in run.BENCHMARKS)


def test_a_dirty_tree_is_refused(results, monkeypatch):
    monkeypatch.setattr(run, "commit_of_clean_tree", lambda: None)
    with pytest.raises(SystemExit, match="Commit them first"):
        run.main()
    assert not results.exists()


def test_a_tree_that_changes_meanwhile_is_refused(results, monkeypatch):
    monkeypatch.setattr(run, "commit_of_clean_tree", lambda: "before")
    with pytest.raises(SystemExit, match="changed while"):
        run.main()
    assert not results.exists()


def test_some_benchmarks_are_printed_alone(results, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run", "train"])
    run.main()
    assert "| train | it | 0.25 s |" in capsys.readouterr().out
    assert not results.exists()


def test_a_name_that_is_none_is_refused(results, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "trian"])
    with pytest.raises(SystemExit, match="No benchmark named trian"):
        run.main()


def test_what_a_machine_cannot_measure_says_so():
    assert "| not measured |" in run.as_line({**ROW, "value": None})
