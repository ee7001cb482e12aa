from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.io import CaseRow, Cohort, read_cohort, write_cohort
from mrsynth.io.locator import KEYS, absolute, join_locator, split_locator

WORD = st.text("abcäé019.-_ ", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(folder=WORD.filter(lambda w: w.strip(".")), selection=st.dictionaries(st.sampled_from(KEYS), WORD))
def test_what_is_joined_comes_apart_again(folder: str, selection: dict[str, str]) -> None:
    path = Path("/nowhere") / folder
    assert split_locator(join_locator(path, selection)) == (path, selection)


@pytest.mark.parametrize("name", ["a#b.nii", "#series", "x#side=left", "x#series=", "x#series=1/t1.nii", "x#b=1,#2"])
def test_any_other_number_sign_belongs_to_the_name(name: str) -> None:
    assert split_locator(Path(name)) == (Path(name), {})


def test_a_file_that_is_there_wins(tmp_path: Path) -> None:
    (tmp_path / "scan#series=3").write_text("x")
    assert split_locator(tmp_path / "scan#series=3") == (tmp_path / "scan#series=3", {})
    assert split_locator(tmp_path / "scan#series=4") == (tmp_path / "scan", {"series": "4"})
    assert split_locator(Path("x" * 5000 + "#b=1"))[1] == {"b": "1"}


def test_absolute_keeps_the_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("a/../dcm#series=3,b=500")) == tmp_path / "dcm#series=3,b=500"
    assert absolute(Path(".#series=3")) == Path(f"{tmp_path}#series=3")


def test_a_table_keeps_the_selection_also_of_its_own_folder(tmp_path: Path) -> None:
    files = {
        "t1": Path(f"{tmp_path}#series=1.2.3"),
        "t2": tmp_path / "dcm#series=4,echo=2",
        "dwi_b500": Path("/x.nii#b=500"),
    }
    cohort = Cohort((CaseRow("p", "c", "train", files),))
    write_cohort(cohort, tmp_path / "c.csv")
    assert ",.#series=1.2.3," in (tmp_path / "c.csv").read_text()
    assert read_cohort(tmp_path / "c.csv").rows == cohort.rows
