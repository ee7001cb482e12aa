"""mrsynth synthesize over a cohort whose rows lack inputs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from mrsynth.cli import main
from mrsynth.core.errors import InputError, ModelError, OutputError
from mrsynth.io import CaseRow, Cohort, read_image
from mrsynth.io.predictions import read_predictions
from mrsynth.io.synthetic import why_synthetic
from mrsynth.model import load_contract
from mrsynth.synthesize import MissingInputs, Synthesizer
from mrsynth.synthesize.run import in_words, synthesize_cohort, synthesize_files
from mrsynth.synthesize.write import write_prediction
from tiny import STEPS, tiny_scans
from tiny_run import save_run

ZEROS = MissingInputs("zeros")


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Two cases with T1 and T2, a model of both, and one that makes T2 from T1."""
    tiny_scans(tmp_path / "scans", cases=2)
    save_run(tmp_path / "main", ["t1", "t2"], "flair", 1)
    save_run(tmp_path / "t1-t2", ["t1"], "t2", 2)
    return tmp_path


def cohort(world: Path, *lacking: int) -> Cohort:
    """The table of the two cases; these have no T2."""
    rows = []
    for number, folder in enumerate(sorted((world / "scans").iterdir())):
        files = {"t1": next(folder.glob("*t1n*")), "t2": next(folder.glob("*t2w*"))}
        if number in lacking:
            del files["t2"]
        rows.append(CaseRow(f"p{number}", f"case-{number}", "test", files))
    return Cohort(tuple(rows))


def synthesize(world: Path, *lacking: int, out: str = "out", **options: Any) -> tuple[list[str], list[tuple[str, str]]]:
    return synthesize_cohort(world / "main", cohort(world, *lacking), world / out, **options)


def index(world: Path, out: str = "out") -> dict[str, Any]:
    return dict(json.loads((world / out / "predictions.json").read_text()))


def inputs_of(world: Path, case: str, out: str = "out") -> dict[str, str]:
    sources: Mapping[str, Any] = index(world, out)["cases"][case]["inputs"]
    return {name: found["source"] for name, found in sources.items()}


def voxels(world: Path, case: str, out: str = "out") -> np.ndarray:
    return np.asarray(nib.load(world / out / f"{case}.nii.gz").get_fdata())


def test_a_row_that_lacks_an_input_fails_alone(world: Path):
    made, failed = synthesize(world, 1)
    assert made == ["case-0"]
    assert failed[0][0] == "case-1"
    assert "t2 is missing" in failed[0][1]
    assert "--missing zeros" in failed[0][1]


def test_each_row_is_filled_as_the_policy_says_and_recorded(world: Path):
    assert synthesize(world, 1, missing=ZEROS) == (["case-0", "case-1"], [])
    assert inputs_of(world, "case-0") == {"t1": "scan", "t2": "scan"}
    assert inputs_of(world, "case-1") == {"t1": "scan", "t2": "zeros"}
    imputers = {"t2": world / "t1-t2"}
    assert synthesize(world, 1, out="imputed", missing=MissingInputs(imputers=imputers))[1] == []
    assert inputs_of(world, "case-1", "imputed")["t2"] == "imputed"
    found = index(world, "imputed")["cases"]["case-1"]["inputs"]["t2"]
    assert found["weights_sha256"] == load_contract(world / "t1-t2").weights_sha256
    np.testing.assert_array_equal(voxels(world, "case-0", "imputed"), voxels(world, "case-0"))
    assert not np.array_equal(voxels(world, "case-1", "imputed"), voxels(world, "case-1"))


def test_a_run_names_its_imputers_itself(world: Path):
    synthesize(world, 1, out="asked", missing=MissingInputs(imputers={"t2": world / "t1-t2"}))
    (world / "main" / "imputers.yaml").write_text("t2: ../t1-t2\n")
    assert synthesize(world, 1) == (["case-0", "case-1"], [])
    np.testing.assert_array_equal(voxels(world, "case-1"), voxels(world, "case-1", "asked"))
    # Zeros that were asked for are zeros.
    synthesize(world, 1, missing=ZEROS)
    assert inputs_of(world, "case-1")["t2"] == "zeros"
    save_run(world / "t1-t2", ["t1"], "adc", 3)
    with pytest.raises(ModelError, match="does not make t2"):
        synthesize(world)


def test_what_is_left_out_on_purpose_is_as_if_it_were_not_there(world: Path):
    synthesize(world, 0, 1, missing=ZEROS)
    synthesize(world, out="left", missing=replace(ZEROS, without=("t2",)))
    for case in ("case-0", "case-1"):
        np.testing.assert_array_equal(voxels(world, case), voxels(world, case, "left"))
    synthesize(world, out="first", missing=replace(ZEROS, without=("t1",)))
    assert index(world, "first")["way"]["like"] == "t2"


def test_only_what_was_made_in_the_same_way_is_kept(world: Path):
    def times() -> list[int]:
        return [(world / "out" / f"case-{n}.nii.gz").stat().st_mtime_ns for n in (0, 1)]

    synthesize(world, 1, missing=ZEROS)
    before = times()
    synthesize(world, 1, missing=ZEROS)
    assert times() == before
    synthesize(world, missing=ZEROS)  # the second case has its T2 now
    assert times()[0] == before[0]
    assert times()[1] != before[1]
    before = times()
    synthesize(world, missing=replace(ZEROS, without=("t2",)))
    assert all(now != then for now, then in zip(times(), before, strict=True))


def test_a_single_examination_says_where_its_inputs_came_from(world: Path):
    files = {"T1": cohort(world).rows[0].files["t1"]}
    missing = MissingInputs(imputers={"t2w": world / "t1-t2"})
    synthesize_files(world / "main", files, world / "one.nii.gz", missing=missing)
    sidecar = json.loads((world / "one.json").read_text())
    assert sidecar["made"]["inputs"]["t1"]["source"] == "scan"
    assert sidecar["made"]["inputs"]["t2"]["source"] == "imputed"
    assert sidecar["made"]["like"] == "t1"
    synthesize(world, 0, out="cohort", missing=missing)
    np.testing.assert_array_equal(nib.load(world / "one.nii.gz").get_fdata(), voxels(world, "case-0", "cohort"))


def command(monkeypatch: pytest.MonkeyPatch, world: Path, *words: object) -> int:
    """Run `mrsynth synthesize` with the main model on the first case's T1 and return its exit code."""
    scan = cohort(world).rows[0].files["t1"]
    start = ["mrsynth", "synthesize", "--model", world / "main", "--input", f"t1={scan}", "--quiet"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (*start, *words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_line_fills_gaps(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    out = world / "o.nii.gz"
    assert command(monkeypatch, world, "-o", out) == 2
    assert "t2 is missing" in capsys.readouterr().err
    assert not out.exists()
    assert command(monkeypatch, world, "-o", out, "--missing", "zeros", "--device", "cpu") == 0
    assert json.loads((world / "o.json").read_text())["made"]["inputs"]["t2"]["source"] == "zeros"
    assert command(monkeypatch, world, "-o", out, "--impute", f"t2={world / 't1-t2'}") == 0
    assert json.loads((world / "o.json").read_text())["made"]["inputs"]["t2"]["source"] == "imputed"
    assert command(monkeypatch, world, "-o", out, "--missing", "zeros", "--device", "abacus") == 2
    assert "no device abacus" in capsys.readouterr().err
    for wrong, said in (("t2", "--impute"), ("t5=run", "'t5' is not a contrast"), ("t2=main\x1b[31m", r"\x1b[31m")):
        capsys.readouterr()
        assert command(monkeypatch, world, "-o", out, "--impute", wrong) == 2
        assert said in capsys.readouterr().err


def test_a_mask_that_is_given_counts_more_than_where_the_recipe_looks_for_one(world: Path):
    """The recipe takes it from a CT, which is not there."""
    run = save_run(world / "ct", ["t1"], "t2", 3, [{"brain_mask": {"source": "watershed"}}, *STEPS[1:]])
    scan = next((world / "scans").glob("*/*t1n*"))
    mask = np.zeros(nib.load(scan).shape, np.uint8)
    mask[8:16, 8:20, 6:14] = 1
    nib.save(nib.Nifti1Image(mask, nib.load(scan).affine), world / "mask.nii.gz")
    with pytest.raises(InputError, match="ct"):
        synthesize_files(run, {"t1": scan}, world / "no.nii.gz")
    out = synthesize_files(run, {"t1": scan, "brain": world / "mask.nii.gz"}, world / "out.nii.gz")
    made = nib.load(out).get_fdata()
    assert (made[mask == 0] == 0).all()
    assert (made[mask == 1] != 0).mean() > 0.5


def changed(path: Path) -> None:
    """Make another scan of a file."""
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[::-1].copy(), image.affine), path)


def test_a_scan_that_has_changed_is_predicted_anew(world: Path):
    def times() -> list[int]:
        return [(world / "out" / f"case-{n}.nii.gz").stat().st_mtime_ns for n in (0, 1)]

    table = cohort(world)
    mask = world / "mask.nii.gz"
    scan = nib.load(table.rows[0].files["t1"])
    brain = (scan.get_fdata() > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(brain, scan.affine), mask)
    table = Cohort((replace(table.rows[0], files={**table.rows[0].files, "brain": mask}), table.rows[1]))

    def made() -> list[bool]:
        before = times()
        assert synthesize_cohort(world / "main", table, world / "out")[1] == []
        return [now != then for now, then in zip(times(), before, strict=True)]

    synthesize_cohort(world / "main", table, world / "out")
    assert made() == [False, False]
    assert set(index(world)["cases"]["case-0"]["sha256"]) == {"t1", "t2", "brain"}
    changed(table.rows[1].files["t2"])
    assert made() == [False, True]
    brain[:10] = 0
    nib.save(nib.Nifti1Image(brain, scan.affine), mask)
    assert made() == [True, False]
    assert made() == [False, False]
    # Another file in the table counts, and the same bytes elsewhere do not.
    copied = world / "copied.nii.gz"
    copied.write_bytes(table.rows[1].files["t1"].read_bytes())
    table = Cohort((table.rows[0], replace(table.rows[1], files={**table.rows[1].files, "t1": copied})))
    assert made() == [False, False]
    changed(copied)
    assert made() == [False, True]


def test_a_place_where_nothing_can_be_written_is_told_before_anything_is_computed(
    world: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Synthesizer, "ready", lambda *given: pytest.fail("computed"))
    (world / "file").write_text("")
    scans = cohort(world).rows[0].files
    for out in (world / "made", world / "made.dcm", world / "file" / "made.nii.gz"):
        with pytest.raises(OutputError, match="cannot be written"):
            synthesize_files(world / "main", scans, out)
    for name in ("made.nii.gz", "file"):
        with pytest.raises(OutputError, match="cannot be written"):
            synthesize(world, out=name)
        assert not (world / "made.nii.gz").exists()
    if os.geteuid():  # root may write everywhere
        (world / "closed").mkdir(mode=0o500)
        with pytest.raises(OutputError, match="nothing can be written"):
            synthesize_files(world / "main", scans, world / "closed" / "made.nii.gz")


def test_a_synthetic_input_is_not_called_a_scan(world: Path):
    files = dict(cohort(world).rows[0].files)
    made = world / "t2.nii.gz"
    write_prediction(read_image(files["t2"], "t2"), made)
    synthesize_files(world / "main", {**files, "t2": made}, world / "flair.nii.gz")
    sources = json.loads((world / "flair.json").read_text())["made"]["inputs"]
    assert {name: one["source"] for name, one in sources.items()} == {"t1": "scan", "t2": "synthetic image"}


def test_no_scan_and_no_foreign_file_is_overwritten(world: Path, monkeypatch: pytest.MonkeyPatch):
    table = cohort(world)
    scans = {name: table.rows[0].files[name] for name in ("t1", "t2")}
    before = {path: path.read_bytes() for path in scans.values()}
    link = world / "link.nii.gz"
    link.symlink_to(scans["t2"])
    monkeypatch.chdir(scans["t1"].parent)
    for out in (*scans.values(), Path(scans["t1"].name), link):
        with pytest.raises(OutputError, match="one of the scans"):
            synthesize_files(world / "main", scans, out)
    assert {path: path.read_bytes() for path in scans.values()} == before
    assert not list(scans["t1"].parent.glob("*.json"))
    assert link.is_symlink()
    beside = world / "flair.json"
    beside.write_text('{"EchoTime": 0.1}')
    with pytest.raises(OutputError, match="no sidecar of a synthetic image"):
        synthesize_files(world / "main", scans, world / "flair.nii.gz")
    assert not (world / "flair.nii.gz").exists()
    beside.unlink()
    for _ in range(2):  # our own may be replaced
        synthesize_files(world / "main", scans, world / "flair.nii.gz")

    plain = world / "flair.nii"  # a scan of the same stem: the sidecar speaks of flair.nii.gz
    nib.save(nib.load(scans["t2"]), plain)
    assert why_synthetic(plain) is None
    with pytest.raises(OutputError, match="no synthetic image"):
        synthesize_files(world / "main", scans, plain)
    (world / "flair.nii.gz").unlink()
    assert "flair.json beside it says so" in str(why_synthetic(plain))  # it may be that image, unpacked

    other = world / "other.nii.gz"
    other.write_bytes(scans["t2"].read_bytes())
    with pytest.raises(OutputError, match="no synthetic image"):
        synthesize_files(world / "main", {"t1": scans["t1"], "t2": link}, other)
    assert other.read_bytes() == before[scans["t2"]]

    named = world / "out" / "case-1.nii.gz"
    named.parent.mkdir()
    named.write_bytes(scans["t2"].read_bytes())
    table = Cohort((table.rows[0], replace(table.rows[1], files={**table.rows[1].files, "lesion": named})))
    with pytest.raises(OutputError, match="one of the scans"):
        synthesize_cohort(world / "main", table, world / "out")
    assert named.read_bytes() == before[scans["t2"]]


def test_a_case_that_breaks_in_a_library_fails_alone(world: Path, monkeypatch: pytest.MonkeyPatch):
    def breaks(self: Synthesizer, case: Any, *rest: Any) -> Any:
        if case.name in ("case-0", "one.nii.gz"):
            raise RuntimeError("sizes should be greater than 0")
        return ready(self, case, *rest)

    ready = Synthesizer.ready
    monkeypatch.setattr(Synthesizer, "ready", breaks)
    made, failed = synthesize(world)
    assert made == ["case-1"]
    assert failed[0][0] == "case-0"
    assert "RuntimeError: sizes should be greater than 0" in failed[0][1]
    assert index(world)["failed"] == dict(failed)
    scan = cohort(world).rows[0].files
    (world / "one.nii.gz").write_bytes(scan["t1"].read_bytes())
    with pytest.raises(InputError, match="sizes should be greater than 0"):
        synthesize_files(world / "main", {"t1": world / "one.nii.gz", "t2": scan["t2"]}, world / "o.nii.gz")
    monkeypatch.undo()
    assert synthesize(world)[1] == []
    assert index(world)["failed"] == {}


def test_a_model_that_cannot_be_used_ends_the_run(world: Path):
    weights = world / "t1-t2" / "model" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError):  # the imputer's weights are read when they are first needed
        synthesize(world, 0, 1, missing=MissingInputs(imputers={"t2": world / "t1-t2"}))


def test_a_case_that_fails_after_it_was_made_is_no_longer_listed(world: Path):
    synthesize(world)
    good = cohort(world).rows[1].files["t2"].read_bytes()
    cohort(world).rows[1].files["t2"].write_bytes(good[: len(good) // 2])
    assert [case for case, _ in synthesize(world)[1]] == ["case-1"]
    assert set(index(world)["cases"]) == {"case-0"}
    assert set(index(world)["failed"]) == {"case-1"}
    assert "t2w" in index(world)["failed"]["case-1"]
    # What was asked in another way and failed is forgotten once it is there as before.
    cohort(world).rows[1].files["t2"].write_bytes(good)
    synthesize(world)
    assert [case for case, _ in synthesize(world, 1)[1]] == ["case-1"]
    assert set(index(world)["failed"]) == {"case-1"}
    assert set(read_predictions(world / "out").cases) == {"case-0"}  # what was made of other files is not his
    assert synthesize(world) == (["case-0", "case-1"], [])
    assert index(world)["failed"] == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"cases": {}}', '{"synthetic": true, "cases": []}'])
def test_a_damaged_or_foreign_predictions_json_gets_a_sentence(world: Path, text: str):
    (world / "out").mkdir()
    (world / "out" / "predictions.json").write_text(text)
    with pytest.raises(InputError, match=r"(?s)predictions\.json .*remove it"):
        synthesize(world)
    assert (world / "out" / "predictions.json").read_text() == text
    with pytest.raises(InputError, match=r"(?s)predictions\.json .*remove it"):
        read_predictions(world / "out")


def test_a_folder_without_predictions_gets_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match=r"(?s)holds no predictions.*run mrsynth synthesize --cohort first"):
        read_predictions(tmp_path)


def test_an_input_that_is_given_twice_is_refused(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    files = cohort(world).rows[0].files
    with pytest.raises(InputError, match="Two inputs are t1"):
        synthesize_files(world / "main", {**files, "T1w": files["t2"]}, world / "o.nii.gz")
    imputer = ("--impute", f"t2={world / 't1-t2'}")
    for words in (("--input", f"T1w={files['t2']}"), ("--input", f"t1={files['t2']}"), (*imputer, *imputer)):
        assert command(monkeypatch, world, "-o", world / "o.nii.gz", *words) == 2
        assert "is given twice" in capsys.readouterr().err
    assert not (world / "o.nii.gz").exists()


def test_the_example_of_the_page_runs(world: Path, monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "synthesize.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 1
    (world / "runs").mkdir()
    (world / "runs" / "full").symlink_to(world / "main")
    (world / "patient07").symlink_to(next((world / "scans").iterdir()))
    monkeypatch.chdir(world)
    exec(examples[0], {})
    assert (world / "t1ce.nii.gz").is_file()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_memory_that_ran_out_is_not_blamed_on_the_scans(error: Exception):
    said = r"(?s)scan.nii: the image does not fit into memory.*--memory-gib"
    with pytest.raises(InputError, match=said), in_words("scan.nii"):
        raise error
