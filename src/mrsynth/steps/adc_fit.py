"""Two fits of S(b) = S0·exp(−b·ADC) over many voxels at once: in the logarithm, and on the signal itself."""

from __future__ import annotations

import numpy as np

STEPS = 50
TOLERANCE = 1e-7
"""The search ends when no voxel's ADC changes by more than this part of the largest ADC, or after so many steps."""
CHUNK = 1 << 17
"""Voxels fitted together: few enough for a processor's cache, many enough for NumPy."""


def noise_of(image: np.ndarray) -> float:
    """Return the standard deviation of the noise in each channel, from air in the corners of a magnitude image.

    In air the mean square is 2σ² (Rayleigh; Gudbjartsson and Patz, MRM 34:910, 1995). The median over the eight
    corners leaves out those that hold tissue; images whose air was set to 0, or to no number, give 0.
    """
    size = [max(1, n // 10) for n in image.shape]
    ends = [(slice(0, n), slice(-n, None)) for n in size]
    corners = [image[x, y, z] for x in ends[0] for y in ends[1] for z in ends[2]]
    return float(np.sqrt(np.median([_mean_square(corner) for corner in corners]) / 2.0))


def _mean_square(values: np.ndarray) -> float:
    """Return the mean of the squares of what is a number; 0 where nothing is."""
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    return float(np.mean(values.astype(np.float64) ** 2)) if values.size else 0.0


def fit_loglinear(b_s_mm2: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """Return the weighted log-linear ADC, unclamped.

    ln S has the variance σ²/S², so that each point weighs S² (Salvador et al., Hum Brain Mapp 24:144, 2005): first
    the measured one, then the one that this fit predicts, which noise correlates less with (Veraart et al.,
    NeuroImage 81:335, 2013).

    Args:
        b_s_mm2: (b,).
        signals: (b, n), at least two above 0 in each voxel; those that are not are left out.

    Returns:
        (n,), mm²/s.
    """
    adc = np.empty(signals.shape[1])
    for start in range(0, signals.shape[1], CHUNK):
        part = signals[:, start : start + CHUNK].astype(np.float64)
        seen = part > 0
        logs = np.log(np.where(seen, part, 1.0))
        slope = _slope(b_s_mm2, logs, np.where(seen, part, 0.0) ** 2)
        # relative to the predicted S0, so that no square over- or underflows
        predicted = np.exp(np.clip(-2.0 * b_s_mm2[:, None] * slope, -600.0, 600.0))
        adc[start : start + CHUNK] = _slope(b_s_mm2, logs, np.where(seen, predicted, 0.0))
    return adc


def _slope(b: np.ndarray, logs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ADC (n,), the weighted least-squares line through logs (b, n) falling with b; 0 where it is open."""
    weights = weights / weights.max(axis=0)
    total = weights.sum(axis=0)
    mean_b = (weights * b[:, None]).sum(axis=0) / total
    mean_log = (weights * logs).sum(axis=0) / total
    away = b[:, None] - mean_b
    spread = (weights * away**2).sum(axis=0)
    return -(weights * away * (logs - mean_log)).sum(axis=0) / np.where(spread > 0, spread, np.inf)


def fit_nonlinear(
    b_s_mm2: np.ndarray, signals: np.ndarray, sigma: float, start: np.ndarray, max_adc_mm2_s: float
) -> np.ndarray:
    """Return the least-squares ADC, found by Levenberg and Marquardt's steps.

    The model is sqrt((S0·exp(−b·ADC))² + σ²), the mean of a magnitude image of noise σ in each channel (Gudbjartsson
    and Patz 1995, eq. 6 to second order): without the floor, noise at high b looks like slow diffusion.

    Args:
        b_s_mm2: (b,).
        signals: (b, n); zero and negative values take part.
        sigma: σ, in the signals' unit.
        start: where the steps begin, (n,), mm²/s.
        max_adc_mm2_s: the ADC stays within twice this on either side, so that a voxel of noise cannot run away.

    Returns:
        (n,), mm²/s.
    """
    adc = np.empty(signals.shape[1])
    for at in range(0, signals.shape[1], CHUNK):
        part = slice(at, at + CHUNK)
        adc[part] = _marquardt(b_s_mm2, signals[:, part].astype(np.float64), sigma, start[part], 2.0 * max_adc_mm2_s)
    return adc


def _marquardt(b: np.ndarray, signals: np.ndarray, sigma: float, start: np.ndarray, limit: float) -> np.ndarray:
    """Return the ADC of `fit_nonlinear` for some voxels. Signal and b are scaled so that both parameters are near 1."""
    scale = np.abs(signals).max(axis=0)
    data, floor, t = signals / scale, (sigma / scale) ** 2, (b * limit)[:, None]
    d = np.clip(start / limit, -1.0, 1.0)
    s0 = np.clip((data * np.exp(-t * d)).sum(axis=0) / np.exp(-2.0 * t * d).sum(axis=0), 0.0, 10.0)
    cost, damping = _cost(data, t, s0, d, floor), np.full(d.shape, 1e-3)
    open_ = np.ones(d.shape, dtype=bool)
    for _ in range(STEPS):
        i = np.flatnonzero(open_)
        decay = np.exp(-t * d[i])
        pure = s0[i] * decay
        model = np.sqrt(pure**2 + floor[i])
        towards = np.divide(pure, model, out=np.ones_like(model), where=model > 0)
        by_s0, by_d, rest = towards * decay, -towards * t * pure, data[:, i] - model
        aa, ab, bb = (by_s0**2).sum(axis=0), (by_s0 * by_d).sum(axis=0), (by_d**2).sum(axis=0)
        ga, gb = (by_s0 * rest).sum(axis=0), (by_d * rest).sum(axis=0)
        aa, bb = aa * (1.0 + damping[i]) + 1e-30, bb * (1.0 + damping[i]) + 1e-30
        determinant = aa * bb - ab**2
        new_s0 = np.clip(s0[i] + (bb * ga - ab * gb) / determinant, 0.0, 10.0)
        new_d = np.clip(d[i] + (aa * gb - ab * ga) / determinant, -1.0, 1.0)
        new_cost = _cost(data[:, i], t, new_s0, new_d, floor[i])
        better = new_cost <= cost[i]
        moved = np.abs(new_d - d[i])
        s0[i], d[i] = np.where(better, new_s0, s0[i]), np.where(better, new_d, d[i])
        cost[i] = np.where(better, new_cost, cost[i])
        damping[i] = np.where(better, damping[i] * 0.2, damping[i] * 10.0)
        open_[i] = np.where(better, moved > TOLERANCE, damping[i] < 1e8)
        if not open_.any():
            break
    return d * limit


def _cost(data: np.ndarray, t: np.ndarray, s0: np.ndarray, d: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Return the sum of squares over b, (n,)."""
    return ((data - np.sqrt((s0 * np.exp(-t * d)) ** 2 + floor)) ** 2).sum(axis=0)
