"""The rule on curves whose future is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mrsynth.train.convergence import LEAST, convergence


def history(losses: np.ndarray, stage: int = 0) -> list[dict[str, float]]:
    return [{"epoch": k, "stage": stage, "val_loss": float(loss)} for k, loss in enumerate(losses)]


def curve(epochs: int, half_life: float, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A loss that falls to 0.1, half of the rest in each half-life."""
    fall = 0.1 + 0.4 * 0.5 ** (np.arange(epochs) / half_life)
    return fall * (1 + noise * np.random.default_rng(seed).standard_normal(epochs))


@pytest.mark.parametrize(
    ("losses", "verdict"),
    [
        (curve(200, 10, 0.002), "converged"),
        (curve(100, 50, 0.002), "falling"),
        (curve(200, 10, 0.2), "unclear"),
        (np.full(20, 0.3), "converged"),
        (np.linspace(0.1, 0.5, 50), "converged"),  # it rises: more epochs lower nothing
        (curve(LEAST - 1, 10), "short"),
    ],
)
def test_the_verdict(losses: np.ndarray, verdict: str) -> None:
    (found,) = convergence(history(losses))
    assert found.verdict == verdict


def test_slope_and_error_are_those_of_the_line() -> None:
    """Of many noisy lines the slopes scatter by the error that is stated."""
    lines = [0.5 - 0.001 * np.arange(100) + 0.01 * np.random.default_rng(k).standard_normal(100) for k in range(300)]
    found = [convergence(history(line))[0] for line in lines]
    slopes = np.array([f.slope for f in found], float)
    assert found[0].epochs == 20
    assert slopes.mean() == pytest.approx(-0.001, abs=3 * slopes.std() / math.sqrt(300))
    assert np.median([f.slope_error for f in found]) == pytest.approx(slopes.std(), rel=0.2)  # type: ignore[type-var]


def test_a_falling_loss_falls_by_what_is_foretold() -> None:
    losses = 1 - 0.001 * np.arange(100)
    (found,) = convergence(history(losses))
    assert found.further_percent == pytest.approx(100 * 20 * 0.001 / losses[-20:].mean())


def test_each_stage_is_judged_by_itself() -> None:
    rows = history(curve(100, 5, 0.001)) + history(5 * curve(50, 50, 0.001), stage=1)
    assert [(c.stage, c.verdict) for c in convergence(rows)] == [(0, "converged"), (1, "falling")]


def test_epochs_without_a_validation_loss_say_nothing() -> None:
    (found,) = convergence(history(np.full(50, np.nan)))
    assert (found.verdict, found.slope) == ("short", None)
