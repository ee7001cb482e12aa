"""What `mrsynth index` and `mrsynth check` print."""

from __future__ import annotations

from pathlib import Path

from mrsynth.check.run import check
from mrsynth.index.run import describe, index
from mrsynth.io import read_image
from mrsynth.synthesize.dose import Dosage
from mrsynth.synthesize.write import write_prediction
from nifti_factory import brats, save


def described(folder: Path, out: Path) -> list[str]:
    cohort, previous = index(folder, out)
    return describe(cohort, out, previous)


def test_one_is_no_plural_and_no_name_reaches_the_terminal_raw(tmp_path: Path) -> None:
    brats(tmp_path / "scans", ["P1"], ("t1", "t2"))
    save(tmp_path / "scans" / "P1" / "odd\n\x1b[31mname.nii.gz")
    out = tmp_path / "c.csv"
    lines = described(tmp_path / "scans", out)
    assert lines[0] == f"1 case of 1 patient in {out}"
    assert any(r"odd\n\x1b[31mname.nii.gz" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert check(out)[0][-1].startswith("1 case: 0 errors, ")
    brats(tmp_path / "scans", ["P1", "P2"], ("t1", "t2"))
    assert described(tmp_path / "scans", out)[0].startswith("2 cases of 2 patients")


def test_what_synthesize_writes_is_not_taken_for_a_scan(tmp_path: Path) -> None:
    brats(tmp_path / "scans", ["P1", "P2"], ("t1", "t2"))
    index(tmp_path / "scans", tmp_path / "before.csv")
    for case, dosage in (("P1", None), ("P2", Dosage(dose=0.17, b0_tesla=3.0, seed=0))):
        path = tmp_path / "scans" / case / f"{case}_t2.nii.gz"
        write_prediction(read_image(path, "t2"), path, dosage)
    lines, errors = check(tmp_path / "before.csv")
    assert errors == 2
    assert sum("is a synthetic image, not a scan" in line for line in lines) == 2
    cohort, _ = index(tmp_path / "scans", tmp_path / "c.csv")
    assert [list(row.files) for row in cohort.rows] == [["t1"], ["t1"]]
    assert any("a synthetic image, not a scan" in line for line in describe(cohort, tmp_path / "c.csv", None))
