"""Laws of the baselines: what was put in is found again, case by case equals all at once, and state survives a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.metrics import LinearIdentity, TrainingMean
from mrsynth.metrics.baselines import MEAN_GRID


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return ((grid - np.array(centre)) ** 2).sum(-1) <= radius**2


def training_case(seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return inputs t1 (the target is a line of it) and flair (it tells less), target, brain."""
    draw = np.random.default_rng(seed)
    brain = ball((16, 17, 18), (8, 8, 9), 6)
    t1 = draw.random(brain.shape)
    target = 0.25 - 0.5 * t1 + draw.normal(0, 0.01, brain.shape)
    flair = target + draw.normal(0, 0.3, brain.shape)
    return {"flair": flair, "t1": t1}, target, brain


def test_the_line_and_the_nearest_input_are_found() -> None:
    baseline = LinearIdentity()
    for seed in range(3):
        baseline.update(*training_case(seed))
    assert baseline.nearest == "t1"
    assert baseline.line == pytest.approx((-0.5, 0.25), abs=0.005)


def test_case_by_case_is_least_squares_over_all_voxels() -> None:
    baseline, cases = LinearIdentity(), [training_case(seed) for seed in range(3)]
    for case in cases:
        baseline.update(*case)
    x = np.concatenate([inputs["t1"][brain] for inputs, _, brain in cases])
    y = np.concatenate([target[brain] for _, target, brain in cases])
    assert baseline.line == pytest.approx(np.polyfit(x, y, 1), rel=1e-9)


def test_the_identity_baseline_is_a_line_inside_and_zero_outside() -> None:
    inputs, target, brain = training_case(0)
    baseline = LinearIdentity()
    baseline.update(inputs, target, brain)
    found = baseline.predict(inputs, brain)
    slope, offset = baseline.line
    assert found.dtype == np.float32
    assert np.allclose(found[brain], slope * inputs["t1"][brain] + offset, atol=1e-6)
    assert not found[~brain].any()


def test_a_constant_input_gives_the_mean() -> None:
    _, target, brain = training_case(0)
    baseline = LinearIdentity()
    baseline.update({"t1": np.full(brain.shape, 0.3, np.float32)}, target, brain)
    assert baseline.line == pytest.approx((0, target[brain].mean()))


def test_the_mean_of_one_case_in_one_box_is_that_case() -> None:
    draw = np.random.default_rng(0)
    brain = np.zeros([n + 6 for n in MEAN_GRID], bool)
    brain[3:-3, 3:-3, 3:-3] = True
    target = draw.random(brain.shape)
    baseline = TrainingMean()
    baseline.update(target, brain)
    assert np.allclose(baseline.predict(brain), np.where(brain, target, 0), atol=1e-6)


def test_the_mean_moves_and_stretches_with_the_brain() -> None:
    small, large = ball((40, 40, 40), (15, 16, 17), 11), ball((60, 56, 58), (33, 30, 28), 21)
    gradient = np.broadcast_to(np.arange(40)[:, None, None] - 15, small.shape) / 11  # −1 … 1 across the brain along x
    baseline = TrainingMean()
    baseline.update(gradient, small)
    found = baseline.predict(large)
    expected = np.broadcast_to(np.arange(60)[:, None, None] - 33, large.shape) / 21
    core = ball(large.shape, (33, 30, 28), 17)
    assert np.abs(found - expected)[core].max() < 0.05
    assert not found[~large].any()


def test_the_mean_is_over_cases() -> None:
    brain = ball((30, 30, 30), (15, 15, 15), 12)
    baseline = TrainingMean()
    for value in (0.2, 0.4, 0.9):
        baseline.update(np.full(brain.shape, value), brain)
    assert np.allclose(baseline.predict(brain)[brain], 0.5, atol=1e-6)


def test_state_survives_a_file_without_pickle(tmp_path: Path) -> None:
    inputs, target, brain = training_case(0)
    identity, mean = LinearIdentity(), TrainingMean()
    identity.update(inputs, target, brain)
    mean.update(target, brain)
    for name, baseline in (("identity", identity), ("mean", mean)):
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **baseline.to_dict())
    with np.load(tmp_path / "identity.npz", allow_pickle=False) as state:
        assert np.array_equal(LinearIdentity.from_dict(state).predict(inputs, brain), identity.predict(inputs, brain))
    with np.load(tmp_path / "mean.npz", allow_pickle=False) as state:
        assert np.array_equal(TrainingMean.from_dict(state).predict(brain), mean.predict(brain))


def test_wrong_use_is_refused_in_words() -> None:
    inputs, target, brain = training_case(0)
    identity, mean = LinearIdentity(), TrainingMean()
    with pytest.raises(InputError, match="no training case"):
        identity.predict(inputs, brain)
    with pytest.raises(InputError, match="no training case"):
        mean.predict(brain)
    with pytest.raises(InputError, match="mask is empty"):
        mean.update(target, np.zeros_like(brain))
    identity.update(inputs, target, brain)
    with pytest.raises(InputError, match="other inputs"):
        identity.update({"t1": inputs["t1"]}, target, brain)
    with pytest.raises(InputError, match="nearest input is missing"):
        identity.predict({"flair": inputs["flair"]}, brain)
    with pytest.raises(InputError, match="another grid"):
        TrainingMean.from_dict({"sum": np.zeros((2, 2, 2)), "weight": np.zeros((2, 2, 2)), "cases": np.array(1)})
