"""`mrsynth index` where its tables are there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.errors import CohortError
from mrsynth.recipes.stages.index import describe, index
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
    (scans / "P2" / "new.nii.gz").write_bytes((scans / "P1" / "odd.nii.gz").read_bytes())
    index(scans, out)  # nor where files come and go
    (scans / "P2" / "new.nii.gz").unlink()
    index(scans, out)
    changes = {
        "contrast": mine.replace(",ignore,", ",flair,"),
        "patient": mine.replace(",P2,P2,", ",P1,P2,"),
        "a line more": mine + "scans/P1/odd.nii.gz#volume=0,P1,P1,flair,\n",
        "no found table": "a,b\n1,2\n",
    }
    table = out.read_text()
    for name, text in changes.items():
        assert text != mine, name
        found.write_text(text)
        with pytest.raises(CohortError, match=r"corrections, which would be lost|is not a found table"):
            index(scans, out)
        assert (found.read_text(), out.read_text()) == (text, table), name
    found.write_text(changes["contrast"])
    lines = describe(index(scans, out, found=found), out)
    assert "odd.nii.gz" in out.read_text()
    assert previous.read_text() == table
    assert any("c.csv.bak" in line for line in lines)
    before = previous.read_text()
    index(scans, out, found=found)
    assert previous.read_text() == before  # the same table again
    found.unlink()
    index(scans, out)
