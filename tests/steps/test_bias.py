from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.phantom import simulate_with_truth
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.phantom.examination import Truth
from mrsynth.steps import invert_steps, run_steps
from mrsynth.steps.bias_field import LogField, fit_lattice

COARSE = {"shrink_mm": 8, "iterations": [50, 50, 50]}
"""Quick on a phantom of 4 mm voxels."""


@pytest.fixture(scope="module")
def head() -> tuple[Case, Truth]:
    """T1, T1ce, T2 and FLAIR of a head with skull, 4 mm, each with its own coil field."""
    return simulate_with_truth(3, SubjectSettings(profile="brats", spacing_mm=4.0, stripped=False))


def only(case: Case, *names: str) -> Case:
    return replace(case, images={name: case.images[name] for name in names})


def corrected(case: Case, **changes: Any) -> tuple[Case, Any]:
    done, records = run_steps(case, [{"n4": {**COARSE, **changes}}])
    return done, records[0]["images"]


@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_n4_recovers_the_simulated_field_up_to_scale(head: tuple[Case, Truth], contrast: str):
    case, simulated = head
    done, found = corrected(only(case, contrast))
    before, after = case.images[contrast].data, done.images[contrast].data
    inside = (case.masks["brain"].data > 0) & (before > 0)
    found_log = np.log(before[inside] / after[inside])
    true_log = np.log(simulated.field[contrast][inside])
    assert np.corrcoef(found_log, true_log)[0, 1] > 0.95
    assert (found_log - true_log).std() < 0.3 * true_log.std()
    assert found[contrast]["mask"] == "brain"


def test_an_image_without_a_field_stays_as_it_is(head: tuple[Case, Truth]):
    case, simulated = head
    image = case.images["t1"]
    even = image.with_data((image.data / simulated.field["t1"]).astype(np.float32))
    _, found = corrected(replace(case, images={"t1": even}))
    assert found["t1"]["sd_of_log"] < 0.01


def test_the_image_keeps_its_scale_and_returns_exactly(head: tuple[Case, Truth]):
    """The mean of the field in the mask is 1; the record alone brings the image back to 1e-5, after a trip as JSON."""
    case, _ = head
    done, records = run_steps(only(case, "t1"), [{"n4": COARSE}])
    before, after = case.images["t1"].data, done.images["t1"].data
    inside = (case.masks["brain"].data > 0) & (before > 0)
    assert (before[inside] / after[inside]).mean() == pytest.approx(1.0, abs=1e-5)
    records = json.loads(json.dumps(records))
    back = invert_steps(done.images["t1"], records)
    np.testing.assert_allclose(back.data, before, atol=1e-5 * before.max())
    assert after.dtype == back.data.dtype == np.float32


def test_gain_and_margin_change_nothing(head: tuple[Case, Truth]):
    """A scanner's gain scales the image alone; zeros around the head are not looked at. And the same input gives the
    same bytes."""
    case, _ = head
    image, mask = case.images["t2"], case.masks["brain"]
    few = {"iterations": [10, 10]}
    _, plain = corrected(only(case, "t2"), **few)
    _, again = corrected(only(case, "t2"), **few)
    assert again == plain
    loud = image.with_data(image.data * np.float32(8.0))
    _, scaled = corrected(replace(case, images={"t2": loud}), **few)
    np.testing.assert_allclose(scaled["t2"]["lattice"], plain["t2"]["lattice"], atol=1e-3)
    wide = {
        "t2": replace(image, data=np.pad(image.data, 5)),
        "brain": replace(mask, data=np.pad(mask.data, 5)),
    }
    _, padded = corrected(Case({"t2": wide["t2"]}, {"brain": wide["brain"]}), **few)
    assert padded["t2"]["lattice"] == plain["t2"]["lattice"]


def test_a_brain_mask_on_another_grid_is_brought_over(head: tuple[Case, Truth]):
    case, _ = head
    mask = case.masks["brain"]
    affine = mask.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    coarse = replace(mask, data=mask.data[::2, ::2, ::2], affine=affine)
    done, found = corrected(replace(only(case, "t2"), masks={"brain": coarse}), iterations=[10, 10])
    _, plain = corrected(only(case, "t2"), iterations=[10, 10])
    assert done.images["t2"].data.shape == case.images["t2"].data.shape
    assert found["t2"]["sd_of_log"] == pytest.approx(plain["t2"]["sd_of_log"], rel=0.1)


def test_without_a_brain_mask_the_foreground_is_taken(head: tuple[Case, Truth]):
    case, simulated = head
    done, found = corrected(replace(only(case, "t1"), masks={}))
    inside = (case.masks["brain"].data > 0) & (case.images["t1"].data > 0)
    found_log = np.log(case.images["t1"].data[inside] / done.images["t1"].data[inside])
    assert found["t1"]["mask"] == "otsu"
    assert np.corrcoef(found_log, np.log(simulated.field["t1"][inside]))[0, 1] > 0.9


def test_adc_and_ct_are_left_alone(head: tuple[Case, Truth]):
    case, _ = head
    t1 = case.images["t1"]
    physical = {"adc": t1.with_data(t1.data * 1e-6, "adc"), "ct": t1.with_data(t1.data - 1000, "ct")}
    done, found = corrected(replace(case, images=physical))
    assert found == {"adc": {}, "ct": {}}
    assert done.images["adc"] is physical["adc"]
    back = invert_steps(done.images["ct"], [{"step": "n4", "kind": "intensity", "images": found}])
    assert back is done.images["ct"]


def test_a_normalised_image_is_refused(head: tuple[Case, Truth]):
    case, _ = head
    image = case.images["t1"]
    inside = case.masks["brain"].data > 0
    shifted = image.with_data(image.data - np.float32(1.05 * np.median(image.data[inside])))
    with pytest.raises(InputError, match="too little signal") as error:
        corrected(replace(case, images={"t1": shifted}))
    assert "before the steps that normalise" in str(error.value)


def test_bad_input_gets_a_sentence(head: tuple[Case, Truth]):
    case, _ = head
    image = case.images["t1"]
    with pytest.raises(InputError, match="needs a brain mask"):
        corrected(replace(only(case, "t1"), masks={}), mask="brain")
    with pytest.raises(InputError, match="too little signal"):
        corrected(Case({"t1": image.with_data(np.zeros_like(image.data))}))
    with pytest.raises(InputError, match="no bias field"):
        corrected(Case({"t1": image.with_data(np.full_like(image.data, 7.0))}), mask="whole")
    with pytest.raises(InputError, match="not finite"):
        corrected(Case({"t1": image.with_data(np.full_like(image.data, np.nan))}))
    done, records = run_steps(only(case, "t1"), [{"n4": {**COARSE, "iterations": [2]}}])
    with pytest.raises(InputError, match="another grid"):
        invert_steps(replace(done.images["t1"], data=done.images["t1"].data[1:]), records)


@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 40, 1)])
def test_a_few_slices_are_enough(shape: tuple[int, int, int]):
    rng = generator(0, "slices")
    data = rng.choice([100.0, 200.0], shape) + rng.standard_normal(shape)
    ramp = np.exp(np.linspace(-0.2, 0.2, 40))[:, None, None]
    image = Image((data * ramp).astype(np.float32), np.diag([4.0, 4.0, 6.0, 1.0]), "t1")
    done, found = corrected(Case({"t1": image}), shrink_mm=4, mask="whole")
    assert np.isfinite(done.images["t1"].data).all()
    assert found["t1"]["sd_of_log"] == pytest.approx(np.log(ramp).std(), rel=0.2)


def test_a_spline_returns_its_own_control_points():
    points = generator(1, "lattice").standard_normal((7, 5, 4))
    field = LogField(points, (30, 21, 16), (2, 0, 0), (29, 20, 12))
    samples = np.log(field.on_grid()[2:30:3, ::2, :13])
    fitted = fit_lattice(samples, (4, 2, 1))
    np.testing.assert_allclose(fitted, points, atol=2e-3)  # those of the corners hardly touch a sample
    np.testing.assert_allclose(replace(field, lattice=fitted).on_grid(), field.on_grid(), rtol=1e-4)
    assert np.array_equal(field.on_grid()[0], field.on_grid()[2])
    np.testing.assert_allclose(field.divided_by(3.0).on_grid(), field.on_grid() / 3.0, rtol=1e-5)
    assert np.array_equal(LogField.recorded(json.loads(json.dumps(field.record()))).on_grid(), field.on_grid())
