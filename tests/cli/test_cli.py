"""The command line as a user types it: the whole way once, and what bad input gets."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.cli import main
from mrsynth.io import write_image
from mrsynth.phantom import SubjectSettings, simulate_subject
from tiny import tiny_recipe, tiny_scans, write_scan


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run one command line and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["mrsynth", *map(str, words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans, a cohort table, a prepared cohort and a trained run, all made by the command line."""
    folder = tmp_path_factory.mktemp("world")
    recipe = tiny_recipe(folder)
    tiny_scans(folder / "scans")
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "index", folder / "scans", "-o", folder / "cohort.csv") == 0
        assert run(patch, "check", folder / "cohort.csv", "--quiet") == 0
        prepared = folder / "prepared"
        assert (
            run(patch, "prepare", folder / "cohort.csv", "--recipe", recipe, "-o", prepared, "--quiet", "--workers", 1)
            == 0
        )
        assert run(patch, "train", recipe, "--data", prepared, "--out", folder / "run", "--quiet") == 0
    return folder


def test_a_run_holds_what_the_design_says(world: Path):
    files = {str(p.relative_to(world / "run")) for p in (world / "run").rglob("*") if p.is_file()}
    assert {
        "recipe.yaml",
        "run.json",
        "baselines.npz",
        "model/weights.safetensors",
        "model/contract.json",
        "model/card.md",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "log/history.csv",
        "log/learning_curves.png",
    } <= files
    record = json.loads((world / "run" / "run.json").read_text())
    assert record["n_cases"] == {"train": 3, "val": 1, "test": 1}
    assert record["versions"]["torch"]
    assert record["data_fingerprint"]
    assert record["seed"] == 0


def test_one_scan_in_one_synthetic_scan_out(world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    scan = next((world / "scans").glob("*/*t1n.nii.gz"))
    out = tmp_path / "new folder" / "t2.nii.gz"
    assert run(monkeypatch, "synthesize", "--model", world / "run", "--input", f"t1={scan}", "-o", out) == 0
    made, given = nib.load(out), nib.load(scan)
    assert made.shape == given.shape
    assert np.array_equal(made.affine, given.affine)
    assert b"SYNTHETIC" in made.header["descrip"].item()
    data = made.get_fdata()
    assert 0 <= data.min() < data.max() <= 1
    assert np.all(data[given.get_fdata() == 0] == 0)
    sidecar = json.loads((tmp_path / "new folder" / "t2.json").read_text())
    assert sidecar["synthetic"] is True
    assert sidecar["target"] == "t2"


def test_cohort_evaluation_and_report(world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    cohort, folder = world / "cohort.csv", world / "run"
    predictions = folder / "predictions"
    words = ("synthesize", "--model", folder, "--cohort", cohort, "-o", predictions, "--split", "test", "--quiet")
    assert run(monkeypatch, *words) == 0
    assert run(monkeypatch, *words) == 0  # again: kept
    assert run(monkeypatch, "evaluate", "--prediction", predictions, "--cohort", cohort, "--quiet") == 0
    assert "identity" in capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["preset"] == ["osman2022", "default"]
    assert {row["predictor"] for row in metrics["summary"]} == {
        "model", "identity", "training_mean", "table_mean", "table_smooth", "filter", "flat_brain",
    }  # fmt: skip
    assert all({"region", "data_range", "n", "dimension"} <= set(row) for row in metrics["summary"])
    assert metrics["published"]["values"]["psnr"] == [29.45, 1.72]
    assert run(monkeypatch, "report", folder) == 0
    page = (folder / "report.html").read_text()
    assert "not a medical device" in page.lower()
    assert json.loads((predictions / "predictions.json").read_text())["cases"].keys() < {
        p.name for p in (world / "scans").iterdir()
    }


def test_patients_of_the_training_are_never_judged(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder, cohort = shutil.copytree(world / "run", tmp_path / "run"), world / "cohort.csv"
    predictions = folder / "predictions"
    shutil.rmtree(predictions, ignore_errors=True)
    words = ("synthesize", "--model", folder, "--cohort", cohort, "-o", predictions, "--quiet")
    evaluate = ("evaluate", "--prediction", predictions, "--cohort", cohort, "--quiet")
    assert run(monkeypatch, *words, "--split", "train") == 0
    assert run(monkeypatch, *evaluate) == 2
    assert "has not seen" in capfd.readouterr().err
    assert run(monkeypatch, *words) == 0
    assert run(monkeypatch, *evaluate) == 0
    assert json.loads((folder / "metrics.json").read_text())["n_cases"] == 1


def test_evaluate_files(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    scan = next((world / "scans").glob("*/*t1n.nii.gz"))
    other = next((world / "scans").glob("*/*t2w.nii.gz"))
    out = tmp_path / "metrics.json"
    files = ("--prediction", scan, "--reference", other)
    assert run(monkeypatch, "evaluate", *files, "--range", 1000, "-o", out) == 0
    rows = json.loads(out.read_text())["summary"]
    assert {row["region"] for row in rows} == {"volume"}  # no mask: nobody knows where the brain is
    by_hand = np.mean((nib.load(scan).get_fdata() - nib.load(other).get_fdata()) ** 2)
    mse = next(row for row in rows if row["metric"] == "mse" and row["fit"] == "none")
    assert mse["mean"] == pytest.approx(by_hand, rel=1e-5)
    mask = write_scan(nib.load(scan).get_fdata()[::-1, ::-1] > 0, tmp_path / "mask.nii.gz")
    masked = ("evaluate", *files, "--mask", mask, "--range", 1000, "-o", tmp_path / "masked.json")
    assert run(monkeypatch, *masked) == 0
    assert {row["region"] for row in json.loads((tmp_path / "masked.json").read_text())["summary"]} == {"brain"}
    capfd.readouterr()
    same = ("--prediction", scan, "--reference", scan, "--range", 1000, "-o", tmp_path / "same.json")
    assert run(monkeypatch, "evaluate", *same) == 0
    assert "psnr         volume  infinite" in capfd.readouterr().out
    flat = nib.Nifti1Image(np.zeros(nib.load(scan).shape, np.float32), nib.load(scan).affine)
    nib.save(flat, tmp_path / "flat.nii.gz")  # a constant prediction is a bad one, and judged; a reference is refused
    for one, other, rc in (("--prediction", "--reference", 0), ("--reference", "--prediction", 2)):
        words = (one, tmp_path / "flat.nii.gz", other, scan, "--range", 1000, "-o", tmp_path / "flat.json")
        assert run(monkeypatch, "evaluate", *words) == rc
    assert run(monkeypatch, "evaluate", *files, "-o", tmp_path / "no.json") == 2  # float data without a range
    assert run(monkeypatch, "evaluate", *files, "--range", 1, "-o", tmp_path / "no.json") == 2  # in other units
    paper = ("--preset", "osman2022", "--range", 1000, "-o", tmp_path / "no.json")
    assert run(monkeypatch, "evaluate", *files, *paper) == 2  # it chooses slices by the brain
    assert not (tmp_path / "no.json").exists()


def alike(world: Path, folder: Path, *names: str) -> tuple[Path, Path, Path]:
    """A scan, and two folders with copies of it by these names."""
    scan = next((world / "scans").glob("*/*t1n.nii.gz"))
    made, true = folder / "made", folder / "true"
    for one in (made, true):
        one.mkdir()
        for name in names:
            shutil.copy(scan, one / f"{name}.nii.gz")
    return scan, made, true


def test_folders_must_hold_the_same_cases_and_each_once(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    scan, made, true = alike(world, tmp_path, "one")
    out = tmp_path / "metrics.json"
    words = ("evaluate", "--prediction", made, "--reference", true, "--range", 1000, "-o", out)
    (true / ".hidden.nii.gz").write_bytes(b"")
    (true / "notes.nii.txt").write_bytes(b"")
    assert run(monkeypatch, *words) == 0
    out.unlink()
    shutil.copy(scan, true / "two.nii.gz")
    assert run(monkeypatch, *words) == 2
    assert "two.nii.gz has no partner" in capfd.readouterr().err
    (true / "two.nii.gz").rename(made / "two.nii.gz")
    assert run(monkeypatch, *words) == 2
    assert "two.nii.gz has no partner" in capfd.readouterr().err
    (made / "two.nii.gz").unlink()
    for folder in (made, true):
        nib.save(nib.load(scan), folder / "one.nii")
    assert run(monkeypatch, *words) == 2
    assert "mean the case one" in capfd.readouterr().err
    assert not out.exists()


def test_a_pair_that_cannot_be_judged_does_not_stop_the_others(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    _, made, true = alike(world, tmp_path, "good", "broken")
    (made / "broken.nii.gz").write_bytes(b"")
    out = tmp_path / "metrics.json"
    words = ("evaluate", "--prediction", made, "--reference", true, "--range", 1000, "-o", out)
    assert run(monkeypatch, *words) == 1
    assert "broken" in capfd.readouterr().err
    found = json.loads(out.read_text())
    assert found["n_cases"] == 1
    assert [one["case"] for one in found["left_out"]] == ["broken"]
    (made / "good.nii.gz").unlink()
    out.unlink()
    assert run(monkeypatch, *words) == 2  # none is left
    assert not out.exists()


def bad_scans(folder: Path) -> dict[str, Path]:
    """Files that no one can use, by what is wrong with them."""
    ball = np.zeros((24, 28, 20), np.float32)
    ball[6:18, 8:20, 5:15] = np.linspace(100, 900, 12)[:, None, None]
    good = write_scan(ball, folder / "good.nii.gz")
    files = {
        "empty": folder / "empty.nii.gz",
        "text": folder / "text.nii.gz",
        "truncated": folder / "truncated.nii.gz",
        "nan": folder / "nan.nii.gz",
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("this is no image\n")
    files["truncated"].write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    files["four"] = write_scan(np.stack([ball, ball], axis=-1), folder / "four.nii.gz")
    files["constant"] = write_scan(np.full_like(ball, 7), folder / "constant.nii.gz")
    files["flat brain"] = write_scan((ball > 0) * 7.0, folder / "flat.nii.gz")
    files["skull"] = write_scan(ball + 50 + np.arange(20), folder / "skull.nii.gz")
    broken = ball.copy()
    broken[10, 10, 10] = np.nan
    write_scan(broken, files["nan"])
    files["nowhere"] = folder / "nowhere.nii.gz"
    files["garbled"] = folder / "garbled.nii.gz"
    files["garbled"].write_bytes(gzip.compress(b"\x5c\x01\x00\x00" + bytes(400)))
    return files


MESSAGES = {
    "empty": "empty",
    "text": "not a NIfTI file",
    "truncated": "truncated|cut|ends|incomplete",
    "nan": "NaN|not finite",
    "four": "4-D|4 dimensions|dimensions",
    "constant": "constant",
    "flat brain": "constant inside the brain",
    "skull": "not skull-stripped",
    "nowhere": "no such file|does not exist|missing",
    "garbled": "NIfTI",
}


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_bad_scans_get_a_sentence_and_nothing_is_written(
    kind: str, world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    scan = bad_scans(tmp_path)[kind]
    out = tmp_path / "out" / "t2.nii.gz"
    code = run(monkeypatch, "synthesize", "--model", world / "run", "--input", f"t1={scan}", "-o", out)
    said = capfd.readouterr().err
    assert code == 2
    assert "Traceback" not in said
    assert re.search(MESSAGES[kind], said, re.IGNORECASE), said
    assert scan.name in said
    assert not out.exists()
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["synthesize", "--model", "{run}", "--input", "flair={t1}", "-o", "x.nii.gz"], "t1 is missing"),
        (["synthesize", "--model", "{run}", "--input", "t1w_={t1}", "-o", "x.nii.gz"], "did you mean 't1w'"),
        (["synthesize", "--model", "{run}", "--input", "t1", "-o", "x.nii.gz"], "contrast=file"),
        (["synthesize", "--model", "{run}", "-o", "x.nii.gz"], "either --input"),
        (
            ["synthesize", "--model", "{run}", "--input", "t1={t1}", "--input", "brain={other}", "-o", "x.nii.gz"],
            "grid",
        ),
        (["synthesize", "--model", "{scans}", "--input", "t1={t1}", "-o", "x.nii.gz"], "holds no trained model"),
        (["synthesize", "--model", "{run}", "--input", "t1={t1}", "-o", "x.png"], "nii"),
        (["index", "{empty}", "-o", "c.csv"], "no "),
        (["index", "{empty}/nowhere", "-o", "c.csv"], "nowhere"),
        (["index", "{scans}", "-o", "c.csv", "--found", "nowhere.csv"], "nowhere.csv: is not a found table"),
        (["index", "{scans}", "-o", "c.csv", "--derivatives", "fmriprep"], "there is no derivative 'fmriprep'"),
        (["check", "nowhere.csv"], "nowhere.csv"),
        (["prepare", "{cohort}", "--recipe", "osman202", "-o", "p"], "did you mean 'osman2022'"),
        (["prepare", "{cohort}", "--recipe", "osman2022", "-o", "p", "--workers", "1"], "no flair"),
        (["train", "{recipe}", "--data", "{empty}", "-o", "r"], "not a prepared cohort"),
        (["train", "{recipe}", "--data", "{prepared}", "-o", "{run}"], "holds a run already"),
        (["train", "{recipe}", "--data", "{prepared}", "-o", "r", "--set", "train.epoch=1"], "did you mean 'epochs'"),
        (["train", "osman2022", "--data", "{prepared}", "-o", "r"], "prepared by other steps"),
        (
            ["train", "{recipe}", "--data", "{prepared}", "-o", "{run}", "--resume", "--set", "loss={{mae: 1}}"],
            "resumed",
        ),
        (["report", "{empty}"], "metrics"),
        (["evaluate", "--prediction", "{t1}"], "--reference"),
        (["evaluate", "--prediction", "{t1}", "--reference", "{t1}", "-o", "results.csv"], "ends in .json"),
        (["evaluate", "--prediction", "{run}", "--cohort", "{cohort}", "-o", "results.csv"], "ends in .json"),
        (["synthesize", "--model", "{run}", "--input", "t1={t1}", "-o", "{t1}"], "one of the scans"),
        (
            ["synthesize", "--model", "{run}", "--input", "t1={t1}", "--input", "T1w={other}", "-o", "x.nii.gz"],
            "t1 is given twice",
        ),
        (["simulate", "s", "--subjects", "1", "--seed", "1", "--spacing", "0.8"], "equal to 1"),
        (["recipes", "check", "osman2022", "--set", "trian.epochs=1"], "did you mean 'train'"),
    ],
)
def test_mistakes_get_a_sentence_and_an_exit_code(
    words: list[str],
    message: str,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    names = {
        "run": world / "run",
        "scans": world / "scans",
        "cohort": world / "cohort.csv",
        "prepared": world / "prepared",
        "recipe": world / "tiny.yaml",
        "empty": tmp_path / "empty",
        "t1": next((world / "scans").glob("*/*t1n.nii.gz")),
        "other": write_scan(np.arange(125).reshape(5, 5, 5) % 2, tmp_path / "other.nii.gz"),
    }
    before = set(tmp_path.rglob("*"))
    code = run(monkeypatch, *[word.format(**names) for word in words])
    said = capfd.readouterr().err
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    left = set(tmp_path.rglob("*")) - before
    assert not [p for p in left if p.is_file() and p.name != "prepared.json"], left


def test_prepare_resumes_and_lists_what_is_broken(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    scans = shutil.copytree(world / "scans", tmp_path / "scans")
    broken = sorted(scans.glob("*/*t2w.nii.gz"))[2]
    good = broken.read_bytes()
    assert run(monkeypatch, "index", scans, "-o", tmp_path / "c.csv") == 0
    broken.write_bytes(good[:200])
    words = ("prepare", tmp_path / "c.csv", "--recipe", world / "tiny.yaml", "-o", tmp_path / "p", "--quiet")
    assert run(monkeypatch, *words, "--workers", 1, "--stop-at-first") == 2
    assert broken.parent.name in capfd.readouterr().err
    done = len(list((tmp_path / "p" / "cases").iterdir()))
    assert 0 < done < 5
    assert run(monkeypatch, *words, "--workers", 1) == 1
    captured = capfd.readouterr()
    assert f"{4 - done} cases prepared, {done} up to date, 1 failed" in captured.out
    assert broken.parent.name in captured.err
    assert "Not prepared" in (tmp_path / "p" / "qc.html").read_text()
    broken.write_bytes(good)
    assert run(monkeypatch, *words, "--workers", 1) == 0
    assert "1 case prepared, 4 up to date, 0 failed" in capfd.readouterr().out


def test_index_says_why_and_obeys_the_found_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    scans = tiny_scans(tmp_path / "scans", 2)
    one = next(scans.glob("*-00000-*/*t1n.nii.gz"))
    one.with_name("oddity.nii.gz").write_bytes(one.read_bytes())
    words = ("index", scans, "-o", tmp_path / "c.csv")
    assert run(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert "t1  its name says t1n" in said
    assert "oddity.nii.gz: no word of its name is a contrast or a mask" in said
    assert "--found" in said
    table = tmp_path / "c.found.csv"
    text = table.read_text()
    assert "oddity.nii.gz,BraTS-GLI-00000,BraTS-GLI-00000-000,ignore," in text
    table.write_text(text.replace("BraTS-GLI-00000-000,ignore,", "BraTS-GLI-00000-000,flair,"))
    assert run(monkeypatch, *words, "--found", table) == 0
    assert "flair  as the found table says" in capsys.readouterr().out
    before = (tmp_path / "c.csv").read_text()
    assert "oddity.nii.gz" in before
    assert run(monkeypatch, *words, "--found", table) == 0
    assert (tmp_path / "c.csv").read_text() == before
    capsys.readouterr()
    assert run(monkeypatch, *words) == 2
    assert f"give --found {table}" in capsys.readouterr().err
    assert (tmp_path / "c.csv").read_text() == before


def test_simulate_says_what_the_table_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ("--seed", 1, "--spacing", 4, "--quiet")
    for asked, said in ((2, "2 subjects in"), (1, "2 subjects in")):
        assert run(monkeypatch, "simulate", tmp_path / "s", "--subjects", asked, *words) == 0
        assert said in capsys.readouterr().out
    assert len((tmp_path / "s" / "cohort.csv").read_text().splitlines()) == 3


def test_check_tells_a_contrast_that_lies_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    case = simulate_subject(2, SubjectSettings(spacing_mm=3))
    for name in ("t1", "t2", "flair"):
        image = case.images[name]
        affine = image.affine.copy()
        affine[2, 3] += 6 if name == "flair" else 0
        write_image(replace(image, affine=affine, native=None), tmp_path / "P1" / f"{name}.nii.gz")
    assert run(monkeypatch, "index", tmp_path, "-o", tmp_path / "c.csv") == 0
    assert run(monkeypatch, "check", tmp_path / "c.csv", "--quiet") == 0
    said = capsys.readouterr().out
    assert "flair does not lie on t1" in said
    assert "t2 does not lie" not in said
    assert "register and resample" in said


def test_help_loads_nothing_heavy():
    code = (
        "import sys, mrsynth.cli.root; from typer.main import get_command; get_command(mrsynth.cli.root.app); "
        "print(sorted(m for m in ('torch', 'numpy', 'lightning', 'pandas', 'nibabel') if m in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_recipes_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert run(monkeypatch, "recipes", "list") == 0
    assert "osman2022/t2-t1" in capsys.readouterr().out
    assert run(monkeypatch, "recipes", "show", "osman2022/t2-t1", "--set", "train.epochs=7") == 0
    assert "epochs: 7" in capsys.readouterr().out
    assert run(monkeypatch, "recipes", "check", "osman2022") == 0
    assert "1,962,337 parameters" in capsys.readouterr().out
