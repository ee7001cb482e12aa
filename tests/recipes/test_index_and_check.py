"""What `mrsynth index` and `mrsynth check` print."""

from __future__ import annotations

from pathlib import Path

from mrsynth.recipes.stages.check import check
from mrsynth.recipes.stages.index import describe, index
from nifti_factory import brats, save


def test_one_is_no_plural_and_no_name_reaches_the_terminal_raw(tmp_path: Path) -> None:
    brats(tmp_path / "scans", ["P1"], ("t1", "t2"))
    save(tmp_path / "scans" / "P1" / "odd\n\x1b[31mname.nii.gz")
    out = tmp_path / "c.csv"
    lines = describe(index(tmp_path / "scans", out), out)
    assert lines[0] == f"1 case of 1 patient in {out}"
    assert any(r"odd\n\x1b[31mname.nii.gz" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    assert check(out, progress=False)[0][-1].startswith("1 case: 0 errors, ")
    brats(tmp_path / "scans", ["P1", "P2"], ("t1", "t2"))
    assert describe(index(tmp_path / "scans", out), out)[0].startswith("2 cases of 2 patients")
