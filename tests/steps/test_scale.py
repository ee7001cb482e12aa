from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.steps import run_steps
from small_cases import brain_case

BRAIN = {"brain_mask": {}}


def test_percentiles_of_the_brain_become_0_and_1():
    case, records = run_steps(brain_case(), [BRAIN, {"unit": {"lower_percentile": 5, "upper_percentile": 90}}])
    inside = case.masks["brain"].data > 0
    raw, _ = run_steps(brain_case(), [BRAIN])
    for name, image in case.images.items():
        low, high = np.percentile(raw.images[name].data[inside], [5, 90])
        expected = np.clip((raw.images[name].data - low) / (high - low), 0, 1)
        np.testing.assert_allclose(image.data, expected, atol=1e-6)
        clipped = np.count_nonzero((raw.images[name].data[inside] < low) | (raw.images[name].data[inside] > high))
        assert records[1]["images"][name]["clipped"] == clipped
        assert clipped == pytest.approx(0.15 * np.count_nonzero(inside), rel=0.02)


def test_the_brains_own_minimum_and_the_volumes():
    case = run_steps(brain_case(contrasts=("t1",)), [BRAIN])[0]
    inside = case.masks["brain"].data > 0
    of_brain, _ = run_steps(case, [{"unit": {"lower_percentile": 0}}])
    of_volume, _ = run_steps(case, [{"unit": {}}])
    assert of_brain.images["t1"].data[inside].min() == 0
    assert of_volume.images["t1"].data[inside].min() > 0.1
    assert of_volume.images["t1"].data.min() == 0


def test_without_the_clip_values_go_on_beyond_1():
    steps = [BRAIN, {"unit": {"upper_percentile": 50, "clip": False}}]
    case, records = run_steps(brain_case(contrasts=("t1",)), steps)
    assert case.images["t1"].data.max() > 1.1
    assert records[1]["images"]["t1"]["clipped"] == 0


def test_q95_of_the_brain_is_1_and_background_stays_0():
    case, _ = run_steps(brain_case(), [BRAIN, {"q95": {}}])
    inside = case.masks["brain"].data > 0
    for image in case.images.values():
        assert np.percentile(image.data[inside], 95) == pytest.approx(1, abs=1e-6)
        assert np.all(image.data[~inside] == 0)


def test_q95_after_values_were_shifted_is_refused():
    case = run_steps(brain_case(contrasts=("t1",)), [BRAIN])[0]
    below = replace(case, images={"t1": case.images["t1"].with_data(case.images["t1"].data - 5000)})
    with pytest.raises(InputError, match="no positive scale") as error:
        run_steps(below, [{"q95": {}}])
    assert "before" in str(error.value)
