from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import InputError, OutputError
from mrsynth.io.predictions import NAME, PredictedImage, Prediction, Predictions, PredictionsRecord, read_predictions
from mrsynth.io.predictions import verified as verified_path
from tiny_predictions import predicted


def asked(name: str, scan: str = "1" * 64) -> Prediction:
    return Prediction(images=[PredictedImage(file=f"{name}.nii.gz")], like="t1", sha256={"t1": scan})


def add(folder: Path, predictions: Predictions, name: str) -> None:
    (folder / f"{name}.nii.gz").write_bytes(name.encode())
    predictions.add(name, asked(name))


def test_two_processes_into_one_folder_lose_nothing(tmp_path: Path):
    """Each knows of the other's cases only what stands in the file."""
    one, two = Predictions(tmp_path, predicted({})), Predictions(tmp_path, predicted({}))
    add(tmp_path, one, "a0")
    add(tmp_path, two, "b0")
    two.fail("a-broken", "why")
    add(tmp_path, one, "a1")
    assert set(read_predictions(tmp_path).cases) == {"a0", "a1", "b0"}
    assert PredictionsRecord.read(tmp_path / NAME).failed == {"a-broken": "why"}


def test_another_model_in_the_same_folder_is_told(tmp_path: Path):
    one = Predictions(tmp_path, predicted({}))
    add(tmp_path, one, "a")
    other = Predictions(tmp_path, predicted({}, weights="1" * 64))
    assert other.record.cases == {}  # made in another way: forgotten
    add(tmp_path, other, "b")
    with pytest.raises(OutputError, match="another process predicts into this folder"):
        add(tmp_path, one, "c")
    assert set(read_predictions(tmp_path).cases) == {"b"}


def test_an_image_that_was_cut_off_or_replaced_is_no_longer_held(tmp_path: Path):
    predictions = Predictions(tmp_path, predicted({}))
    add(tmp_path, predictions, "a")
    assert predictions.holds("a", asked("a"))
    assert not predictions.holds("a", asked("a", "2" * 64))
    image = read_predictions(tmp_path).cases["a"].images[0]
    assert verified_path(tmp_path, image) == tmp_path / "a.nii.gz"
    for content in (b"", b"another"):
        (tmp_path / "a.nii.gz").write_bytes(content)
        assert not predictions.holds("a", asked("a"))
        with pytest.raises(InputError, match=r"a\.nii\.gz is not the image that the model made"):
            verified_path(tmp_path, image)
    (tmp_path / "a.nii.gz").unlink()
    assert not predictions.holds("a", asked("a"))


@pytest.mark.parametrize("file", ["../a.nii.gz", "/a.nii.gz", "a/../../b.nii.gz", "", ".hidden", "a\\b", "1/2/3/4/5/6"])
def test_no_image_lies_out_of_the_folder(tmp_path: Path, file: str):
    content = predicted({"a": [("a.nii.gz", None)]}).content()
    content["cases"]["a"]["images"][0]["file"] = file
    (tmp_path / NAME).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"(?s)predictions\.json is not .*stays in the folder"):
        read_predictions(tmp_path)


BEFORE = {
    "synthetic": True,
    "notice": "x",
    "mrsynth": "0.1.0",
    "recipe": "tiny",
    "run": "run",
    "weights_sha256": "0" * 64,
    "model_inputs": ["t1"],
    "target": "t2",
    "like": "t1",
    "units": "range",
    "range": [0, 1],
    "missing": {"policy": "refuse", "without": [], "imputers": {}},
    "imputers_saw": {"t2": ["p0"]},
    "inference": {"overlap": None, "precision": "32"},
    "cases": {"a": "a.nii.gz"},
    "series": {"b": ["b/1.nii.gz", "b/2.nii.gz"]},
    "sources": {
        "a": {"like": "t1", "inputs": {"t1": {"source": "scan"}}, "sha256": {"t1": "1" * 64}},
        "b": {"like": "t1", "condition": [{"dose": d, "b0_tesla": 3, "seed": 0} for d in (0.1, 0.2)]},
    },
    "failed": {"c": "why"},
}


def test_a_record_of_before_is_read_and_its_images_are_made_anew(tmp_path: Path):
    (tmp_path / NAME).write_text(json.dumps(BEFORE))
    record = read_predictions(tmp_path)
    assert record.version == "0.1.0"
    assert record.cases["a"].sha256 == {"t1": "1" * 64}
    assert [image.dosage.dose for image in record.cases["b"].images if image.dosage] == [0.1, 0.2]
    assert record.way.imputers_saw["t2"].patients == ["p0"]
    assert record.failed == {"c": "why"}
    (tmp_path / "a.nii.gz").touch()
    assert not Predictions(tmp_path, record).holds("a", record.cases["a"])
    unclear = {**BEFORE, "sources": {"b": {"condition": [{"dose": 0.1}]}}}
    (tmp_path / NAME).write_text(json.dumps(unclear))
    with pytest.raises(InputError, match="earlier version"):
        read_predictions(tmp_path)
