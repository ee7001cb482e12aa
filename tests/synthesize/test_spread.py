"""The spread over an ensemble's networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mrsynth.core.errors import InputError
from mrsynth.model import Contract
from mrsynth.nets import Ensemble, Network
from mrsynth.synthesize import Synthesizer
from mrsynth.synthesize.spread import spread
from small_cases import brain_case
from tiny import STEPS, trained

CONTRACT = Contract(
    recipe="tiny",
    inputs=["t1"],
    target="t2",
    net="ensemble",
    net_settings={},
    patch=None,
    flags=False,
    steps=STEPS,
    range=(0, 1),
    intensity=[],
    weights_sha256="0" * 64,
    **trained(),
)


class Constant(Network):
    """Makes an image of one value."""

    inputs = 1

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        """Return the value everywhere."""
        return torch.zeros_like(x) + self.value


def test_mean_and_deviation_of_the_members() -> None:
    case = brain_case(shape=(32, 32, 20))
    synthesizer = Synthesizer(Ensemble([Constant(value) for value in (0.2, 0.4, 0.9)]), CONTRACT)
    ready = synthesizer.ready(case)
    image, deviation = synthesizer.image(ready), spread(synthesizer, ready)
    brain = image.data > 0
    assert brain.any()
    np.testing.assert_allclose(image.data[brain], 0.5, atol=1e-5)
    np.testing.assert_allclose(deviation.data[brain], np.std([0.2, 0.4, 0.9]), atol=1e-5)
    assert not deviation.data[~brain].any()
    np.testing.assert_array_equal(deviation.affine, case.images["t1"].affine)


def test_one_network_has_no_spread() -> None:
    synthesizer = Synthesizer(Constant(0.5), CONTRACT)
    with pytest.raises(InputError, match="this model is one"):
        spread(synthesizer, synthesizer.ready(brain_case(shape=(32, 32, 20))))
