"""Training refuses data that is not what it should be: stale, another's, or learned from the patients it tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import CohortError
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.io.prepared_inputs import describe_inputs
from mrsynth.io.prepared_records import PreparedRecord
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.steps import run_steps
from mrsynth.train.folds import train_folds
from mrsynth.train.run import train
from small_cases import brain_case
from tiny import SPLITS, tiny_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return load_recipe(str(tiny_recipe(tmp_path_factory.mktemp("recipe"))), ["train.epochs=1"])


@pytest.fixture
def prepared(tmp_path: Path, recipe: Recipe) -> PreparedCohort:
    """The tiny cases, each with a file that it was made from."""
    asked = {"recipe": "tiny", "steps": recipe.prepare, "contrasts": ["t1", "t2"]}
    cohort = PreparedCohort.create(tmp_path / "p", **asked)  # type: ignore[arg-type]
    for seed, split in enumerate(SPLITS):
        case, records = run_steps(brain_case(seed=seed), recipe.prepare)
        source = tmp_path / f"{seed}.nii.gz"
        source.write_bytes(b"scan")
        row = CaseRow(f"p{seed}", f"case-{seed}", split, {"t1": source, "t2": source})
        cohort.write_case(row, case, records, f"f{seed}", describe_inputs(row, ["t1", "t2"]))
    cohort.finish([f"case-{seed}" for seed in range(len(SPLITS))])
    return PreparedCohort.open(cohort.folder)


def test_a_stale_cohort_is_refused(prepared: PreparedCohort, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "1.nii.gz").write_bytes(b"another scan")
    with pytest.raises(CohortError, match="stale: 1 of 5 cases") as caught:
        train(recipe, prepared, tmp_path / "run")
    assert "case-1: changed since" in str(caught.value)
    assert "mrsynth prepare again" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_only_on_the_data_it_began_on(
    prepared: PreparedCohort, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mrsynth.train.run.fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, prepared, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data_fingerprint"] == prepared.fingerprint
    others = prepared.with_splits({"p0": "test", "p1": "val", "p2": "train", "p3": "train", "p4": "train"})
    with pytest.raises(CohortError, match="began on other prepared data"):
        train(recipe, others, tmp_path / "run", resume=True)
    train(recipe, prepared, tmp_path / "run", resume=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 1


def test_steps_that_learned_from_one_split_are_not_put_into_folds(
    prepared: PreparedCohort, recipe: Recipe, tmp_path: Path
) -> None:
    record = PreparedRecord.read(prepared.folder / "prepared.json")
    asked = [{"nyul": {"landmarks": None}}, *prepared.steps]
    steps = [{"nyul": {"landmarks": {"t1": [1, 2]}}}, *prepared.steps]
    learned = PreparedCohort(
        prepared.folder, record.model_copy(update={"asked": asked, "steps": steps}), list(prepared.rows.values())
    )
    with pytest.raises(CohortError, match="cannot be put into folds") as caught:
        train_folds(recipe, learned, tmp_path / "cv", 5)
    assert caught.value.found == "nyul"
    assert not (tmp_path / "cv").exists()
