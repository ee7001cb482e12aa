"""`mrsynth index` where its tables are there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.core.errors import CohortError
from mrsynth.index.run import describe, index
from nifti_factory import brats, save


def test_corrections_are_not_lost(tmp_path: Path) -> None:
    scans, out, found = tmp_path / "scans", tmp_path / "c.csv", tmp_path / "c.found.csv"
    previous = tmp_path / "c.csv.bak"
    brats(scans, ["P1", "P2"], ("t1", "t2"))
    save(scans / "P1" / "odd.nii.gz")
    index(scans, out)
    mine = found.read_text()
    index(scans, out)  # nothing was corrected: as often as one likes
    assert not previous.exists()
    changes = {
        "contrast": mine.replace(",ignore,", ",flair,"),
        "patient": mine.replace("P2_t1.nii.gz,P2,P2,", "P2_t1.nii.gz,P1,P2,"),
        "a line more": mine + "scans/P1/odd.nii.gz#volume=0,P1,P1,flair,\n",
        "no found table": "a,b\n1,2\n",
        "nothing": "",
    }
    table = out.read_text()
    for name, text in changes.items():
        assert text != mine, name
        found.write_text(text)
        with pytest.raises(CohortError, match=r"corrections, which would be lost|is not a found table"):
            index(scans, out)
        assert (found.read_text(), out.read_text()) == (text, table), name
    found.write_text(changes["contrast"])
    cohort, kept = index(scans, out, found=found)
    assert "odd.nii.gz" in out.read_text()
    assert (kept, previous.read_text()) == (previous, table)
    assert any("c.csv.bak" in line for line in describe(cohort, out, kept))
    assert index(scans, out, found=found)[1] is None  # the same table again
    found.unlink()
    assert index(scans, out)[1] == tmp_path / "c.csv.bak2"
    assert previous.read_text() == table  # what was kept stays
    found.write_text(changes["contrast"])
    with pytest.raises(CohortError, match="corrections, which would be lost"):
        index(scans, out)


def test_what_nobody_corrected_may_be_found_otherwise(tmp_path: Path) -> None:
    """Files that come, go or change the names of others, and another folder, are no corrections."""
    scans, out = tmp_path / "scans", tmp_path / "c.csv"
    brats(scans, ["P1"], ("t1", "t2"))
    index(scans, out)
    save(scans / "P1" / "odd.nii.gz")
    index(scans, out)
    (scans / "P1" / "P1_t1.nii.gz").rename(scans / "P1" / "P1_t1_again.nii.gz")
    save(scans / "P1" / "P1_t1.nii.gz")
    index(scans, out)
    brats(scans / "more", ["P2"], ("t1", "t2"))
    index(scans, out)
    brats(tmp_path / "other", ["P9"], ("t1", "t2"))
    assert [row.case for row in index(tmp_path / "other", out)[0].rows] == ["P9"]
