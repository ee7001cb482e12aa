"""What the loss and the critic are shown of samples with neighbouring slices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.sections import GameSettings, NetSettings
from mrsynth.train.adversarial import Adversarial
from mrsynth.train.supervised import Supervised
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
    Supervised(FirstSlice(), loss, TRAIN, neighbours=NEIGHBOURS)._loss((inputs, target))
    torch.testing.assert_close(seen[0][:, :, 0, 0], torch.tensor([[0.5, 10.5]] * 2))
    Supervised(FirstSlice(), loss, TRAIN)._loss((inputs, target))
    assert torch.equal(seen[1], inputs)


def test_the_native_scan_of_the_enhancement_loss_is_the_middle_slice() -> None:
    """Target 0.55: over the middle slice (0.5) it enhances by more than 0.04, but not by more than 0.06."""
    inputs, target = sample()
    for delta, expected in ((0.04, 0.55), (0.06, 0.0)):
        loss = build_loss({"enhancement_mae": {"weight": 1, "delta": delta}}, ["t1", "t1ld"])
        value = Supervised(FirstSlice(), loss, TRAIN, neighbours=NEIGHBOURS)._loss((inputs, target))
        torch.testing.assert_close(value, torch.tensor(expected))


def test_the_critic_is_shown_the_middle_slices() -> None:
    conditions: list[Tensor] = []
    critic = build_net("critic_patch", inputs=2, widths=[2, 2])
    features = critic.features

    def watched(image: Tensor, condition: Tensor) -> list[Tensor]:
        conditions.append(condition)
        return features(image, condition)

    critic.features = watched  # type: ignore[method-assign, assignment]
    game = GameSettings(
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
    module._game(net(inputs), target, module._middle(inputs))
    assert conditions[0].shape == (2, 2, 8, 8)
    torch.testing.assert_close(conditions[0][0, :, 0, 0], torch.tensor([0.5, 10.5]))
