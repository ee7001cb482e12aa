from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrsynth.core.errors import CohortError
from mrsynth.core.image import Case, Image
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.batches import Rotated, SliceSet, Slicing
from mrsynth.train.loader import Loader
from mrsynth.train.method import method_of
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe


@pytest.mark.parametrize("in_memory_gb", [0, 1])
def test_every_kept_slice_of_every_case_is_there(tmp_path: Path, in_memory_gb: float) -> None:
    prepared = tiny_prepared(tmp_path / "p")
    samples = SliceSet(prepared, "train", (["t1"], "t2"), 0.1, in_memory_gb)
    assert (samples.memory is None) == (in_memory_gb == 0)
    inputs, target = samples.__getitems__(range(len(samples)))
    cases, ks = samples.index.T[:2]
    assert sorted(set(cases)) == [0, 1, 2]
    for row, (case, k) in enumerate(zip(cases, ks, strict=True)):
        name = prepared.cases("train")[case]
        np.testing.assert_array_equal(inputs[row, 0], prepared.array(name, "t1")[..., k])
        np.testing.assert_array_equal(target[row, 0], prepared.array(name, "t2")[..., k])


def test_two_workers_give_what_none_gives(tmp_path: Path) -> None:
    samples = SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, in_memory_gb=0)
    for alone, shared in zip(Loader(samples, 5, None, 0), Loader(samples, 5, None, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_slices_of_several_sizes_are_refused(tmp_path: Path) -> None:
    cohort = PreparedCohort.create(tmp_path / "p", recipe="r", steps=[], contrasts=["t1", "t2"])
    for name, width in (("a", 4), ("b", 5)):
        ones = np.ones((width, 4, 3), np.float32)
        images = {n: Image(ones, np.eye(4), n) for n in ("t1", "t2")}
        case = Case(images, {"brain": Image(ones, np.eye(4), "brain")})
        cohort.write_case(CaseRow(name, name, "train", {}), case, [], name)
    cohort.finish(["a", "b"])
    with pytest.raises(CohortError, match="differ in size") as caught:
        SliceSet(cohort, "train", (["t1"], "t2"), 0.1, 1)
    assert "4×4 and 5×4" in str(caught.value)


@pytest.mark.parametrize("in_memory_gb", [0, 1])
def test_neighbours_and_planes_from_memory_and_from_disk(tmp_path: Path, in_memory_gb: float) -> None:
    """Channels: all slices of the first input in order, then of the second; the volume's last slice is repeated."""
    prepared = cubes(tmp_path / "p")
    slicing = Slicing(planes=("y", "z", "x"), neighbours=2)
    samples = SliceSet(prepared, "train", (["t1", "t2"], "flair"), 0.05, in_memory_gb, slicing)
    assert (samples.memory is None) == (in_memory_gb == 0)
    inputs, target = samples.__getitems__(range(len(samples)))
    assert inputs.shape[1:] == (10, 8, 8)
    assert [sum(samples.index[:, 2] == axis) for axis in range(3)] == [16, 16, 16]
    for row, (case, k, axis, _) in enumerate(samples.index):
        near = [min(max(k + d, 0), 7) for d in (-2, -1, 0, 1, 2)]
        name = prepared.cases("train")[case]
        volumes = [prepared.array(name, contrast) for contrast in ("t1", "t2", "flair")]
        expected = [np.take(volume, i, axis=axis) for volume in volumes[:2] for i in near]
        np.testing.assert_array_equal(inputs[row], np.stack(expected))
        np.testing.assert_array_equal(target[row, 0], np.take(volumes[2], k, axis=axis))
    some = samples.__getitems__([7, 0, 7])
    assert all(torch.equal(a, b[[7, 0, 7]]) for a, b in zip(some, (inputs, target), strict=True))


def test_every_slice_is_kept_in_memory_once(tmp_path: Path) -> None:
    samples = SliceSet(cubes(tmp_path / "p"), "train", (["t1", "t2"], "flair"), 0.05, 1, Slicing(neighbours=3))
    assert samples.memory is not None
    assert samples.memory.shape == (2 * 8 * 3, 8, 8)
    assert samples.sample_shape == (15, 8, 8)


def test_planes_of_several_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="differ in size") as caught:
        SliceSet(tiny_prepared(tmp_path / "p"), "train", (["t1"], "t2"), 0.1, 1, Slicing(planes=("z", "x")))
    assert "a cube, by pad_or_crop" in str(caught.value)


def cubes(folder: Path) -> PreparedCohort:
    """Two cases of 8³ voxels of noise, all of them brain."""
    cohort = PreparedCohort.create(folder, recipe="r", steps=[], contrasts=["t1", "t2", "flair"])
    for number, name in enumerate("ab"):
        random = np.random.default_rng(number)
        images = {n: Image(random.random((8, 8, 8), np.float32), np.eye(4), n) for n in ("t1", "t2", "flair")}
        case = Case(images, {"brain": Image(np.ones((8, 8, 8), np.uint8), np.eye(4), "brain")})
        cohort.write_case(CaseRow(name, name, "train", {}), case, [], name)
    cohort.finish(["a", "b"])
    return cohort


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
    train_set, val_set = method_of(recipe).samples(prepared)
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
