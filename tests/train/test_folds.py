from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import CohortError
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.folds import fold_splits, train_folds
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe


@given(patients=st.integers(3, 40), folds=st.integers(3, 10), seed=st.integers(0, 3))
def test_every_patient_is_tested_once_and_never_by_a_model_that_saw_it(patients: int, folds: int, seed: int):
    names = [f"p{n}" for n in range(patients)]
    if folds > patients:
        with pytest.raises(CohortError, match="cannot be put"):
            fold_splits(names, folds, seed)
        return
    splits = fold_splits(names, folds, seed)
    assert len(splits) == folds
    for name in names:
        assert [split[name] for split in splits].count("test") == 1
        assert [split[name] for split in splits].count("val") == 1
    sizes = [list(split.values()).count("test") for split in splits]
    assert max(sizes) - min(sizes) <= 1
    assert splits == fold_splits(list(reversed(names)), folds, seed)


def test_a_run_a_fold(tmp_path: Path):
    recipe = load_recipe(str(tiny_recipe(tmp_path)), ["train.epochs=1"])
    prepared = tiny_prepared(tmp_path / "p")
    contracts = train_folds(recipe, prepared, tmp_path / "cv", 5)
    tested = [contract.training.patients["test"] for contract in contracts]
    assert sorted(patient for fold in tested for patient in fold) == prepared.patients()
    assert (tmp_path / "cv" / "fold-5" / "model" / "weights.safetensors").exists()
    assert prepared.cases("test") == ["case-4"]  # the cohort itself is unchanged


def test_without_validation_all_others_train_and_two_folds_are_enough():
    splits = fold_splits(["a", "b", "c", "d"], 2, 0, validate=False)
    assert sorted(name for split in splits for name in split if split[name] == "test") == ["a", "b", "c", "d"]
    assert {kind for split in splits for kind in split.values()} == {"train", "test"}


def test_without_validation_the_validation_cases_train_and_the_last_weights_are_kept(tmp_path: Path):
    recipe = load_recipe(str(tiny_recipe(tmp_path)), ["train.epochs=2", "train.validation=false"])
    contract = train(recipe, tiny_prepared(tmp_path / "p"), tmp_path / "run")
    assert contract.training.n_cases == {"train": 4, "val": 0, "test": 1}
    assert (contract.training.best_epoch, contract.training.best_val_loss) == (1, None)
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()
    assert "without a validation split;" in (tmp_path / "run" / "model" / "card.md").read_text(encoding="utf-8")


def test_two_folds_leave_nothing_to_choose_the_epoch_by():
    with pytest.raises(CohortError, match="cannot be put into 2 folds"):
        fold_splits(["a", "b", "c"], 2, 0)
