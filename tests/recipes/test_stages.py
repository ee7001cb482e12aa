from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.errors import RecipeError
from mrsynth.io import check_cohort, read_cohort
from mrsynth.recipes.reproduce import reproduce
from mrsynth.recipes.stages.simulate import simulate


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("phantoms"), 3, 5, "brats", spacing_mm=4, progress=False)


def test_a_phantom_cohort_has_no_problem_and_its_draws(phantoms: Path):
    cohort = read_cohort(phantoms)
    assert [row.split for row in cohort.rows].count("test") == 1
    assert [p for p in check_cohort(cohort) if p.severity == "error"] == []
    case = json.loads((phantoms.parent / "phantom-0001" / "case.json").read_text())
    assert case["draws"]["lesion"]


def test_simulating_again_keeps_what_is_there_and_makes_what_is_missing(phantoms: Path):
    kept, lost = phantoms.parent / "phantom-0000" / "t1.nii.gz", phantoms.parent / "phantom-0002"
    time, before = kept.stat().st_mtime_ns, (lost / "t2.nii.gz").read_bytes()
    (lost / "case.json").unlink()
    (lost / "t2.nii.gz").write_bytes(b"")
    simulate(phantoms.parent, 3, 5, "brats", spacing_mm=4, progress=False)
    assert kept.stat().st_mtime_ns == time
    assert (lost / "t2.nii.gz").read_bytes() == before


def test_reproduce_smoke_writes_published_beside_measured_and_resumes(tmp_path: Path):
    """The whole study on three small phantoms: six translations through every stage."""
    table = simulate(tmp_path / "scans", 3, 1, "brats", spacing_mm=4, progress=False)
    path = reproduce("osman2022", "smoke", tmp_path / "study", table, progress=False)
    text = path.read_text()
    assert text.count("Osman & Tamam 2022, Table 1") == 6
    assert "| t1-flair | identity | 1 |" in text
    assert (tmp_path / "study" / "runs" / "flair-t2" / "report.html").exists()
    weights = tmp_path / "study" / "runs" / "t1-t2" / "model" / "weights.safetensors"
    time = weights.stat().st_mtime_ns
    assert reproduce("osman2022", "smoke", tmp_path / "study", table, progress=False).read_text() == text
    assert weights.stat().st_mtime_ns == time


def test_reproduce_asks_for_the_papers_cohort(tmp_path: Path):
    with pytest.raises(RecipeError, match="needs the paper's cohort"):
        reproduce("osman2022", "paper", tmp_path)
    with pytest.raises(RecipeError, match="no scale"):
        reproduce("osman2022", "huge", tmp_path)
