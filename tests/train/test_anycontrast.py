"""Training for every subset of contrasts and every other one: what is drawn, what is learned, what a model takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts.ship_model import ship

from mrsynth.core.errors import InputError, ModelError, RecipeError
from mrsynth.io import PreparedCohort, read_case
from mrsynth.model import load_contract, load_weights
from mrsynth.recipes.recipe import load_recipe
from mrsynth.synthesize import load_model
from mrsynth.train.anycontrast import draw_tasks, with_roles
from mrsynth.train.method import method_of
from mrsynth.train.run import train
from tiny_contrasts import CHANGES, CONTRASTS, contrasts_cohort, contrasts_prepared, contrasts_recipe

TWO = ("contrasts=[t1, t2]", "net.settings={contrasts: 2, slices: 3, widths: [16, 32]}", "method.error=0.1")

HAS = st.lists(st.booleans(), min_size=4, max_size=4).filter(lambda row: sum(row) > 1)


@settings(max_examples=50, deadline=None)
@given(
    there=st.lists(HAS, min_size=1),
    seed=st.integers(0, 99),
)
def test_a_target_is_there_and_something_else_goes_in(there: list[list[bool]], seed: int) -> None:
    has = torch.tensor(there)
    target, given_ = draw_tasks(has, 0.5, torch.Generator().manual_seed(seed))
    rows = torch.arange(len(has))
    assert has[rows, target].all()
    assert given_.any(dim=1).all()
    assert not given_[rows, target].any()
    assert not (given_ & ~has).any()


def test_every_subset_and_target_is_drawn() -> None:
    has = torch.ones((4000, 4), dtype=torch.bool)
    target, given_ = draw_tasks(has, 0.6, torch.Generator().manual_seed(0))
    found = {(int(t), *map(bool, g)) for t, g in zip(target, given_, strict=True)}
    assert len(found) == 4 * 7


def test_the_target_is_hidden_and_told() -> None:
    images = torch.rand((2, 3, 1, 4, 4))
    seen = with_roles(images, torch.tensor([1, 2]), torch.tensor([[True, False, True], [True, False, False]]))
    parts = seen.reshape(2, 3, 2, 4, 4)
    assert parts[:, :, 1, 0, 0].tolist() == [[1, -1, 1], [1, 0, -1]]
    assert torch.equal(parts[0, 0, 0], images[0, 0, 0])
    assert not parts[0, 1, 0].any()
    assert not parts[1, 1:, 0].any()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    train(contrasts_recipe(), contrasts_prepared(folder), folder / "run")
    return folder / "run"


def test_a_contrast_that_a_case_lacks_is_background(run: Path) -> None:
    prepared = contrasts_prepared(run.parent / "again")
    assert prepared.record("case-1").lacking(prepared.contrasts) == ["flair"]
    assert not prepared.array("case-1", "flair").any()
    assert prepared.array("case-0", "flair").any()
    assert prepared.record("case-0").lacking(prepared.contrasts) == []


def test_it_learns_what_no_polynomial_knows(tmp_path: Path) -> None:
    """One contrast is the other, moved by two voxels: voxel by voxel nothing is known of it. The scale of the error
    follows the error down."""
    method = method_of(contrasts_recipe("method.contrasts=[t1, t2]", "task={inputs: [t1], target: t2}", *TWO))
    module = method.module()
    random = torch.Generator().manual_seed(0)
    t1 = torch.nn.functional.avg_pool2d(torch.rand((8, 3, 35, 35), generator=random), 4, 1) * 2 - 0.5
    images = torch.cat([t1, t1.roll(2, dims=3)], dim=1)
    brain, optimiser = torch.ones((8, 1, 32, 32)), torch.optim.Adam(module.net.parameters(), 3e-3)
    losses = []
    for step in range(120):
        optimiser.zero_grad()
        value = module._value(images, brain, step, None)
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    seen = with_roles(
        images.reshape(8, 2, 3, 32, 32), torch.ones(8, dtype=torch.long), torch.tensor([[True, False]] * 8)
    )
    with torch.no_grad():
        image, error = module.net.eval().image_and_error(seen)
    off = (image - images[:, 4:5]).abs()[..., 4:-4, 4:-4].mean()
    assert 0.4 * off < error[..., 4:-4, 4:-4].mean() < 2.5 * off


def test_the_contract_says_what_it_makes(run: Path) -> None:
    contract = load_contract(run)
    assert contract.contrasts == list(CONTRASTS)
    assert contract.flags
    assert set(contract.seen) == set(CONTRASTS)


def test_any_contrast_comes_from_any_others_and_is_near_the_truth(run: Path) -> None:
    """The tiny contrasts are functions of one map, so that even the polynomial finds them."""
    row = contrasts_cohort(run.parent / "truth").rows[4]
    case = read_case(row)
    prepared = PreparedCohort.open(run.parent / "prepared")
    for target, inputs in (("t2", ("t1",)), ("t1", ("t2", "flair")), ("flair", ("t1", "t2"))):
        model = load_model(run, "cpu", target=target)
        assert model.contract.target == target
        image = model(replace(case, images={name: case.images[name] for name in inputs}))
        expected, brain = prepared.array("case-4", target), prepared.array("case-4", "brain") > 0
        assert image.data.shape == case.images["t1"].data.shape
        assert np.abs(image.data[image.data > 0].mean() - expected[brain].mean()) < 0.05
    with pytest.raises(ModelError, match="does not make t1ce"):
        load_model(run, "cpu", target="t1ce")


def test_the_target_itself_is_no_input(run: Path) -> None:
    row = contrasts_cohort(run.parent / "own").rows[4]
    case = read_case(row)
    alone = load_model(run, "cpu", target="t2")
    both = alone(case)
    without = alone(replace(case, images={name: case.images[name] for name in ("t1", "flair")}))
    np.testing.assert_array_equal(both.data, without.data)
    with pytest.raises(InputError):
        alone(replace(case, images={"t2": case.images["t2"]}))


def test_training_is_repeatable_to_the_bit(run: Path, tmp_path: Path) -> None:
    recipe = contrasts_recipe("train.epochs=1")
    prepared = contrasts_prepared(tmp_path)
    first, second = (train(recipe, prepared, tmp_path / name).weights_sha256 for name in ("a", "b"))
    assert first == second


def test_the_network_begins_at_the_polynomial_that_was_fitted(tmp_path: Path) -> None:
    method = method_of(contrasts_recipe())
    method.samples(contrasts_prepared(tmp_path))
    net = method.module().net
    assert net.mix[0b001, 1].any()
    assert not net.leave.weight.any()


def test_another_network_or_task_is_refused() -> None:
    with pytest.raises(RecipeError, match="do not fit the way of training any_contrast"):
        load_recipe("anycontrast", [*CHANGES, "task={inputs: [t1], target: t2}"])


def test_fine_tuning_from_a_shipped_model_gets_no_worse_in_its_first_epoch(run: Path, tmp_path: Path) -> None:
    """Judged by the loss on the validation case, of the same tasks for both networks."""
    ship(run, tmp_path / "shipped", licence="none: a test")
    recipe = contrasts_recipe("train.epochs=1", "train.learning_rate=0.0001")
    prepared = contrasts_prepared(tmp_path)
    train(recipe, prepared, tmp_path / "tuned", weights_from=tmp_path / "shipped")
    method = method_of(recipe)
    val = method.samples(prepared, validated=True)[1]
    assert val is not None
    block = np.empty((len(val), *val.sample_shape), np.float32)
    val.fill(block, range(len(val)))
    images = torch.from_numpy(block)

    def loss(folder: Path) -> float:
        module = method.module()
        load_weights(folder, load_contract(folder), module.net)
        with torch.no_grad():
            return float(np.mean([module._value(images[:, :-1], images[:, -1:], seed, None) for seed in range(8)]))

    assert loss(tmp_path / "tuned") < 1.01 * loss(run)
