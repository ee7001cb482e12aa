from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from laws import brain_case
from mrsynth.errors import InputError, ModelError
from mrsynth.model import Contract
from mrsynth.synthesize import Synthesizer
from mrsynth.synthesize.slices import predict_slices
from tiny import STEPS

CONTRACT = Contract(
    format=1,
    recipe="tiny",
    inputs=["t1"],
    target="t2",
    net="unet2d",
    net_settings={},
    steps=STEPS,
    range=(0, 1),
    intensity=[
        {"step": "zscore", "kind": "intensity", "images": {"t2": {"mean": 500.0, "sd": 100.0}}},
        {"step": "unit", "kind": "intensity", "images": {"t2": {"low": -5.0, "high": 3.0, "clipped": 0}}},
    ],
    training={},
    weights_sha256="",
)


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 9)] * 3), channels=st.integers(1, 3), batch=st.integers(1, 20))
def test_slices_of_the_identity_are_the_identity(shape: tuple[int, int, int], channels: int, batch: int):
    volumes = [np.random.default_rng(c).random(shape, dtype=np.float32) for c in range(channels)]
    out = predict_slices(lambda x: x[:, -1:], volumes, batch=batch)
    np.testing.assert_array_equal(out, volumes[-1])


def test_every_slice_is_predicted_once():
    seen: list[int] = []

    def count(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x

    predict_slices(count, [np.zeros((4, 4, 37), np.float32)], batch=16)
    assert seen == [16, 16, 5]


def test_a_network_that_copies_gives_the_normalised_input_on_the_patients_grid():
    case = brain_case(shape=(32, 32, 20))
    image = Synthesizer(lambda x: x, CONTRACT)(case)
    original = case.images["t1"]
    assert image.contrast == "t2"
    assert image.data.shape == original.data.shape
    assert np.array_equal(image.affine, original.affine)
    brain = original.data > 0
    assert np.all(image.data[~brain] == 0)
    normalised = original.data / original.data.max()
    error = np.abs(image.data - normalised)[brain]
    assert error.mean() < 0.02


def test_values_stay_in_the_contracts_range():
    image = Synthesizer(lambda x: 5 * x - 2, CONTRACT)(brain_case())
    assert image.data.min() >= 0
    assert image.data.max() <= 1


def test_intensities_can_return_to_the_units_of_the_training_targets():
    synthesizer = Synthesizer(lambda x: x, CONTRACT)
    image = synthesizer(brain_case())
    scanner = synthesizer.to_training_units(image)
    np.testing.assert_allclose(scanner.data, (image.data * 8 - 5) * 100 + 500, atol=1e-2)
    without = Synthesizer(lambda x: x, CONTRACT.model_copy(update={"intensity": []}))
    with pytest.raises(ModelError, match="no intensities"):
        without.to_training_units(image)


def test_a_missing_input_says_what_the_model_needs():
    with pytest.raises(InputError, match=r"makes t2 from t1; t1 is missing") as error:
        Synthesizer(lambda x: x, CONTRACT)(brain_case(contrasts=("flair",)))
    assert "--input t1=FILE" in str(error.value)


def test_further_images_do_not_change_the_prediction():
    case = brain_case(contrasts=("t1", "t2"))
    alone = replace(case, images={"t1": case.images["t1"]})
    synthesizer = Synthesizer(lambda x: x, CONTRACT)
    np.testing.assert_array_equal(synthesizer(case).data, synthesizer(alone).data)
