from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case
from mrsynth.steps import learn_steps, learns, run_steps
from small_cases import brain_case

BRAIN = {"brain_mask": {}}
STEPS = [BRAIN, {"nyul": {}}]
DECILES = [1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99]


def patients(count: int = 4) -> list[Case]:
    return [brain_case(seed=seed) for seed in range(count)]


def test_percentiles_of_every_case_lie_on_the_landmarks():
    """The definition of the method: after it all histograms share their landmarks."""
    steps = learn_steps(patients, STEPS)
    landmarks = steps[1]["nyul"]["landmarks"]
    assert set(landmarks) == {"t1", "t2"}
    for case in patients(6):
        after, _ = run_steps(case, steps)
        inside = after.masks["brain"].data > 0
        for name, image in after.images.items():
            np.testing.assert_allclose(np.percentile(image.data[inside], DECILES), landmarks[name], atol=5e-3)


def test_landmarks_are_the_mean_of_the_training_cases():
    found = []
    for case in patients():
        after, _ = run_steps(case, [BRAIN])
        p = np.percentile(after.images["t1"].data[after.masks["brain"].data > 0], DECILES)
        found.append((p - p[0]) / (p[-1] - p[0]))
    steps = learn_steps(patients, STEPS)
    np.testing.assert_allclose(steps[1]["nyul"]["landmarks"]["t1"], np.mean(found, axis=0), atol=1e-6)
    assert json.loads(json.dumps(steps)) == steps


def test_a_scanners_gain_and_offset_leave_no_trace():
    steps = learn_steps(patients, STEPS)
    case = brain_case(seed=9, contrasts=("t1",))
    data = case.images["t1"].data
    other = case.images["t1"].with_data(np.where(data > 0, 3.7 * data + 100, 0).astype(np.float32))
    a, _ = run_steps(case, steps)
    b, _ = run_steps(replace(case, images={"t1": other}), steps)
    inside = a.masks["brain"].data > 0
    np.testing.assert_allclose(a.images["t1"].data[inside], b.images["t1"].data[inside], atol=1e-5)


def test_one_case_learned_from_itself_is_scaled_linearly():
    case = brain_case(seed=2, contrasts=("t1",))
    after, _ = run_steps(case, learn_steps(lambda: [case], STEPS))
    inside = after.masks["brain"].data > 0
    raw = case.images["t1"].data[inside]
    low, high = np.percentile(raw, [1, 99])
    np.testing.assert_allclose(after.images["t1"].data[inside], (raw - low) / (high - low), atol=2e-3)


def test_an_image_like_another_learns_no_landmarks_of_its_own():
    steps = learn_steps(patients, [BRAIN, {"nyul": {"like": {"t2": "t1"}}}])
    assert set(steps[1]["nyul"]["landmarks"]) == {"t1"}


def test_half_a_brain_of_zeros_keeps_the_map_sane():
    """A FLAIR's fluid at 0: the first percentiles are one value, and nothing below may be thrown far."""
    case, _ = run_steps(brain_case(contrasts=("flair",)), [BRAIN])
    brain = case.masks["brain"].data > 0
    data = case.images["flair"].data.copy()
    data[brain & (data < np.median(data[brain]))] = 0
    data[0, 0, 0] = -20
    case = replace(case, images={"flair": case.images["flair"].with_data(data)})
    landmarks = {"flair": np.linspace(0, 1, 11).tolist()}
    after, _ = run_steps(case, [{"nyul": {"landmarks": landmarks}}])
    assert after.images["flair"].data.min() > -1
    assert after.images["flair"].data[brain].min() == 0


def test_without_landmarks_the_step_says_what_to_do():
    assert learns(STEPS)
    with pytest.raises(RecipeError, match="has not learned"):
        run_steps(brain_case(), STEPS)


def test_a_contrast_that_the_training_cases_lack_gets_a_sentence():
    steps = learn_steps(lambda: [brain_case(contrasts=("t1",))], STEPS)
    with pytest.raises(InputError, match="no landmarks of t2"):
        run_steps(brain_case(), steps)
