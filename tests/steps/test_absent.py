"""Steps for a case that lacks what they name."""

from __future__ import annotations

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.steps import complete_steps, run_steps
from mrsynth.steps.absent import steps_without
from small_cases import brain_case

STEPS = [
    {"adc": {}},
    {"register": {"to": "t2"}},
    {"resample": {"to": "t2", "order": "cubic"}},
    {"brain_mask": {"of": "t2"}},
    {"radiometric": {"reference": "t2", "images": ["t1ce"]}},
    {"zscore": {"like": {"flair": "t2", "t1ce": "t1"}}},
]


def test_with_everything_there_the_steps_are_the_same():
    assert steps_without(STEPS, ["ct"]) == complete_steps(STEPS)


def test_what_names_a_missing_contrast_takes_what_is_there():
    steps = {name: settings for step in steps_without(STEPS, ["t2", "adc"], ["t2"]) for name, settings in step.items()}
    assert list(steps) == ["register", "resample", "brain_mask", "zscore"]
    assert steps["register"]["to"] is steps["resample"]["to"] is steps["brain_mask"]["of"] is None
    assert steps["zscore"]["like"] == {"t1ce": "t1"}
    assert steps["resample"]["order"] == "cubic"


def test_a_case_that_lacks_what_the_steps_name_can_be_prepared():
    steps = [*STEPS[:1], *STEPS[2:4], {"zscore": {"like": {"flair": "t2"}}}]
    case = brain_case(contrasts=("t1", "flair"))
    prepared, _ = run_steps(case, steps_without(steps, ["t2", "adc"], ["t2"]))
    alone, _ = run_steps(case, [{"brain_mask": {}}, {"zscore": {}}])
    for name in ("t1", "flair"):
        np.testing.assert_array_equal(prepared.images[name].data, alone.images[name].data)


def test_a_scale_that_is_not_forgone_is_still_asked_for():
    steps = steps_without([{"brain_mask": {}}, {"zscore": {"like": {"flair": "t2"}}}], ["t2"])
    with pytest.raises(InputError, match="flair is to be scaled like t2"):
        run_steps(brain_case(contrasts=("t1", "flair")), steps)
