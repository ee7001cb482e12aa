"""What holds for every intensity step: it can be undone, keeps float32, and acts on the images that it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.steps import complete_steps, invert_steps, parse_steps, run_steps
from small_cases import ball, brain_case

LANDMARKS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
STEPS: dict[str, dict[str, Any]] = {
    "zscore": {"zscore": {}},
    "min_max": {"unit": {"lower_percentile": 0, "upper_percentile": 100, "clip": False}},
    "percentile": {"unit": {"lower_percentile": 2, "upper_percentile": 98, "clip": False}},
    "q95": {"q95": {}},
    "nyul": {"nyul": {"landmarks": {"t1": LANDMARKS, "t1ce": LANDMARKS}}},
    "equalize": {"equalize": {}},
    "radiometric": {"radiometric": {}},
    "window": {"window": {"low": 0, "high": 1e6}},
}


def case_of(values: np.ndarray, contrasts: tuple[str, ...] = ("t1", "t1ce")) -> Case:
    """A case with a brain mask whose images hold the values inside the brain, 0 outside."""
    inside = ball((24, 28, 20), 8)
    data = np.zeros(inside.shape, np.float32)
    data[inside] = np.resize(values, np.count_nonzero(inside)).astype(np.float32)
    images = {name: Image(data, np.eye(4), name) for name in contrasts}
    return Case(images, {"brain": Image(inside.astype(np.uint8), np.eye(4), "brain")}, {"case": "drawn"})


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    top=st.floats(0.5, 1e4),
    power=st.floats(0.2, 4),
    levels=st.sampled_from([0, 3, 40]),
    zeros=st.sampled_from([0.0, 0.3, 0.7]),
    hot=st.booleans(),
)
def test_every_step_inverts(name: str, seed: int, top: float, power: float, levels: int, zeros: float, hot: bool):
    """Skewed, quantised, with a run of zeros, with one hot voxel: back to 1e-5 of the image's range."""
    rng = generator(seed, "intensities")
    values = rng.uniform(0.05, 1, 1500) ** power
    values = np.round(values * levels) / levels if levels else values
    values[: int(zeros * values.size)] = 0
    values[-1] = 1 if not hot else 50
    case = case_of(top * values)
    after, records = run_steps(case, [STEPS[name]])
    for contrast, image in after.images.items():
        assert image.data.dtype == np.float32
        before = case.images[contrast].data
        back = invert_steps(image, records)
        assert back.data.dtype == np.float32
        np.testing.assert_allclose(back.data, before, atol=1e-5 * float(before.max()))
    assert json.loads(json.dumps(records)) == list(records)


@pytest.mark.parametrize("name", STEPS)
def test_input_is_left_untouched_and_the_result_is_the_same_each_time(name: str):
    case = run_steps(brain_case(contrasts=("t1", "t1ce")), [{"brain_mask": {}}])[0]
    before = {contrast: image.data.copy() for contrast, image in case.images.items()}
    first, records = run_steps(case, [STEPS[name]])
    second, again = run_steps(case, [STEPS[name]])
    for contrast in case.images:
        np.testing.assert_array_equal(case.images[contrast].data, before[contrast])
        np.testing.assert_array_equal(first.images[contrast].data, second.images[contrast].data)
    assert records == again


@pytest.mark.parametrize("name", ["zscore", "min_max", "percentile", "q95", "nyul", "equalize"])
def test_like_keeps_two_images_comparable(name: str):
    """With `like` both go through one map: voxels that were equal stay equal, and so does their order."""
    case = run_steps(brain_case(contrasts=("t1", "t1ce")), [{"brain_mask": {}}])[0]
    data = case.images["t1ce"].data.copy()
    lesion = ball(data.shape, 3)
    data[lesion] *= 1.5
    case = replace(case, images={**case.images, "t1ce": case.images["t1ce"].with_data(data)})
    (step, chosen), *_ = STEPS[name].items()
    steps = [{step: {**chosen, "like": {"t1ce": "t1"}}}]
    after, records = run_steps(case, steps)
    t1, t1ce = after.images["t1"].data, after.images["t1ce"].data
    np.testing.assert_array_equal(t1[~lesion], t1ce[~lesion])
    assert np.all(t1ce[lesion] > t1[lesion])
    np.testing.assert_allclose(invert_steps(after.images["t1ce"], records).data, data, atol=1e-5 * data.max())
    # A synthetic T1ce goes back to the units of the T1 that the patient has.
    alone, of_t1 = run_steps(replace(case, images={"t1": case.images["t1"]}), steps)
    np.testing.assert_array_equal(alone.images["t1"].data, t1)
    back = invert_steps(after.images["t1ce"], of_t1, like="t1")
    np.testing.assert_allclose(back.data, data, atol=1e-5 * data.max())


def test_physical_units_are_left_alone_unless_named():
    case = run_steps(brain_case(contrasts=("t1", "adc")), [{"brain_mask": {}}])[0]
    after, records = run_steps(case, [{"zscore": {}}])
    np.testing.assert_array_equal(after.images["adc"].data, case.images["adc"].data)
    assert records[0]["images"]["adc"] == {}
    np.testing.assert_array_equal(invert_steps(after.images["adc"], records).data, case.images["adc"].data)
    named, _ = run_steps(case, [{"zscore": {"contrasts": ["adc"]}}])
    np.testing.assert_array_equal(named.images["t1"].data, case.images["t1"].data)
    assert abs(named.images["adc"].data[case.masks["brain"].data > 0].mean()) < 1e-5


def test_contrasts_a_case_does_not_have_are_passed_over():
    """At inference the target is missing."""
    case = run_steps(brain_case(contrasts=("t1",)), [{"brain_mask": {}}])[0]
    after, records = run_steps(case, [{"zscore": {"contrasts": ["t1", "t2"], "like": {"t2": "t1"}}}])
    assert set(after.images) == set(records[0]["images"]) == {"t1"}


def test_other_spellings_of_a_contrast_become_its_name():
    [completed] = complete_steps([{"zscore": {"contrasts": ["T1n", "T1c"], "like": {"t1c": "t1w"}}}])
    assert completed["zscore"] == {"contrasts": ["t1", "t1ce"], "like": {"t1ce": "t1"}}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"zscore": {"contrasts": ["t9"]}}, "'t9' is not a contrast"),
        ({"zscore": {"contrasts": []}}, "at least 1"),
        ({"zscore": {"like": {"t1ce": "t1", "t1": "t2"}}}, "which takes its own"),
        ({"zscore": {"contrasts": ["t1"], "like": {"t1ce": "t1"}}}, "not among the contrasts"),
        ({"zscore": {"like": {"adc": "t1"}}}, "not among the contrasts"),
        ({"unit": {"lower_percentile": 60, "upper_percentile": 40}}, "below upper_percentile"),
        ({"window": {"low": 1, "high": 1}}, "low must lie below high"),
        ({"clip": {"low": None}}, "one of low and high"),
        ({"clip": {"low": 3, "high": 2}}, "low must lie below high"),
        ({"ct_window": {"width": 0}}, "greater than 0"),
        ({"equalize": {"bins": 1000}}, "less than or equal to 256"),
        ({"radiometric": {"reference": "t1ce"}}, "cannot be among the images"),
        ({"nyul": {"percentiles": [1, 1, 99]}}, "ascending"),
        ({"nyul": {"percentiles": [0, 101]}}, "from 0 to 100"),
        ({"nyul": {"landmarks": {"t1": [0, 1]}}}, "one a percentile"),
        ({"nyul": {"percentiles": [1, 50, 99], "landmarks": {"t1": [0, 0, 1]}}}, "must rise"),
    ],
)
def test_settings_that_make_no_sense_get_a_sentence(step: dict[str, Any], words: str):
    with pytest.raises(RecipeError, match=words):
        parse_steps([step])


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [("nan", "not finite"), ("empty", "mask is empty"), ("maskless", "needs a brain mask")],
)
def test_images_that_cannot_be_normalised_get_a_sentence(name: str, spoil: str, words: str):
    case = run_steps(brain_case(contrasts=("t1", "t1ce")), [{"brain_mask": {}}])[0]
    if spoil == "nan":
        data = case.images["t1"].data.copy()
        data[0, 0, 0] = np.nan
        case = replace(case, images={**case.images, "t1": case.images["t1"].with_data(data)})
    elif spoil == "empty":
        brain = case.masks["brain"]
        case = replace(case, masks={"brain": brain.with_data(np.zeros_like(brain.data))})
    else:
        case = replace(case, masks={})
    with pytest.raises(InputError, match=words):
        run_steps(case, [STEPS[name]])


@pytest.mark.parametrize("name", ["zscore", "min_max", "percentile", "nyul", "equalize"])
def test_a_constant_brain_gets_a_sentence(name: str):
    with pytest.raises(InputError, match=r"drawn: t1 (is constant|has no range)"):
        run_steps(case_of(np.array([7.0])), [STEPS[name]])


def test_a_missing_source_of_the_scale_gets_a_sentence():
    case = run_steps(brain_case(contrasts=("t1ce",)), [{"brain_mask": {}}])[0]
    with pytest.raises(InputError, match="to be scaled like t1"):
        run_steps(case, [{"zscore": {"like": {"t1ce": "t1"}}}])


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float64])
@pytest.mark.parametrize("name", STEPS)
def test_other_types_of_numbers_come_out_as_float32(name: str, dtype: type):
    case = run_steps(brain_case(contrasts=("t1", "t1ce")), [{"brain_mask": {}}])[0]
    tenths = {n: i.with_data((i.data / 10).astype(dtype)) for n, i in case.images.items()}
    after, records = run_steps(replace(case, images=tenths), [STEPS[name]])
    t1ce = after.images["t1ce"]
    assert t1ce.data.dtype == np.float32
    np.testing.assert_allclose(invert_steps(t1ce, records).data, tenths["t1ce"].data, atol=2e-3)


@pytest.mark.parametrize("name", STEPS)
def test_numbers_of_all_cases_can_be_averaged(name: str):
    """A model's contract keeps their median over the training cases: floats, or lists of one length."""
    shapes = []
    for seed, levels in ((0, None), (1, 5)):
        case = run_steps(brain_case(contrasts=("t1", "t1ce"), seed=seed), [{"brain_mask": {}}])[0]
        if levels:
            images = {n: i.with_data(np.round(i.data / 200) * np.float32(200)) for n, i in case.images.items()}
            case = replace(case, images=images)
        numbers = run_steps(case, [STEPS[name]])[1][0]["images"]["t1ce"]
        shapes.append({key: np.shape(np.asarray(value, dtype=float)) for key, value in numbers.items()})
    assert shapes[0] == shapes[1]
