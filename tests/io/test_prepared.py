from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.core.errors import CohortError, InputError, OutputError
from mrsynth.core.image import Case
from mrsynth.index.find import index_folder
from mrsynth.io import CaseRow, PreparedCohort, read_case, write_image
from mrsynth.io.chunks import write_chunked
from mrsynth.io.prepared import case_fingerprint
from nifti_factory import LPS, brats, ramp, save

STEPS = [{"zscore": {}}, {"resize": {"size": (4, 4)}}]


def begin(folder: Path) -> PreparedCohort:
    return PreparedCohort.create(folder, recipe="r", steps=STEPS, contrasts=["t1", "t2"])


@pytest.fixture
def rows(tmp_path: Path) -> tuple[CaseRow, ...]:
    return index_folder(brats(tmp_path / "data", ["P1", "P2", "P3"], ("t1", "t2", "seg"))).rows


@pytest.fixture
def prepared(tmp_path: Path, rows: tuple[CaseRow, ...]) -> PreparedCohort:
    prepared = begin(tmp_path / "out")
    for row in rows:
        fingerprint = case_fingerprint(row, ["t1", "t2"], STEPS)
        prepared.write_case(row, read_case(row), [{"step": "x", "p": np.float32(0.1)}], fingerprint)
    prepared.finish([row.case for row in rows])
    return prepared


def test_what_is_written_is_read(prepared: PreparedCohort, rows: tuple[CaseRow, ...]) -> None:
    opened = PreparedCohort.open(prepared.folder)
    assert opened.cases() == ["P1", "P2", "P3"]
    assert sorted(opened.cases("train") + opened.cases("val") + opened.cases("test")) == opened.cases()
    assert opened.patients() == ["P1", "P2", "P3"]
    assert (opened.recipe, opened.contrasts, opened.fingerprint) == ("r", ["t1", "t2"], prepared.fingerprint)
    assert opened.steps == prepared.steps == [{"zscore": {}}, {"resize": {"size": [4, 4]}}]
    assert opened.rows["P1"].slices == 7
    case = read_case(rows[0])
    for name, image in {**case.images, **case.masks}.items():
        array = opened.array("P1", name)
        assert array.dtype == (np.uint8 if name == "lesion" else np.float32)
        np.testing.assert_array_equal(array, image.data)
    assert opened.record("P1").history == [{"step": "x", "p": pytest.approx(0.1)}]


def test_the_way_back_to_the_patients_file(prepared: PreparedCohort, rows: tuple[CaseRow, ...], tmp_path: Path) -> None:
    oblique = LPS.astype(np.float32).astype(float)
    oblique[:3, :3] @= [[0.9, -0.1, 0], [0.1, 0.9, 0.05], [0, -0.05, 1.1]]
    source = save(tmp_path / "q" / "t1.nii.gz", ramp(), oblique, qform_code=1, sform_code=0, db_name=b"Jane Doe")
    row = CaseRow("q", "q", "test", {"t1": source})
    prepared.write_case(row, read_case(row), [], "f")
    known = prepared.record("q").images["t1"].native
    assert b"Jane" not in base64.b64decode(known.header)  # nor in what is written from it
    image = prepared.image("q", "t1")
    write_image(image, tmp_path / "back.nii.gz")
    before, after = nib.load(source), nib.load(tmp_path / "back.nii.gz")
    assert after.affine.tobytes() == before.affine.tobytes()
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())


def test_a_rerun_keeps_what_is_current(prepared: PreparedCohort, rows: tuple[CaseRow, ...]) -> None:
    before = {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*.b2nd")}
    assert len(before) == 9
    again = begin(prepared.folder)
    for row in rows:
        fingerprint = case_fingerprint(row, ["t1", "t2"], STEPS)
        assert again.is_current(row.case, fingerprint)
        again.keep(replace(row, split="test"), fingerprint)
    again.finish([row.case for row in rows])
    assert {path: path.stat().st_mtime_ns for path in prepared.folder.rglob("*.b2nd")} == before
    assert PreparedCohort.open(prepared.folder).cases("test") == ["P1", "P2", "P3"]
    assert again.fingerprint != prepared.fingerprint  # the splits are part of it


def test_an_interrupted_run_goes_on(tmp_path: Path, rows: tuple[CaseRow, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = begin(tmp_path / "out")
    prepared.write_case(rows[0], read_case(rows[0]), [], "f")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mrsynth.io.prepared_case.CaseRecord.write", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepared.write_case(rows[1], read_case(rows[1]), [], "f")
    assert [path.name for path in (tmp_path / "out" / "cases").iterdir()] == ["P1"]
    with pytest.raises(CohortError, match="not finished"):
        PreparedCohort.open(tmp_path / "out")
    (tmp_path / "out" / "cases" / ".tmp-killed").mkdir()
    os.utime(tmp_path / "out" / "cases" / ".tmp-killed", (0, 0))
    again = begin(tmp_path / "out")
    assert [again.is_current(row.case, "f") for row in rows] == [True, False, False]
    again.keep(rows[0], "f")
    again.write_case(rows[2], read_case(rows[2]), [], "f")
    again.finish([row.case for row in rows])
    assert again.cases() == PreparedCohort.open(tmp_path / "out").cases() == ["P1", "P3"]
    assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == ["P1", "P3"]


def test_finish_removes_what_the_cohort_no_longer_has(prepared: PreparedCohort, rows: tuple[CaseRow, ...]) -> None:
    again = begin(prepared.folder)
    again.keep(rows[0], "f")
    (prepared.folder / "cases" / "not-ours").mkdir()
    again.finish(["P1", "P2"])
    assert sorted(path.name for path in (prepared.folder / "cases").iterdir()) == ["P1", "not-ours"]


def test_fingerprints(rows: tuple[CaseRow, ...]) -> None:
    row = rows[0]
    base = case_fingerprint(row, ["t1"], STEPS)
    assert base == case_fingerprint(replace(row, split="test", patient="x"), ["t1"], STEPS)
    assert base == case_fingerprint(row, ["t1"], json.loads(json.dumps(STEPS)))
    changed = [
        case_fingerprint(row, ["t1", "t2"], STEPS),
        case_fingerprint(row, ["t1"], STEPS[:1]),
        case_fingerprint(replace(row, b0_tesla=3.0), ["t1"], STEPS),
    ]
    save(row.files["lesion"], (ramp() % 2).astype(np.uint8), LPS)
    changed.append(case_fingerprint(row, ["t1"], STEPS))
    row.files["t2"].unlink()
    assert changed[-1] == case_fingerprint(row, ["t1"], STEPS)
    row.files["t1"].unlink()
    with pytest.raises(InputError, match=r"P1: .*P1_t1"):
        case_fingerprint(row, ["t1"], STEPS)
    assert len({base, *changed}) == 5


def test_what_is_no_prepared_cohort(tmp_path: Path, prepared: PreparedCohort) -> None:
    with pytest.raises(CohortError, match="no such folder"):
        PreparedCohort.open(tmp_path / "no")
    with pytest.raises(CohortError, match=r"no prepared\.json"):
        PreparedCohort.open(tmp_path / "data")
    with pytest.raises(OutputError, match="other files"):
        begin(tmp_path / "data")
    with pytest.raises(CohortError, match="no case 'P9'"):
        prepared.array("P9", "t1")
    with pytest.raises(CohortError, match="no flair in the prepared cohort"):
        prepared.array("P1", "flair")


def test_damage_is_named(prepared: PreparedCohort, rows: tuple[CaseRow, ...]) -> None:
    folder = prepared.folder
    t1 = folder / "cases" / "P1" / "t1.b2nd"
    t1.write_bytes(t1.read_bytes()[:-10])
    with pytest.raises(CohortError, match=r"t1\.b2nd: is damaged"):
        prepared.array("P1", "t1")
    assert not prepared.is_current("P1", prepared.rows["P1"].fingerprint)
    write_chunked(t1, np.zeros((3, 3, 3), np.float32))
    assert not prepared.is_current("P1", prepared.rows["P1"].fingerprint)  # another shape than its record says
    (folder / "cases" / "P2" / "record.json").write_text("{}")
    with pytest.raises(CohortError, match="is not a prepared case"):
        prepared.record("P2")
    (folder / "cases" / "P3" / "record.json").unlink()
    with pytest.raises(CohortError, match="P3 is not usable"):
        PreparedCohort.open(folder)
    index = (folder / "index.csv").read_text()
    for text in ("", index.replace(",P1\n", ",../P1\n"), index.replace(",7,", ",seven,"), index + "x\n"):
        (folder / "index.csv").write_text(text)
        with pytest.raises(CohortError, match=r"index\.csv: is damaged"):
            PreparedCohort.open(folder)
    header = json.loads((folder / "prepared.json").read_text())
    for wrong in ("{", "[]", "{}", json.dumps({"format": 2}), json.dumps({**header, "contrasts": ["../t1"]})):
        (folder / "prepared.json").write_text(wrong)
        with pytest.raises(CohortError, match=r"prepared\.json"):
            PreparedCohort.open(folder)


def test_cases_that_cannot_be_stored(tmp_path: Path, rows: tuple[CaseRow, ...]) -> None:
    prepared = begin(tmp_path / "out")
    case = read_case(rows[0])
    other = replace(case.images["t2"], data=np.zeros((2, 2, 2), np.float32))
    with pytest.raises(CohortError, match="differ in shape"):
        prepared.write_case(rows[0], Case({**case.images, "t2": other}), [], "f")
    with pytest.raises(OutputError, match="cannot name"):
        prepared.write_case(replace(rows[0], case="../x"), case, [], "f")
    assert not (tmp_path / "x").exists()


def test_a_cohort_of_an_older_layout_gets_a_sentence(prepared: PreparedCohort) -> None:
    (prepared.folder / "prepared.json").write_text(json.dumps({"format": 1, "mrsynth": "0.1.0"}))
    with pytest.raises(CohortError, match="earlier version of mrsynth, which this one cannot read") as caught:
        PreparedCohort.open(prepared.folder)
    assert "prepare the cohort again" in str(caught.value)
    with pytest.raises(CohortError, match="earlier version"):
        begin(prepared.folder)


def test_a_cohort_from_before_its_arrays_had_checksums_is_read(prepared: PreparedCohort) -> None:
    header = json.loads((prepared.folder / "prepared.json").read_text())
    del header["mrsynth"], header["made_by"]
    (prepared.folder / "prepared.json").write_text(json.dumps({"format": 2, "mrsynth": "0.1.0", **header}))
    path = prepared.folder / "cases" / "P1" / "record.json"
    record = json.loads(path.read_text())
    del record["mrsynth"]
    for image in record["images"].values():
        del image["sha256"]
    path.write_text(json.dumps(record))
    before = PreparedCohort.open(prepared.folder)
    assert (before.steps, before.fingerprint) == (prepared.steps, prepared.fingerprint)
    assert before.array("P1", "t1").shape == (5, 6, 7)
    assert before.is_current("P1", record["fingerprint"])


def test_every_flipped_bit_is_found(prepared: PreparedCohort) -> None:
    path = prepared.folder / "cases" / "P1" / "t1.b2nd"
    content, random = path.read_bytes(), np.random.default_rng(0)
    assert prepared.damaged() == []
    for place in random.integers(0, len(content), 40):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(CohortError, match=r"t1\.b2nd: is damaged"):
            prepared.array("P1", "t1")
    ((case, why),) = prepared.damaged()
    assert (case, "t1.b2nd: is damaged" in why) == ("P1", True)
    assert not prepared.is_current("P1", prepared.rows["P1"].fingerprint)


@pytest.mark.parametrize("chunks", [(64, 64, 64), (512, 512, 512)])
def test_an_array_that_declares_more_than_its_record_takes_no_memory(prepared: PreparedCohort, chunks) -> None:
    import blosc2

    small = blosc2.zeros((2048, 2048, 2048), dtype=np.float32, chunks=chunks).to_cframe()
    (prepared.folder / "cases" / "P1" / "t1.b2nd").write_bytes(small)
    for read in (lambda: prepared.array("P1", "t1"), lambda: prepared.read("P1", ["t1"], (0, 0, 0), (2, 2, 2))):
        with pytest.raises(CohortError, match="2048×2048×2048 voxels, not 5×6×7"):
            read()


def test_what_a_case_folder_holds_of_others_is_not_replaced(
    prepared: PreparedCohort, rows: tuple[CaseRow, ...]
) -> None:
    notes = prepared.folder / "cases" / "P1" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(OutputError, match="would be overwritten"):
        prepared.write_case(rows[0], read_case(rows[0]), [], "g")
    prepared.finish([])
    assert notes.read_text() == "mine"
    assert sorted(p.name for p in notes.parent.iterdir()) == ["notes.txt"]
    assert [p.name for p in (prepared.folder / "cases").iterdir()] == ["P1"]


def test_nothing_is_written_through_a_link(tmp_path: Path, rows: tuple[CaseRow, ...]) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "out"
    (elsewhere / ".tmp-theirs").mkdir(parents=True)
    (elsewhere / "P9").mkdir()
    (elsewhere / "P9" / "record.json").write_text("{}")
    before = sorted(elsewhere.rglob("*"))
    prepared = begin(folder)
    (folder / "cases").symlink_to(elsewhere, target_is_directory=True)
    for attempt in (
        lambda: begin(folder),
        lambda: prepared.write_case(rows[0], read_case(rows[0]), [], "f"),
        lambda: prepared.finish([]),
    ):
        with pytest.raises(OutputError, match="is a link"):
            attempt()
    (folder / "cases").unlink()
    (folder / "cases").mkdir()
    (folder / "cases" / "P1").symlink_to(elsewhere, target_is_directory=True)
    (folder / "index.csv").symlink_to(elsewhere / "index.csv")
    prepared.write_case(rows[0], read_case(rows[0]), [], "f")  # takes the link's place
    prepared.finish(["P1"])
    assert sorted(elsewhere.rglob("*")) == before
    assert PreparedCohort.open(folder).array("P1", "t1").shape == (5, 6, 7)


def test_other_splits_have_another_fingerprint(prepared: PreparedCohort) -> None:
    as_it_is = {row.patient: row.split for row in prepared.rows.values()}
    assert prepared.with_splits(as_it_is).fingerprint == prepared.fingerprint
    assert prepared.with_splits({**as_it_is, "P1": "val", "P2": "test"}).fingerprint != prepared.fingerprint
