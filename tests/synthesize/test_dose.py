"""A generator with a condition over a volume, and what it may be asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mrsynth.core.errors import InputError, ModelError
from mrsynth.model import Condition, Contract
from mrsynth.nets import build_net
from mrsynth.synthesize import Doses, Synthesizer
from mrsynth.synthesize.dose import AtDose, Dosage, noise
from mrsynth.synthesize.impute import Imputer
from mrsynth.volume.predict import Inference, predict_volume
from mrsynth.volume.stream import stream
from mrsynth.volume.trace import trace
from tiny import trained
from tiny_doses import STEPS, dose_case

TRAINED = Condition(dose=(0.05, 0.5), b0_tesla=(1.5, 3.0))
CONTRACT = Contract(
    recipe="tiny",
    inputs=["t1", "t1ce"],
    target="t1ld",
    net="lowdose",
    net_settings={},
    patch=[8, 8, 8],
    flags=False,
    condition=TRAINED,
    steps=STEPS,
    range=(0, 3),
    intensity=[],
    weights_sha256="0" * 64,
    **trained(),
)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_net("lowdose", width=6, scales=3).eval()


class Share(nn.Module):
    """A generator that knows the answer: the dose's share of what the standard dose adds, and a little noise."""

    def forward(
        self, noise: torch.Tensor, native: torch.Tensor, standard: torch.Tensor, condition: torch.Tensor
    ) -> list[torch.Tensor]:
        share = condition[:, :1].reshape(-1, 1, 1, 1, 1)
        return [share * (standard - native) + 0.01 * noise]


@pytest.mark.parametrize("space", [(37, 9, 12), (5, 8, 7), (24, 8, 8)])
def test_streamed_it_is_what_it_is_in_one_piece(net: nn.Module, space: tuple[int, int, int]):
    """Trilinear upsampling, repeated borders and local attention, row by row, in double precision."""
    at = AtDose(net, Dosage(dose=0.17, b0_tesla=3.0, seed=1)).double()
    x = torch.rand(1, 3, *space, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layers = trace(at, x.shape)
    with torch.inference_mode():
        whole = at(x)
        for rows in (1, 3, 8, 100):
            torch.testing.assert_close(stream(layers, x, rows), whole, rtol=1e-9, atol=1e-11)
    net.float()


def test_a_volume_is_the_same_in_little_memory(net: nn.Module):
    at = AtDose(net, Dosage(dose=0.3, b0_tesla=1.5, seed=1))
    volume = [np.random.default_rng(k).random((40, 24, 24), dtype=np.float32) for k in range(3)]
    large, small = (predict_volume(at, volume, Inference(patch=[16, 16, 16], memory_gib=gib)) for gib in (1.0, 0.002))
    assert np.abs(large - small).max() < 1e-4 * np.abs(large).max()


def test_noise_is_that_of_its_seed():
    a, b, c = noise((9, 8, 7), 1), noise((9, 8, 7), 1), noise((9, 8, 7), 2)
    assert np.array_equal(a, b)
    assert abs(np.corrcoef(a.ravel(), c.ravel())[0, 1]) < 0.2
    assert noise((40, 40, 40), 3).std() == pytest.approx(1, abs=0.02)


class TestSeries:
    def test_the_same_seed_gives_the_same_image_and_doses_differ_by_agent_alone(self):
        synthesizer, case = Synthesizer(Share(), CONTRACT), dose_case(0)
        asked = [Dosage(dose=dose, b0_tesla=3.0, seed=1) for dose in (0.1, 0.2, 0.4)]
        first, second, third = (image.data for image in synthesizer.series(case, asked))
        again = synthesizer(case, dosage=asked[1])
        assert again.contrast == "t1ld"
        assert np.array_equal(again.data, second)
        other = synthesizer(case, dosage=Dosage(dose=0.2, b0_tesla=3.0, seed=2)).data
        assert not np.array_equal(other, second)
        np.testing.assert_allclose(third - second, 2 * (second - first), atol=1e-5)
        assert (case.images["t1"].data == 0)[first == 0].all()

    def test_a_dose_must_be_asked_of_it_and_of_no_other_model(self):
        with pytest.raises(InputError, match="at a dose that it is told"):
            Synthesizer(Share(), CONTRACT)(dose_case(0))
        plain = CONTRACT.model_copy(update={"condition": None, "patch": [8, 8, 8]})
        with pytest.raises(InputError, match="knows nothing of doses"):
            Synthesizer(nn.Identity(), plain)(dose_case(0), dosage=Dosage(dose=0.1, b0_tesla=3.0, seed=0))

    def test_it_fills_no_gaps(self):
        plain = CONTRACT.model_copy(update={"condition": None, "inputs": ["t1", "t1ld"], "target": "t1ce"})
        with pytest.raises(ModelError, match="cannot fill a gap"):
            Synthesizer(nn.Identity(), plain, imputers={"t1ld": Imputer(CONTRACT, Share, "run")})


class TestDoses:
    def test_options_become_doses(self):
        assert Doses.parse("0.1, 0.17,0.1,", 3.0, 4, False) == Doses((0.1, 0.17), 3.0, 4, False)
        for text in ("0.1;0.2", "10", "-0.1", "nan", "0"):
            with pytest.raises(InputError, match="not a list of doses"):
                Doses.parse(text, None, 0, False)

    def test_a_case_has_its_own_dose_field_and_noise(self):
        own = Doses(seed=3).of_case(TRAINED, "a", {"dose": 0.2, "b0_tesla": 1.494}, own_noise=True)
        assert [(d.dose, d.b0_tesla, d.extrapolated) for d in own] == [(0.2, 1.494, False)]
        other = Doses(seed=3).of_case(TRAINED, "b", {"dose": 0.2, "b0_tesla": 1.494}, own_noise=True)
        assert own[0].seed != other[0].seed
        given = Doses((0.1, 0.3), 3.0).of_case(TRAINED, "a", {"dose": 0.2, "b0_tesla": 1.5})
        assert [(d.dose, d.b0_tesla, d.seed) for d in given] == [(0.1, 3.0, 0), (0.3, 3.0, 0)]

    @pytest.mark.parametrize(
        ("asked", "known", "named"),
        [
            (Doses((0.04, 0.1), 3.0), {}, "dose 0.04, trained 0.05 to 0.5"),
            (Doses((0.1,), 7.0), {}, "field 7 T, trained 1.5 to 3 T"),
            (Doses(), {"b0_tesla": 3.0}, "the dose is not known"),
            (Doses((0.1,)), {"dose": 0.2}, "the b0_tesla is not known"),
        ],
    )
    def test_what_was_not_trained_or_is_not_known_is_refused(self, asked: Doses, known: dict[str, float], named: str):
        with pytest.raises(InputError, match=named):
            asked.of_case(TRAINED, "a", known)

    def test_extrapolation_is_allowed_and_marked(self):
        made = Doses((0.1, 0.6), 3.0, extrapolate=True).of_case(TRAINED, "a", {})
        assert [d.extrapolated for d in made] == [False, True]
        assert made[1].words() == "0.6 3 T EXTRAPOLATED"
