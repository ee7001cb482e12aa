"""The curve that takes T1 after contrast to the grey levels of the T1 before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.seeds import generator
from mrsynth.steps import invert_steps, run_steps
from mrsynth.steps.curve import fit_curve
from small_cases import brain_case

STEPS = [{"brain_mask": {"source": "auto"}}, {"curve": {"reference": "t1", "images": ["t1ce"]}}]


@settings(max_examples=25, deadline=None)
@given(gamma=st.floats(0.6, 1.6), factor=st.floats(0.05, 20), seed=st.integers(0, 50))
def test_a_known_curve_is_found_in_spite_of_enhancement_and_noise(gamma: float, factor: float, seed: int) -> None:
    """10 % of the brain enhances, 2 % noise: tissue comes back to 3 % of its range, and what enhances stays above."""
    rng = generator(seed, "curve")
    before = rng.uniform(0.3, 1.0, 60_000)
    curve = lambda value: factor * value**gamma  # noqa: E731
    after, enhances = before.copy(), np.arange(before.size) < 6000
    after[enhances] *= rng.uniform(1.4, 2.0, enhances.sum())
    noise = rng.normal(0, 0.02, (2, before.size))
    x, y = fit_curve(before + noise[0], curve(np.abs(after + noise[1])))
    found = np.interp(curve(after), x, y)
    calm = ~enhances & (before > 0.35) & (before < 0.95)
    assert np.median(np.abs(found[calm] - before[calm])) < 0.02
    assert (found[enhances] - before[enhances]).mean() > 0.2


def test_the_curve_rises_strictly_and_goes_on_beyond_its_ends() -> None:
    rng = generator(0, "curve")
    before = rng.uniform(100, 900, 20_000)
    x, y = fit_curve(before, 50 + 0.1 * before)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    assert np.interp(50 + 0.1 * 1200, x, y) == pytest.approx(1200, rel=0.02)


def both(change: float = 1.4) -> Case:
    case = brain_case(contrasts=("t1", "t1ce"))
    t1ce = case.images["t1"]
    values = t1ce.data.copy()
    values[8:10, 12:14, 8:10] *= change
    case.images["t1ce"] = t1ce.with_data((3 * np.sqrt(values * 500)).astype(np.float32), "t1ce")
    return case


def test_the_step_brings_t1ce_to_t1_and_is_undone() -> None:
    case = both()
    prepared, records = run_steps(case, STEPS)
    t1, t1ce = (prepared.images[name].data for name in ("t1", "t1ce"))
    brain = prepared.masks["brain"].data > 0
    brain[7:11, 11:15, 7:11] = False
    assert np.median(np.abs(t1ce[brain] - t1[brain])) < 0.02 * np.ptp(t1[brain])
    assert (t1ce - t1)[8:10, 12:14, 8:10].min() > 0
    back = invert_steps(prepared.images["t1ce"], records)
    inside = prepared.masks["brain"].data > 0
    np.testing.assert_allclose(back.data[inside], case.images["t1ce"].data[inside], rtol=1e-4)


def test_without_t1ce_nothing_happens_and_an_inverted_image_is_refused() -> None:
    alone = brain_case(contrasts=("t1", "t2"))
    np.testing.assert_array_equal(run_steps(alone, STEPS)[0].images["t2"].data, alone.images["t2"].data)
    case = brain_case(contrasts=("t1", "t1ce"))
    case.images["t1ce"] = case.images["t1"].with_data(
        np.where(case.images["t1"].data > 0, 1500 - case.images["t1"].data, 0), "t1ce"
    )
    with pytest.raises(InputError, match="does not rise with t1"):
        run_steps(case, STEPS)
