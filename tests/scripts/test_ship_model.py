"""What is shipped of a run: half the bytes, the same image, no name of a patient."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import load_file

from mrsynth.core.errors import InputError
from mrsynth.io.run import Model
from mrsynth.model import load_contract
from mrsynth.synthesize.run import synthesize_files
from scripts import ship_model
from tiny import trained
from tiny_contrasts import save_any_run, scans_of

HASH = "ab" * 32


@pytest.fixture
def run(tmp_path: Path) -> Path:
    seen = trained(patients={"train": ["Smith", "Jones"], "val": []}, scans=[HASH], members=["smith-run (12)"])
    seen["began"] = {"data_fingerprint": "f", "started": "2026-01-01", "weights_from": "smith-run (12)"}
    return save_any_run(tmp_path / "run", **seen)


def test_a_shipped_model_is_smaller_names_nobody_and_makes_the_same(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship_model, "SMALL", 300)
    (tmp_path / "calibration.json").write_text('{"coverage": 0.9, "patients": 9, "factor": {"t2": [2.0, 1.5]}}')
    (tmp_path / "refused.json").write_text('{"t1-flair": "it is no better"}')
    (tmp_path / "trust.json").write_text('{"t1-t2": 1, "t1+t2-flair": 0.5}')
    words = [run, "any", "--judged", tmp_path, "--licence", "CC BY 4.0", "--out", tmp_path / "shipped"]
    ship_model.main([str(word) for word in words])
    folder = tmp_path / "shipped" / "any"
    whole = "".join(path.read_text() for path in folder.glob("*.[jm]*"))
    assert "mith" not in whole
    assert "Jones" not in whole
    contract = load_contract(folder)
    assert contract.training.scans == [HASH]
    assert contract.training.patients_in("train") == 2
    assert contract.licence == "CC BY 4.0"
    assert contract.refused == {"t1-flair": "it is no better"}
    assert contract.calibration is not None
    trust = load_file(Model.of(folder).weights)["trust"]
    assert trust[0b011, 2] == 0.5  # T1 and T2 → FLAIR
    assert np.sum(trust != 1) == 1
    assert "2 patients" in Model.of(folder).card.read_text()
    kinds = {value.dtype for value in load_file(Model.of(folder).weights).values() if value.size >= ship_model.SMALL}
    assert kinds == {np.dtype(np.float16)}
    scans = scans_of(tmp_path / "scans", "t1")
    for model in (run, folder):
        synthesize_files(model, scans, tmp_path / f"{model.name}.nii.gz")
    one, other = (nib.load(tmp_path / f"{model.name}.nii.gz").get_fdata() for model in (run, folder))
    assert one.any()
    assert np.abs(one - other).max() < 0.01


def test_what_cannot_be_shipped_gets_a_sentence(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shipped" / "any"
    with pytest.raises(InputError, match="without a licence"):
        ship_model.ship(run, folder, licence=" ")
    other = json.loads('{"coverage": 0.9, "patients": 9, "factor": {"adc": [2.0]}}')
    with pytest.raises(InputError, match="another model's"):
        ship_model.ship(run, folder, calibration=other, licence="x")
    monkeypatch.setattr(ship_model, "LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match="too large"):
        ship_model.ship(run, folder, licence="x")
    assert not folder.exists()


def test_what_a_model_does_not_make_has_no_share(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such translation"):
        ship_model.ship(run, tmp_path / "any", licence="CC0", trust={"t1-adc": 0.5})
