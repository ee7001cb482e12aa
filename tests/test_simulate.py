from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.check.cohort import check_cohort
from mrsynth.core.errors import OutputError
from mrsynth.io import read_cohort
from mrsynth.simulate import simulate


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("phantoms"), 3, 5, "brats", spacing_mm=4)


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
    simulate(phantoms.parent, 3, 5, "brats", spacing_mm=4)
    assert kept.stat().st_mtime_ns == time
    assert (lost / "t2.nii.gz").read_bytes() == before


def test_a_file_in_the_place_of_the_cohorts_folder_is_told_before_anything_is_simulated(tmp_path: Path):
    (tmp_path / "cohort.csv").write_text("")
    with pytest.raises(OutputError, match="is no folder"):
        simulate(tmp_path / "cohort.csv", 1, 0)
