"""Whether a training has converged: the slope of its validation loss over the last fifth of each stage.

The rule. A straight line is fitted to the validation losses of the stage's last fifth of epochs, at least LEAST of
them. Its slope's standard error counts neighbouring epochs as one where their residuals are alike (lag-1
autocorrelation ρ: by (1 + ρ)/(1 − ρ), Zwiers & von Storch 1995, J Climate 8:336). The stage has *converged* where, with
95 % confidence, as many epochs again would lower the loss by less than ENOUGH of its mean; it is *falling* where they
would lower it by more; otherwise its losses scatter too much to say: *unclear*. A stage of fewer epochs is too *short*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mrsynth.io.run import Convergence, Verdict

ENOUGH = 0.01
"""A further decrease below this share of the loss counts as none."""

LEAST = 5
LAST = 0.2
CONFIDENT = 1.96
"""Standard errors on each side of a 95 % interval."""


def convergence(rows: Sequence[Mapping[str, float]]) -> list[Convergence]:
    """Return how each stage of a training ended.

    Args:
        rows: the history, a row an epoch, with `val_loss` and `stage`; epochs without a validation loss are left out.
    """
    stages = sorted({int(row.get("stage", 0)) for row in rows})
    return [_of_stage(stage, [r["val_loss"] for r in rows if int(r.get("stage", 0)) == stage]) for stage in stages]


def _of_stage(stage: int, losses: Sequence[float]) -> Convergence:
    """Return how one stage ended."""
    finite = np.array([loss for loss in losses if math.isfinite(loss)])
    last = finite[-max(LEAST, math.ceil(LAST * len(finite))) :]
    if len(last) < LEAST:
        return Convergence(stage=stage, epochs=len(last), verdict="short")
    slope, error = _line(last)
    mean = float(np.abs(last).mean()) or 1.0
    low, high = (len(last) * (-slope + side * CONFIDENT * error) / mean for side in (-1, 1))
    verdict: Verdict = "converged" if high < ENOUGH else "falling" if low > ENOUGH else "unclear"
    return Convergence(
        stage=stage,
        epochs=len(last),
        slope=slope,
        slope_error=error,
        further_percent=100 * len(last) * -slope / mean,
        further_percent_95=(100 * low, 100 * high),
        verdict=verdict,
    )


def _line(losses: np.ndarray) -> tuple[float, float]:
    """Return the slope of the least-squares line through losses, per epoch, and its standard error."""
    n = len(losses)
    epochs = np.arange(n) - (n - 1) / 2
    slope = float(epochs @ losses / (epochs @ epochs))
    rest = losses - losses.mean() - slope * epochs
    square = float(rest @ rest)
    if square == 0:
        return slope, 0.0
    alike = min(max(float(rest[:-1] @ rest[1:]) / square, 0.0), 0.9)
    return slope, math.sqrt(square / (n - 2) / float(epochs @ epochs) * (1 + alike) / (1 - alike))
