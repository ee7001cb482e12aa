"""What index saw, as a table that the user corrects; and the choice between two images of one contrast."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import dicom_factory as factory
from mrsynth.core.errors import CohortError, InputError
from mrsynth.index.corrections import IGNORE, Found, found_table, write_found
from mrsynth.index.find import index_folder
from mrsynth.index.pick import pick_images
from mrsynth.io import Cohort
from mrsynth.io.walk import Ignored
from nifti_factory import brats, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    brats(tmp_path, ["P1", "P2"], ("t1", "t2"))
    save(tmp_path / "P1" / "P1_weird.nii.gz")
    return tmp_path


def corrected(folder: Path, *changes: tuple[str, str]) -> Cohort:
    """Index, write the found table, replace text in it, and index again with it."""
    table = folder / "cohort.found.csv"
    write_found(index_folder(folder).found, table)
    text = table.read_text()
    for before, after in changes:
        assert before in text
        text = "\n".join(line.replace(before, after, 1) for line in text.split("\n"))
    table.write_text(text)
    return index_folder(folder, corrections=table)


def test_the_table_lists_every_image_used_or_not(folder: Path) -> None:
    found = index_folder(folder).found
    assert [(f.path.name, f.case, f.contrast) for f in found] == [
        ("P1_t1.nii.gz", "P1", "t1"),
        ("P1_t2.nii.gz", "P1", "t2"),
        ("P1_weird.nii.gz", "P1", IGNORE),
        ("P2_t1.nii.gz", "P2", "t1"),
        ("P2_t2.nii.gz", "P2", "t2"),
    ]
    assert all(image.reason for image in found)
    assert found_table(Path("x/my.cohort.csv")) == Path("x/my.cohort.found.csv")


def test_unchanged_it_changes_nothing(folder: Path) -> None:
    assert corrected(folder) == index_folder(folder)


def test_the_user_has_the_last_word(folder: Path) -> None:
    cohort = corrected(
        folder,
        ("P1_weird.nii.gz,P1,P1,ignore", "P1_weird.nii.gz,P1,P1,FLAIR"),
        ("P1_t2.nii.gz,P1,P1,t2", "P1_t2.nii.gz,P1,P1,"),
        ("P2_t1.nii.gz,P2,P2,t1", "P2_t1.nii.gz,P1,P1b,t1"),
        ("P2_t2.nii.gz,P2,P2,t2", "P2_t2.nii.gz,P1,P1b,t2"),
    )
    assert [(r.patient, r.case, list(r.files)) for r in cohort.rows] == [
        ("P1", "P1", ["t1", "flair"]),
        ("P1", "P1b", ["t1", "t2"]),
    ]
    (ignored,) = [i for i in cohort.ignored if i.path.name == "P1_t2.nii.gz"]
    assert ignored.reason == "as the found table says (before: its name says t2)"


def test_one_volume_may_be_added_by_hand(folder: Path) -> None:
    line = "P1/P1_weird.nii.gz#volume=2,P1,P1,flair,\n"
    table = folder / "cohort.found.csv"
    write_found(index_folder(folder).found, table)
    table.write_text(table.read_text() + line)
    cohort = index_folder(folder, corrections=table)
    assert cohort.rows[0].files["flair"] == folder / "P1" / "P1_weird.nii.gz#volume=2"


def test_what_the_user_left_as_it_was_is_found_anew(tmp_path: Path) -> None:
    """A third examination changes the numbers of the others; only what was corrected stays."""
    for year in (2019, 2020):
        examination(tmp_path / "scans", year)
    table = tmp_path / "cohort.found.csv"
    write_found(index_folder(tmp_path / "scans").found, table)
    lines = table.read_text().splitlines()
    (at,) = (n for n, line in enumerate(lines) if "2020/2" in line)
    lines[at] = lines[at].replace(",t2,", ",flair,", 1)
    table.write_text("\n".join(lines))
    examination(tmp_path / "scans", 2018)
    rows = index_folder(tmp_path / "scans", corrections=table).rows
    parts = [{name: "/".join(path.parts[-2:]).split("#")[0] for name, path in row.files.items()} for row in rows]
    assert [row.case for row in rows] == ["P1-1", "P1-2", "P1-3"]
    assert parts == [
        {"t1": "2018/1", "t2": "2018/2"},
        {"t1": "2019/1", "t2": "2019/2"},
        {"t1": "2020/1", "flair": "2020/2"},
    ]


def examination(folder: Path, year: int) -> None:
    """A T1 and a T2 of one patient, as DICOM series of a study."""
    for number, words in ((1, "t1 tra pre"), (2, "t2 tra")):
        tags = {"StudyInstanceUID": f"1.2.{year}", "StudyDate": f"{year}0101", "PatientID": "P1"}
        tags |= {"SeriesInstanceUID": f"1.2.{year}.{number}", "SeriesNumber": number, "SeriesDescription": words}
        factory.series(folder / f"{year}" / f"{number}", factory.stored(seed=year + number), **tags)


def test_a_new_image_takes_no_place_that_the_user_gave_to_another(folder: Path) -> None:
    table = folder / "cohort.found.csv"
    write_found(index_folder(folder).found, table)
    table.write_text(table.read_text().replace("P1_weird.nii.gz,P1,P1,ignore", "P1_weird.nii.gz,P1,P1,flair"))
    save(folder / "P1" / "P1_flair.nii.gz")
    cohort = index_folder(folder, corrections=table)
    assert cohort.rows[0].files["flair"].name == "P1_weird.nii.gz"
    (ignored,) = cohort.ignored
    assert (ignored.path.name, ignored.reason) == (
        "P1_flair.nii.gz",
        "line 4 of the found table gives another flair to P1",
    )
    write_found(cohort.found, table)
    assert index_folder(folder, corrections=table).rows == cohort.rows


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("P1,t2,", "P1,t3,", "line 3: 't3' is neither a contrast nor a mask"),
        ("P1,t2,", "P1,t1,", "line 3: P1 has a t1 already"),
        ("P1/P1_t2.nii.gz", "P1/P1_gone.nii.gz", "line 3: there is no such image"),
        ("P1/P1_t2.nii.gz", "x" * 300, "line 3: there is no such image"),
        ("P1,P1,ignore", ",P1,flair", "no patient or no case"),
        ("P1,P1,t2", "P1,a:b,t2", "line 3: 'a:b' cannot name a case"),
        ("path,patient", "file,patient", "no column path"),
    ],
)
def test_a_wrong_table_is_told_with_its_line(folder: Path, before: str, after: str, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        corrected(folder, (before, after))


def test_no_word_makes_a_synthetic_image_a_scan(folder: Path) -> None:
    """A line that was right once, too: the scan was written over since."""
    table = folder / "cohort.found.csv"
    write_found(index_folder(folder).found, table)
    save(folder / "P1" / "P1_t2.nii.gz", descrip=b"SYNTHETIC t2 mrsynth 0.1.0, not for diagnosis")
    cohort = index_folder(folder, corrections=table)
    assert list(cohort.rows[0].files) == ["t1"]
    assert any("a synthetic image, not a scan" in ignored.reason for ignored in cohort.ignored)
    write_found(cohort.found, table)
    table.write_text(table.read_text().replace("P1_t2.nii.gz,P1,P1,ignore", "P1_t2.nii.gz,P1,P1,t2"))
    with pytest.raises(CohortError, match=r"line 3: P1/P1_t2.nii.gz is a synthetic image"):
        index_folder(folder, corrections=table)


def test_a_table_that_leaves_nothing(folder: Path) -> None:
    with pytest.raises(InputError, match="no case found"):
        corrected(folder, (",t1,", ",ignore,"), (",t2,", ",ignore,"))


def image(name: str, **traits: float) -> Found:
    return Found(Path(name), "p", "c", "t1", f"says {name}", traits=traits)


def test_a_choice_states_its_reason() -> None:
    a, b = pick_images([image("a", original=1, voxels=10), image("b", original=0, voxels=99)])
    assert a.contrast == "t1"
    assert a.reason == "says a; taken before b: original, not derived"
    assert b.contrast == IGNORE
    assert b.reason == "t1 too, but a was taken: original, not derived (says b)"


@pytest.mark.parametrize(
    ("one", "other", "better"),
    [
        ({"voxels": 100.0}, {"voxels": 140.0}, None),
        ({"voxels": 100.0}, {"voxels": 160.0}, 1),
        ({"coverage_mm": 150.0, "voxels": 1.0}, {"coverage_mm": 60.0, "voxels": 9.0}, 0),
        ({"acquired": 0.0, "voxels": 9.0}, {"acquired": 1.0, "voxels": 1.0}, 1),
        ({"original": 1.0}, {}, None),
        ({}, {}, None),
    ],
)
def test_which_is_chosen(one: dict[str, float], other: dict[str, float], better: int | None) -> None:
    chosen = pick_images([image("a", **one), image("b", **other)])
    used = [i for i, found in enumerate(chosen) if found.contrast != IGNORE]
    assert used == ([] if better is None else [better])
    # The order of the images does not matter.
    back = pick_images([image("b", **other), image("a", **one)])[::-1]
    assert [f.contrast for f in back] == [f.contrast for f in chosen]


def test_paths_that_are_links_stay_links(tmp_path: Path) -> None:
    outside = save(tmp_path / "store" / "x.nii.gz")
    (tmp_path / "data" / "P1").mkdir(parents=True)
    (tmp_path / "data" / "P1" / "t1.nii.gz").symlink_to(os.path.relpath(outside, tmp_path / "data" / "P1"))
    assert index_folder(tmp_path / "data").rows[0].files == {"t1": tmp_path / "data" / "P1" / "t1.nii.gz"}


def test_a_case_whose_name_no_folder_can_have_is_left_out(tmp_path: Path) -> None:
    brats(tmp_path, ["P1"], ("t1", "t2"))
    for name, case in (("P2", "a\nb"), ("P3", "x" * 300), ("P4", "../P4")):
        save(tmp_path / name / "t1.nii.gz")
        (tmp_path / name / "case.json").write_text(json.dumps({"case": case}))
    save(tmp_path / "P5:1" / "t1.nii.gz")
    cohort = index_folder(tmp_path)
    assert [row.case for row in cohort.rows] == ["P1"]
    reasons = {item.path.parent.name: item.reason for item in cohort.ignored}
    assert r"'a\nb' cannot name results (a path separator, a control character" in reasons["P2"]
    assert "300 bytes" in reasons["P3"]
    assert "begins with a dot" in reasons["P4"]
    assert "'P5:1' cannot name" in reasons["P5:1"]
    table = tmp_path / "cohort.found.csv"
    write_found(cohort.found, table)
    assert index_folder(tmp_path, corrections=table).rows == cohort.rows
    table.write_text(table.read_text().replace("P5:1,P5:1,ignore", "P5,P5,t1", 1))
    assert [row.case for row in index_folder(tmp_path, corrections=table).rows] == ["P1", "P5"]


def test_an_unreadable_nifti_file_beside_dicom_stands_once_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brats(tmp_path, ["P1"], ("t1", "t2"))
    factory.series(tmp_path / "P2", SeriesDescription="T2 tra", PatientID="P2")
    opened = Path.open

    def closed(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "P1_t1.nii.gz":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", closed)
    found = index_folder(tmp_path).found
    assert [(f.case, f.contrast) for f in found] == [("P1", "t1"), ("P1", "t2"), ("P2", "t2")]


def test_what_was_left_out_is_printed_on_one_line() -> None:
    shown = str(Ignored(Path("a\n\x1b[31mb"), "no\rimage"))
    assert shown == r"a\n\x1b[31mb: no\rimage"
