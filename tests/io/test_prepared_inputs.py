from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.io import CaseRow, PreparedCohort, read_case
from mrsynth.io.prepared import case_fingerprint
from mrsynth.io.prepared_inputs import changed_inputs, describe_inputs
from nifti_factory import LPS, ramp, save


@pytest.fixture
def row(tmp_path: Path) -> CaseRow:
    files = {name: save(tmp_path / "data" / f"{name}.nii.gz", ramp(), LPS) for name in ("t1", "t2")}
    return CaseRow("p", "p", "train", files)


@pytest.fixture
def prepared(tmp_path: Path, row: CaseRow) -> PreparedCohort:
    cohort = PreparedCohort.create(tmp_path / "out", recipe="r", steps=[], contrasts=["t1", "t2"])
    inputs = describe_inputs(row, ["t1", "t2"])
    fingerprint = case_fingerprint(row, ["t1", "t2"], [], inputs)
    assert fingerprint == case_fingerprint(row, ["t1", "t2"], [])
    cohort.write_case(row, read_case(row), [], fingerprint, inputs)
    cohort.finish(["p"])
    return PreparedCohort.open(cohort.folder)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))


def test_the_record_keeps_the_files_a_case_was_made_from(prepared: PreparedCohort, row: CaseRow) -> None:
    inputs = prepared.record("p").inputs
    assert list(inputs) == ["t1", "t2"]
    assert inputs["t1"].path == str(row.files["t1"])
    assert inputs["t1"].size == row.files["t1"].stat().st_size
    assert inputs == describe_inputs(row, ["t1", "t2"])


def test_only_changed_bytes_make_a_case_stale(prepared: PreparedCohort, row: CaseRow) -> None:
    assert prepared.stale() == []
    touch(row.files["t1"])
    assert prepared.stale() == []
    save(row.files["t2"], ramp() + 1, LPS)
    touch(row.files["t2"])
    ((case, why),) = prepared.stale()
    assert (case, why) == ("p", f"changed since: {row.files['t2']}")


def test_unchanged_files_are_not_read_again(
    prepared: PreparedCohort, row: CaseRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrsynth.io.prepared_inputs.file_digest", lambda _: "")
    assert prepared.stale() == []
    touch(row.files["t1"])
    assert len(prepared.stale()) == 1


def test_files_that_have_moved_say_nothing_until_they_are_named_again(prepared: PreparedCohort, row: CaseRow) -> None:
    moved = {name: path.rename(path.with_name(f"moved-{path.name}")) for name, path in row.files.items()}
    assert prepared.stale() == []
    again = CaseRow("p", "p", "train", moved)
    inputs = describe_inputs(again, ["t1", "t2"])
    assert prepared.is_current("p", case_fingerprint(again, ["t1", "t2"], [], inputs))
    prepared.note_inputs("p", inputs)
    assert prepared.record("p").inputs == inputs
    save(moved["t1"], ramp() + 1, LPS)
    touch(moved["t1"])
    assert len(prepared.stale()) == 1


def test_a_case_that_another_preparation_has_redone_is_stale(prepared: PreparedCohort, row: CaseRow) -> None:
    other = PreparedCohort.open(prepared.folder)
    other.write_case(row, read_case(row), [], "another")
    assert prepared.stale() == [("p", "was prepared again, and that preparation was not finished")]


def test_a_volume_of_a_4d_file_changes_with_its_b_values(tmp_path: Path) -> None:
    data = np.stack([ramp(), ramp() + 1], axis=-1)
    file = save(tmp_path / "dwi.nii.gz", data, LPS)
    bval = tmp_path / "dwi.bval"
    bval.write_text("0 1000\n")
    row = CaseRow("p", "p", "train", {"dwi_b1000": tmp_path / "dwi.nii.gz#b=1000"})
    inputs = describe_inputs(row, ["dwi_b1000"])
    assert inputs["dwi_b1000"].path == f"{file}#b=1000"
    assert changed_inputs(inputs) == []
    bval.write_text("1000 0\n")
    touch(bval)
    assert changed_inputs(inputs) == [f"{file}#b=1000"]


def test_a_file_that_cannot_be_read_is_named(row: CaseRow) -> None:
    row.files["t1"].unlink()
    with pytest.raises(InputError, match=r"p: .*t1\.nii\.gz"):
        describe_inputs(row, ["t1"])
    assert list(describe_inputs(row, ["t2"])) == ["t2"]
