from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.check.cohort import check_cohort
from mrsynth.core.errors import InputError, OutputError
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


def test_drawn_sites_are_recorded_and_take_the_place_of_usual_ones(tmp_path: Path):
    simulate(tmp_path, 1, 5, spacing_mm=4)
    image = tmp_path / "phantom-0000" / "t1.nii.gz"
    usual = image.read_bytes()
    table = simulate(tmp_path, 1, 5, spacing_mm=4, sites="drawn")
    drawn = image.read_bytes()
    assert drawn != usual
    case = json.loads((tmp_path / "phantom-0000" / "case.json").read_text())
    assert case["draws"]["protocol"]["contrasts"]["flair"]["ti_s"] > 1
    assert read_cohort(table).rows[0].b0_tesla == case["b0_tesla"] == case["draws"]["protocol"]["b0_tesla"]
    assert [p for p in check_cohort(read_cohort(table)) if p.severity == "error"] == []
    simulate(tmp_path, 1, 5, spacing_mm=4)
    assert image.read_bytes() == usual


def test_a_file_in_the_place_of_the_cohorts_folder_is_told_before_anything_is_simulated(tmp_path: Path):
    (tmp_path / "cohort.csv").write_text("")
    with pytest.raises(OutputError, match="is no folder"):
        simulate(tmp_path / "cohort.csv", 1, 0)


def test_a_table_of_others_is_kept_and_a_folder_of_others_refused(tmp_path: Path):
    (tmp_path / "cohort.csv").write_text("patient,case,split,t1\nreal,real,test,a.nii.gz\n")
    simulate(tmp_path, 1, 5, spacing_mm=4)
    assert "real" in (tmp_path / "cohort.csv.bak").read_text()
    simulate(tmp_path, 1, 5, spacing_mm=4)
    assert not (tmp_path / "cohort.csv.bak2").exists()
    case = tmp_path / "phantom-0000"
    (case / "notes.txt").write_text("mine")
    simulate(tmp_path, 1, 5, spacing_mm=4)  # the phantom is there: nothing is written
    with pytest.raises(OutputError, match="would be overwritten"):
        simulate(tmp_path, 1, 6, spacing_mm=4)
    assert (case / "notes.txt").read_text() == "mine"


def test_scans_that_lie_where_a_phantom_would_are_refused(tmp_path: Path):
    from nifti_factory import LPS, ramp, save

    save(tmp_path / "phantom-0000" / "t1.nii.gz", ramp(), LPS)
    with pytest.raises(OutputError, match="would be overwritten"):
        simulate(tmp_path, 1, 5, spacing_mm=4)
    (tmp_path / "link").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "phantom-0000").symlink_to(tmp_path / "link")
    with pytest.raises(OutputError, match="is a link"):
        simulate(tmp_path / "out", 1, 5, spacing_mm=4)


def test_a_damaged_case_file_is_a_sentence(tmp_path: Path):
    (tmp_path / "phantom-0007").mkdir()
    for content in ("[" * 100_000, "{", "{}", '{"patient": 3, "case": "x"}'):
        (tmp_path / "phantom-0007" / "case.json").write_text(content)
        with pytest.raises(InputError, match="is not what mrsynth simulate wrote"):
            simulate(tmp_path, 1, 5, spacing_mm=4)
