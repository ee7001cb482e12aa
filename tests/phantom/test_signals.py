"""Signal equations: limits, orders between tissues, and a Bloch simulation as reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.phantom import signals
from mrsynth.phantom.scanner import sites, tissue_signals
from mrsynth.phantom.tissues import tissue_table

times = st.floats(0.05, 5.0)


def bloch_mprage(t1: float, tr: float, ti: float, flip_deg: float, spacing: float, pulses: int) -> float:
    """Play the sequence pulse by pulse until it repeats, with TE = 0 and no transverse magnetisation left over."""
    flip, m = np.deg2rad(flip_deg), 1.0

    def relax(m: float, t: float) -> float:
        return 1.0 + (m - 1.0) * np.exp(-t / t1)

    half = pulses * spacing / 2
    for _ in range(60):
        m = relax(-m, ti - half)
        for pulse in range(pulses):
            if pulse == pulses // 2:
                signal = abs(m) * np.sin(flip)
            m = relax(m * np.cos(flip), spacing)
        m = relax(m, tr - ti - half)
    return float(signal)


@pytest.mark.parametrize("t1", [0.3, 0.83, 1.33, 4.3])
def test_mprage_agrees_with_a_pulse_by_pulse_simulation(t1: float) -> None:
    got = signals.mprage(
        np.array([1.0]), np.array([t1]), np.array([1e9]),
        tr_s=2.0, ti_s=0.9, te_s=0.0, train=signals.Train(160, 0.0065, 9.0),
    )  # fmt: skip
    assert got[0] == pytest.approx(bloch_mprage(t1, 2.0, 0.9, 9.0, 0.0065, 160), rel=5e-3, abs=1e-4)


def test_mprage_refuses_a_train_that_does_not_fit() -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="does not fit"):
        signals.mprage(one, one, one, tr_s=1.0, ti_s=0.2, te_s=0.003, train=signals.Train(160, 0.007, 9.0))


@given(t1=times, tr=st.floats(0.005, 0.5))
def test_the_ernst_angle_gives_the_most_signal(t1: float, tr: float) -> None:
    def at(flip_deg: float) -> float:
        one = np.ones(1)
        return float(signals.spoiled_gradient_echo(one, t1 * one, one, tr_s=tr, te_s=0.0, flip_deg=flip_deg)[0])

    ernst = float(np.rad2deg(np.arccos(np.exp(-tr / t1))))
    assert at(ernst) >= max(at(ernst * 0.9), at(min(ernst * 1.1, 179.0))) - 1e-12


@given(pd=st.floats(0.1, 1.0), t1=times, t2=st.floats(0.01, 2.0), tr=times, te=st.floats(0.0, 0.3))
def test_spin_echoes_never_exceed_the_proton_density(pd: float, t1: float, t2: float, tr: float, te: float) -> None:
    values = np.array([pd]), np.array([t1]), np.array([t2])
    full = signals.fast_spin_echo(*values, tr_s=tr, te_s=te)
    assert 0.0 <= full[0] <= pd
    weighted = signals.dwi(*values, np.array([1e-3]), b_s_mm2=500.0, tr_s=tr, te_s=te)
    assert weighted[0] == pytest.approx(full[0] * np.exp(-0.5))
    assert signals.dwi(*values, np.array([1e-3]), b_s_mm2=0.0, tr_s=tr, te_s=te)[0] == full[0]


@given(t1=times, tr=st.floats(5.0, 12.0))
def test_flair_nulls_the_fluid_at_its_inversion_time(t1: float, tr: float) -> None:
    null_s = t1 * np.log(2.0 / (1.0 + np.exp(-tr / t1)))
    assert signals.flair(np.ones(1), t1 * np.ones(1), np.ones(1), tr_s=tr, ti_s=null_s, te_s=0.1)[0] < 1e-9


@pytest.mark.parametrize("site", ["site-A", "site-B"])
def test_contrasts_order_the_tissues_as_a_radiologist_expects(site: str) -> None:
    profile = sites()[site]
    table = tissue_table(profile.b0_tesla)
    white, grey, fluid, oedema = (table.index(name) for name in ("white", "grey", "csf", "oedema"))
    t1, t2, flair, dwi = (tissue_signals(profile.contrasts[name], table) for name in ("t1", "t2", "flair", "dwi"))
    assert t1[white] > t1[grey] > t1[fluid]
    assert t2[white] < t2[grey] < t2[oedema] < t2[fluid]
    assert flair[oedema] > flair[grey] > flair[white] > 10 * flair[fluid]
    assert dwi[grey] > 2 * dwi[fluid]


def test_3d_sequences_order_the_tissues_too() -> None:
    """li2022's scanner: MPRAGE and SPACE."""
    profile = sites()["site-C15"]
    table = tissue_table(profile.b0_tesla)
    white, grey, fluid = (table.index(name) for name in ("white", "grey", "csf"))
    t1, t2 = (tissue_signals(profile.contrasts[name], table) for name in ("t1", "t2"))
    assert t1[white] > t1[grey] > t1[fluid]
    assert t2[white] < t2[grey] < t2[fluid]
    assert {protocol.slice_mm for protocol in profile.contrasts.values()} == {0}


def test_the_adc_of_noise_free_images_is_the_map_that_was_simulated() -> None:
    adc = np.random.default_rng(0).uniform(0.3e-3, 3e-3, (5, 6, 7))
    b = np.array([0.0, 500.0, 1000.0])
    one = np.ones_like(adc)
    images = np.stack([signals.dwi(one, one, 0.1 * one, adc, b_s_mm2=x, tr_s=5.0, te_s=0.08) for x in b])
    np.testing.assert_allclose(signals.fit_adc_mm2_s(images, b), adc, rtol=1e-10)
    images[0, 0, 0, 0] = 0.0
    assert signals.fit_adc_mm2_s(images, b)[0, 0, 0] == 0.0
    with pytest.raises(ValueError, match="b values"):
        signals.fit_adc_mm2_s(images[:2], np.array([500.0, 500.0]))


def test_ct_numbers_are_the_tissues_own() -> None:
    table = tissue_table(3.0)
    hu = dict(zip(table.names, signals.ct_hu(table.hu), strict=True))
    assert hu["fat"] < 0 < hu["csf"] < hu["white"] < hu["grey"] < hu["venous_blood"] < hu["diploe"] < hu["skull_outer"]
