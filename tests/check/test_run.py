"""What `mrsynth index` and `mrsynth check` print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mrsynth.check.run import check, likeness_problems
from mrsynth.index.run import describe, index
from mrsynth.io import read_image
from mrsynth.io.contract import Contract
from mrsynth.likeness import measure, seen_in
from mrsynth.steps import run_steps
from mrsynth.synthesize.dose import Dosage
from mrsynth.synthesize.write import write_prediction
from nifti_factory import brats, save
from small_cases import brain_case
from tiny import STEPS, tiny_scans, trained


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


def contract(inputs: tuple[str, ...] = ("t1",)) -> Contract:
    """What a model says that was trained on tiny cases."""
    done = [run_steps(brain_case(seed=seed), STEPS)[0] for seed in range(4)]
    cases = [({name: case.images[name].data for name in inputs}, case.masks["brain"].data > 0) for case in done]
    known = {"recipe": "tiny", "inputs": list(inputs), "target": "flair", "net": "unet2d", "net_settings": {}}
    rest = {"patch": None, "flags": False, "steps": STEPS, "range": (0, 1), "intensity": []}
    seen = seen_in(measure(*case) for case in cases)
    return Contract.model_validate({**known, **rest, **trained(), "seen": seen, "weights_sha256": "0" * 64})


def test_a_model_at_hand_says_what_is_unlike_its_training(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    contract().write(tmp_path / "run" / "model" / "contract.json")
    index(tiny_scans(tmp_path / "scans"), tmp_path / "c.csv")
    assert not any("in the training" in line for line in check(tmp_path / "c.csv", tmp_path / "run")[0])
    path = next((tmp_path / "scans").rglob("*t1n.nii.gz"))
    image = read_image(path, "t1")
    hot = image.data.copy()
    hot[np.unravel_index(np.argmax(hot), hot.shape)] *= 30
    save(path, hot, np.asarray(image.affine))
    lines, errors = check(tmp_path / "c.csv", tmp_path / "run")
    assert errors == 1
    assert any(line.startswith("error") and "t1 has other values than in the training" in line for line in lines)


def test_an_input_that_is_not_there_and_one_that_cannot_be_prepared_are_told() -> None:
    case = brain_case(seed=5)
    (problem,) = likeness_problems(contract(("t1", "t2")), replace(case, images={"t1": case.images["t1"]}))
    assert problem.severity == "warning"
    assert "no t2 for the model tiny" in problem.what
    nothing = case.images["t1"].with_data(np.zeros_like(case.images["t1"].data))
    (problem,) = likeness_problems(contract(), replace(case, images={"t1": nothing}))
    assert problem.severity == "error"
