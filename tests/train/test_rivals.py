"""The rivals of a run: fitted on its training split alone, for its own loss, and kept where evaluate reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsynth.io import PreparedCohort
from mrsynth.metrics.rivals import load_rivals
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.rivals import point_loss, write_baselines
from tiny import tiny_prepared, tiny_recipe
from tiny_doses import dose_prepared, dose_recipe


@pytest.mark.parametrize(
    ("recipe", "kind", "local"),
    [
        ("chen2022", "absolute", 100),  # of the last stage: 10 / 0.1
        ("chen2022/decnn", "squared", 0),
        ("osman2022", "squared", 0),
        ("pinetz2023/l1", "absolute", 0),
    ],
)
def test_the_loss_of_a_voxel_is_that_of_the_recipes_last_stage(recipe: str, kind: str, local: float) -> None:
    loss = point_loss(load_recipe(recipe))
    assert loss is not None
    assert (loss.kind, loss.local) == (kind, pytest.approx(local))


@pytest.mark.parametrize(("likelihood", "kind"), [("laplace_nll", "absolute"), ("gaussian_nll", "squared")])
def test_a_likelihood_asks_for_what_its_distribution_has_in_the_middle(likelihood, kind) -> None:
    loss = point_loss(load_recipe("osman2022", ["loss.mse=0", f"loss.{likelihood}=1"]))
    assert loss is not None
    assert (loss.kind, loss.local) == (kind, 0)


def test_a_loss_of_patches_or_features_has_none() -> None:
    assert point_loss(load_recipe("pinetz2023")) is None
    assert point_loss(load_recipe("li2022")) is None or "mse" in load_recipe("li2022").loss


def test_nothing_of_validation_and_test_is_used(tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "prepared")
    recipe = load_recipe(str(tiny_recipe(tmp_path)))
    write_baselines(recipe, prepared, tmp_path / "all.npz")
    read: list[str] = []
    array = PreparedCohort.array

    def spy(self: PreparedCohort, case: str, name: str) -> np.ndarray:
        read.append(case)
        return array(self, case, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedCohort, "array", spy)
        write_baselines(recipe, prepared, tmp_path / "again.npz")
    assert set(read) == set(prepared.cases("train"))
    first, again = (np.load(tmp_path / f"{name}.npz", allow_pickle=False) for name in ("all", "again"))
    assert all(np.array_equal(first[key], again[key]) for key in first.files)  # and the same run has the same rivals


def test_a_recipe_of_doses_has_the_line_between_the_scans(tmp_path: Path) -> None:
    prepared = dose_prepared(tmp_path / "prepared")
    write_baselines(dose_recipe(), prepared, tmp_path / "baselines.npz")
    line = load_rivals(tmp_path / "baselines.npz").dose_line
    assert line is not None
    assert line.k(0.1, 3.0) == pytest.approx(0.1, abs=0.05)
    assert line.k(0.33, 3.0) == pytest.approx(0.33, abs=0.08)
