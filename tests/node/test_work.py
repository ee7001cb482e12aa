"""What the models of a node make of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="pynetdicom (the extra dicom) is not installed")

from mrsynth.core.errors import InputError
from mrsynth.node.settings import NodeSettings
from mrsynth.node.work import load_models, make
from tiny_contrasts import save_any_run
from tiny_run import dicom_study, save_run


def test_a_model_of_any_contrast_makes_each_that_a_study_lacks_and_none_that_it_refuses(tmp_path: Path):
    run = save_any_run(tmp_path / "any", refused={"t1-flair": "A rival does better."})
    settings = NodeSettings(tmp_path / "node", (run,), (), port=0, device="cpu")
    (model,) = models = load_models([run])
    assert [*model.supplies(["t1"])] == ["t2"]
    assert [*model.supplies(["t1", "t2"])] == ["flair"]
    assert model.supplies(["adc"]) == model.supplies(["t1", "t2", "flair"]) == {}
    one = make(dicom_study(tmp_path / "one"), tmp_path / "out" / "1", models, settings)
    assert [result.target for result in one.results] == ["t2"]
    assert len([*(tmp_path / "out" / one.results[0].folder).glob("*.dcm")]) == 20
    two = make(dicom_study(tmp_path / "two", ("t2",), 2), tmp_path / "out" / "2", models, settings)
    assert [result.target for result in two.results] == ["t1", "flair"]
    for result in two.results:
        assert len([*(tmp_path / "out" / result.folder).glob("*.dcm")]) == 20


def test_a_study_in_which_nothing_can_be_made_says_what_is_wanted(tmp_path: Path):
    runs = (save_any_run(tmp_path / "any"), save_run(tmp_path / "run", ["t1", "t2"], "flair", 1))
    settings = NodeSettings(tmp_path / "node", runs, (), port=0, device="cpu")
    study = dicom_study(tmp_path / "all", ("t1", "t2", "flair"))
    whole = make(study, tmp_path / "out", load_models(runs), settings)
    assert [result.target for result in whole.results] == ["flair"]  # of the model that was trained for it
    with pytest.raises(InputError, match="No model has its inputs") as caught:
        make(study, tmp_path / "out", load_models(runs[:1]), settings)
    assert "some of t1, t2, flair" in str(caught.value)


def test_an_adc_that_the_model_fits_counts_as_there(tmp_path: Path):
    """As it does for synthesize: the weighted images are handed on in its place."""
    (model,) = load_models([save_run(tmp_path / "run", ["t1", "adc"], "t2", 1)])
    assert model.supplies(["t1", "dwi_b0", "dwi_b1000"]) == {}
    model = replace(model, contract=model.contract.model_copy(update={"steps": [{"adc": {}}]}))
    assert model.supplies(["t1", "dwi_b0", "dwi_b1000"])["t2"].read == ("t1", "dwi_b0", "dwi_b1000")
    assert model.supplies(["t1", "dwi_b1000"]) == {}
