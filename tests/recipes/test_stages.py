from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.io import check_cohort, read_cohort
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
