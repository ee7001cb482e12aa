from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrsynth.core.errors import CohortError
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.batches import SliceSet
from mrsynth.train.loader import Loader
from mrsynth.train.rotations import Rotated
from mrsynth.train.run import train, training_samples
from tiny import tiny_prepared, tiny_recipe


def test_every_slice_is_there_in_all_four_orientations(tmp_path: Path) -> None:
    samples = SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, 1)
    turned = Rotated(samples)
    assert len(turned) == 4 * len(samples)
    inputs, target = samples.__getitems__(range(len(samples)))
    for number in (0, 5, len(samples) - 1):
        for turns in range(4):
            one, its = turned[4 * number + turns]
            torch.testing.assert_close(one[0], torch.rot90(inputs[number, 0], turns), rtol=0, atol=0)
            torch.testing.assert_close(its[0], torch.rot90(target[number, 0], turns), rtol=0, atol=0)
    # an image that is not symmetric, so that the turns differ
    assert len({turned[k][0].numpy().tobytes() for k in range(4)}) == 4


def test_workers_read_the_same(tmp_path: Path) -> None:
    turned = Rotated(SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, in_memory_gb=0))
    for alone, shared in zip(Loader(turned, 7, None, 0), Loader(turned, 7, None, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_training_alone_is_turned(tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe(tmp_path)), ["samples.rotate90=true", "train.epochs=1"])
    prepared = tiny_prepared(tmp_path / "p")
    train_set, val_set = training_samples(recipe, prepared)
    assert isinstance(train_set, Rotated)
    assert isinstance(val_set, SliceSet)
    contract = train(recipe, prepared, tmp_path / "run")
    assert contract.training.samples.train == 4 * len(train_set.samples)


def test_slices_that_are_not_square_are_refused() -> None:
    class Oblong:
        sample_shape = (2, 4, 6)

    with pytest.raises(CohortError, match="square"):
        Rotated(Oblong())  # type: ignore[arg-type]


def test_a_turn_is_drawn_by_the_order_alone(tmp_path: Path) -> None:
    """No random state of its own: a number always means the same sample."""
    turned = Rotated(SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, 1))
    numbers = [9, 2, 4, 9]
    first, again = (np.stack([turned[n][0].numpy() for n in numbers]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], first[3])
    np.testing.assert_array_equal(turned.__getitems__(numbers)[0].numpy(), first)
