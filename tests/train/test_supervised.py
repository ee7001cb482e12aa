"""What loss and critic are shown of neighbouring slices; modality dropout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.methods import AdversarialSettings
from mrsynth.recipes.sections import NetSettings
from mrsynth.train.adversarial import Adversarial
from mrsynth.train.fit import fit
from mrsynth.train.loader import Samples
from mrsynth.train.supervised import ModalityDropout, Supervised
from tiny import TRAIN

NEIGHBOURS = 3


def sample() -> tuple[Tensor, Tensor]:
    """Seven native and seven low-dose slices, and the standard dose; slices differ in brightness."""
    native = torch.linspace(0, 1, 7).reshape(1, 7, 1, 1).expand(2, 7, 8, 8)
    return torch.cat([native, 10 + native], dim=1), torch.full((2, 1, 8, 8), 0.55)


class FirstSlice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1]


def test_the_loss_sees_the_middle_slice_of_each_contrast() -> None:
    seen: list[Tensor] = []

    def loss(prediction: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        seen.append(inputs)
        return prediction.mean()

    inputs, target = sample()
    Supervised(FirstSlice(), loss, TRAIN, neighbours=NEIGHBOURS).loss_of((inputs, target))
    torch.testing.assert_close(seen[0][:, :, 0, 0], torch.tensor([[0.5, 10.5]] * 2))
    Supervised(FirstSlice(), loss, TRAIN).loss_of((inputs, target))
    assert torch.equal(seen[1], inputs)


def test_the_native_scan_of_the_enhancement_loss_is_the_middle_slice() -> None:
    """Target 0.55: over the middle slice (0.5) it enhances by more than 0.04, but not by more than 0.06."""
    inputs, target = sample()
    for delta, expected in ((0.04, 0.55), (0.06, 0.0)):
        loss = build_loss({"enhancement_mae": {"weight": 1, "delta": delta}}, ["t1", "t1ld"])
        value = Supervised(FirstSlice(), loss, TRAIN, neighbours=NEIGHBOURS).loss_of((inputs, target))
        torch.testing.assert_close(value, torch.tensor(expected))


def test_the_critic_is_shown_the_middle_slices() -> None:
    conditions: list[Tensor] = []
    critic = build_net("critic_patch", inputs=2, widths=[2, 2])
    features = critic.features

    def watched(image: Tensor, condition: Tensor) -> list[Tensor]:
        conditions.append(condition)
        return features(image, condition)

    critic.features = watched  # type: ignore[method-assign, assignment]
    game = AdversarialSettings(
        kind="adversarial",
        critic=NetSettings(name="critic_patch", settings={}),
        weight=1,
        features=0,
        style=0,
        learning_rate=0.001,
        betas=(0.5, 0.999),
    )
    net = nn.Conv2d(14, 1, 1)
    module = Adversarial(net, critic, build_loss({"mae": 1}), game, TRAIN, neighbours=NEIGHBOURS)
    inputs, target = sample()
    module.game_of(net(inputs), target, module.middle(inputs))
    assert conditions[0].shape == (2, 2, 8, 8)
    torch.testing.assert_close(conditions[0][0, :, 0, 0], torch.tensor([0.5, 10.5]))


@pytest.mark.parametrize(("drop", "inputs"), [(0.3, 3), (0.8, 2), (0.5, 1), (0.0, 3)])
def test_each_input_stays_with_the_probability_that_is_stated(drop: float, inputs: int) -> None:
    n = 20_000
    there = ModalityDropout(drop, True, 0.0).draw(n, inputs, seed=1)
    assert there.any(dim=1).all()
    expected = 1 - drop + drop**inputs / inputs
    tolerance = 5 * np.sqrt(0.25 / n)
    np.testing.assert_allclose(there.float().mean(0), expected, atol=tolerance)
    alone = drop**inputs + (inputs * (1 - drop) * drop ** (inputs - 1) if inputs > 1 else 1 - drop)
    assert (there.sum(1) == 1).float().mean() == pytest.approx(alone, abs=tolerance)
    assert there.all(1).float().mean() == pytest.approx((1 - drop) ** inputs if inputs > 1 else 1, abs=tolerance)


def test_a_draw_follows_from_its_seed() -> None:
    dropout = ModalityDropout(0.5, True, 0.0)
    assert torch.equal(dropout.draw(50, 3, seed=4), dropout.draw(50, 3, seed=4))
    assert not torch.equal(dropout.draw(50, 3, seed=4), dropout.draw(50, 3, seed=5))


@pytest.mark.parametrize("space", [(4, 5), (4, 5, 3)])
def test_flags_follow_their_images(space: tuple[int, ...]) -> None:
    images = torch.rand(2, 3, *space) + 1
    there = torch.tensor([[True, False, True], [False, False, True]])
    seen = ModalityDropout(0.3, True, -1.0).seen(images, there)
    assert seen.shape == (2, 6, *space)
    for b in range(2):
        for i in range(3):
            assert torch.equal(seen[b, 2 * i], images[b, i] if there[b, i] else torch.full(space, -1.0))
            assert (seen[b, 2 * i + 1] == float(there[b, i])).all()
    assert torch.equal(ModalityDropout(0.3, False, -1.0).seen(images, there), seen[:, ::2])
    full = ModalityDropout(0.3, True, 0.0).seen(images)
    assert torch.equal(full[:, ::2], images)
    assert (full[:, 1::2] == 1).all()


class Watched(nn.Module):
    """Keeps what it was shown; returns a constant image that can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[bool, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((self.training, x.detach().clone()))
        return self.level.expand(len(x), 1, *x.shape[2:])


class Pictures(Samples):
    """Eight samples of three inputs and a target, noise above 1."""

    def __init__(self) -> None:
        self.data = np.random.default_rng(0).random((8, 4, 5, 5), dtype=np.float32) + 1
        self.sample_shape = self.data.shape[1:]

    def __len__(self) -> int:
        return len(self.data)

    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        block[...] = self.data[list(numbers)]


def test_the_loss_sees_every_input_and_validation_drops_none(tmp_path: Path) -> None:
    shown: list[Tensor] = []

    def loss(prediction: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        shown.append(inputs)
        return (prediction - target).square().mean()

    net = Watched()
    module = Supervised(net, loss, TRAIN, ModalityDropout(0.5, True, 0.0))
    settings = TRAIN.model_copy(update={"epochs": 2, "batch_size": 4})
    fit(module, (Pictures(), Pictures()), settings, tmp_path)
    assert all((inputs >= 1).all() and inputs.shape == (4, 3, 5, 5) for inputs in shown)
    training = [x for in_training, x in net.seen if in_training]
    flags = [x[:, 1::2, 0, 0] for x in training]
    assert len(flags) == 4
    assert len({tuple(f.flatten().tolist()) for f in flags}) == 4  # drawn anew for each batch and epoch
    for x in training:
        assert torch.equal(x[:, ::2] == 0, x[:, 1::2] == 0)
    assert all((x[:, 1::2] == 1).all() for in_training, x in net.seen if not in_training)
