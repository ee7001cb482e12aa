"""Signal equations of the sequences, one a function. Inputs broadcast: one value a tissue, or a map.

Times in seconds, flip angles in degrees, b in s/mm², diffusion in mm²/s. Signals are relative to a fully relaxed proton
density of one. All pulses are ideal and the magnetisation is in its steady state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Values = np.ndarray


def spoiled_gradient_echo(
    pd: Values, t1_s: Values, t2star_s: Values, *, tr_s: float, te_s: float, flip_deg: float
) -> Values:
    """Return the steady-state signal of a spoiled gradient echo (Ernst and Anderson, Rev Sci Instrum 37:93, 1966).

    Args:
        pd: proton density, relative to cerebrospinal fluid's.
        t1_s: longitudinal relaxation time.
        t2star_s: transverse relaxation time of gradient echoes.
        tr_s: repetition time.
        te_s: echo time.
        flip_deg: flip angle.
    """
    flip = np.deg2rad(flip_deg)
    e1 = np.exp(-tr_s / t1_s)
    return pd * np.sin(flip) * (1.0 - e1) / (1.0 - np.cos(flip) * e1) * np.exp(-te_s / t2star_s)


class Train(NamedTuple):
    """A train of small flip angles.

    Attributes:
        pulses: how many.
        spacing_s: of the pulses.
        flip_deg: of each.
    """

    pulses: int
    spacing_s: float
    flip_deg: float


def mprage(
    pd: Values, t1_s: Values, t2star_s: Values, *, tr_s: float, ti_s: float, te_s: float, train: Train
) -> Values:
    """Return the magnitude of the signal at the centre of the train of an inversion-prepared gradient echo.

    The train drives the magnetisation to M0* with 1/T1* = 1/T1 - ln(cos flip)/spacing; before and after it the
    magnetisation relaxes freely (Deichmann, NeuroImage 12:112, 2000).

    Args:
        pd: proton density, relative to cerebrospinal fluid's.
        t1_s: longitudinal relaxation time.
        t2star_s: transverse relaxation time of gradient echoes.
        tr_s: inversion to inversion.
        ti_s: inversion to the centre of the train.
        te_s: echo time.
        train: number, spacing and flip angle of the echoes.

    Raises:
        ValueError: where train and delays do not fit into tr_s.
    """
    pulses, spacing_s, flip_deg = train
    half = pulses * spacing_s / 2.0
    before, after = ti_s - half, tr_s - ti_s - half
    if min(before, after) < 0.0:
        raise ValueError(f"a train of {2 * half:.3f} s does not fit TI {ti_s} s and TR {tr_s} s")
    flip = np.deg2rad(flip_deg)
    e = np.exp(-spacing_s / t1_s)
    driven = (1.0 - e) / (1.0 - np.cos(flip) * e)
    t1_star_s = 1.0 / (1.0 / t1_s - np.log(np.cos(flip)) / spacing_s)
    e_before, e_after, e_half = np.exp(-before / t1_s), np.exp(-after / t1_s), np.exp(-half / t1_star_s)
    # one period maps M (just before the inversion) to gain·M + rest; its fixed point is the steady state
    gain = -e_before * e_half**2 * e_after
    rest = ((1.0 - e_before) * e_half**2 + driven * (1.0 - e_half**2)) * e_after + (1.0 - e_after)
    steady = rest / (1.0 - gain)
    start = 1.0 - e_before - steady * e_before
    centre = start * e_half + driven * (1.0 - e_half)
    return pd * np.abs(centre) * np.sin(flip) * np.exp(-te_s / t2star_s)


def fast_spin_echo(pd: Values, t1_s: Values, t2_s: Values, *, tr_s: float, te_s: float) -> Values:
    """Return pd·(1 - exp(-TR/T1))·exp(-TE/T2) (Bernstein, Handbook of MRI Pulse Sequences).

    Args:
        pd: proton density, relative to cerebrospinal fluid's.
        t1_s: longitudinal relaxation time.
        t2_s: transverse relaxation time.
        tr_s: repetition time.
        te_s: effective echo time.
    """
    return pd * (1.0 - np.exp(-tr_s / t1_s)) * np.exp(-te_s / t2_s)


def flair(pd: Values, t1_s: Values, t2_s: Values, *, tr_s: float, ti_s: float, te_s: float) -> Values:
    """Return the magnitude of an inversion-recovery spin echo: pd·|1 - 2·exp(-TI/T1) + exp(-TR/T1)|·exp(-TE/T2) (Hajnal
    1992).

    Args:
        pd: proton density, relative to cerebrospinal fluid's.
        t1_s: longitudinal relaxation time.
        t2_s: transverse relaxation time.
        tr_s: repetition time.
        ti_s: inversion time.
        te_s: echo time.
    """
    return pd * np.abs(1.0 - 2.0 * np.exp(-ti_s / t1_s) + np.exp(-tr_s / t1_s)) * np.exp(-te_s / t2_s)


def dwi(
    pd: Values, t1_s: Values, t2_s: Values, adc_mm2_s: Values, *, b_s_mm2: float, tr_s: float, te_s: float
) -> Values:
    """Return a spin echo weighted by exp(-b·ADC) (Stejskal and Tanner 1965; trace image, isotropic).

    Args:
        pd: proton density, relative to cerebrospinal fluid's.
        t1_s: longitudinal relaxation time.
        t2_s: transverse relaxation time.
        adc_mm2_s: apparent diffusion coefficient.
        b_s_mm2: diffusion weighting.
        tr_s: repetition time.
        te_s: echo time.
    """
    return fast_spin_echo(pd, t1_s, t2_s, tr_s=tr_s, te_s=te_s) * np.exp(-b_s_mm2 * adc_mm2_s)


def ct_hu(hu: Values) -> Values:
    """Return the CT number: in HU, attenuation relative to water is the tissue's own value, linear in its fraction."""
    return np.asarray(hu, dtype=float)


def fit_adc_mm2_s(signals: Values, b_s_mm2: Values) -> Values:
    """Return the log-linear least-squares ADC of images at several b.

    Voxels without signal at any b give 0. Negative slopes are kept, so that the estimate is not biased.

    Args:
        signals: positive magnitudes, (b, …).
        b_s_mm2: (b,), at least two different values.

    Returns:
        ADC in mm²/s, of an image's shape.

    Raises:
        ValueError: where all b are the same.
    """
    b = np.asarray(b_s_mm2, float)
    if b.size != len(signals) or np.ptp(b) == 0.0:
        raise ValueError(f"{len(signals)} images need as many b values, at least two different; got {b.tolist()}")
    weights = -(b - b.mean()) / ((b - b.mean()) ** 2).sum()
    seen = np.all(np.asarray(signals) > 0.0, axis=0)
    logs = np.log(np.where(seen, signals, 1.0))
    return np.where(seen, np.tensordot(weights.astype(logs.dtype), logs, axes=1), 0.0).astype(logs.dtype)
