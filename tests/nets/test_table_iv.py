"""The other systems of chen2022: published shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.nets import build_net, count_parameters
from mrsynth.nets.critic_patch import PatchCritic
from mrsynth.nets.lagan import LocalFusion


def published(name: str, **settings: object) -> nn.Module:
    with torch.device("meta"):
        return build_net(name, **settings)


def convolutions(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd)]


def test_the_original_u_nets_come_out_with_their_published_sizes():
    """Çiçek et al. 2016, §2.1: "19069955 parameters in total" (bias, no weights of normalisation), 18 convolutions."""
    cicek = published("unet3d", inputs=3, outputs=3, mode="cube", convolutions=2, norm="none")
    assert count_parameters(cicek) == 19_069_955
    assert len(convolutions(cicek)) == 18
    ronneberger = published("unet2d_deep", inputs=1, outputs=2, convolutions=2, norm="none")
    assert len(convolutions(ronneberger)) == 23  # Ronneberger et al. 2015, §2


def test_the_baselines_are_twice_and_one_and_a_half_times_as_deep():
    """chen2022 §IV-A: convolutions in blocks 4 for 2 and 3 for 2; what is between blocks stays."""

    def in_blocks(net: nn.Module) -> int:
        return sum(1 for m in convolutions(net) if m.kernel_size[0] == 3)

    assert in_blocks(published("unet2d_deep")) == 2 * in_blocks(published("unet2d_deep", convolutions=2)) == 36
    assert in_blocks(published("unet3d")) == 1.5 * in_blocks(published("unet3d", convolutions=2)) == 21


def test_pix2pix_and_the_cascade_of_medgan():
    one, six = published("pix2pix"), published("medgan")
    assert len(convolutions(one)) == 16
    assert len(convolutions(six)) == 6 * 16  # MedGAN: six U-blocks of 16 layers
    assert count_parameters(one) == 54_410_433
    # Each block is a Pix2Pix; all but the first see one image in place of three.
    assert count_parameters(six) == 6 * 54_410_433 - 5 * 2 * 64 * 16
    assert [m.p for m in one.modules() if isinstance(m, nn.Dropout)] == [0.5] * 3 + [0.0] * 5


@pytest.mark.parametrize(("widths", "patch"), [((64, 128), 16), ((64, 128, 256, 512), 70)])
def test_a_logit_of_the_discriminator_sees_one_patch(widths: tuple[int, ...], patch: int):
    """Isola et al. 2017, supplement 6.1.2: 16×16 and 70×70."""
    critic = PatchCritic(inputs=1, widths=[2 for _ in widths], norm="none").double()
    for module in critic.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.1)
    image = torch.ones(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = critic(image, torch.ones_like(image))
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [patch, patch]


def test_discriminators_of_slabs_and_cubes_and_their_gradients():
    for mode, space in [("2d", (33, 30)), ("slab", (33, 30, 3)), ("cube", (17, 18, 16))]:
        critic = build_net("critic_patch", inputs=2, mode=mode, widths=[4, 8])
        condition, image = torch.rand(2, 2, *space), torch.rand(2, 1, *space)
        maps = critic.features(image, condition)
        assert [m.shape[1] for m in maps] == [4, 8]
        critic(image, condition).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())
    assert count_parameters(published("critic_patch")) == 2_766_657


def test_local_fusion_weighs_each_place_for_itself():
    fusion = LocalFusion(2, cell=2, cells=(2, 3))
    x = torch.rand(1, 2, 5, 13)
    torch.testing.assert_close(fusion(x), x.mean(1, keepdim=True))
    with torch.no_grad():
        fusion.weight.zero_()
        fusion.weight[0, 1, 2] = 1  # the first modality, in the cells of rows 2–3 and columns 4–5, 10–11
    out = fusion(x)[0, 0]
    expected = torch.zeros(5, 13)
    for columns in (slice(4, 6), slice(10, 12)):
        expected[2:4, columns] = x[0, 0, 2:4, columns]
    torch.testing.assert_close(out, expected)
    assert sum(p.numel() for p in LocalFusion(3, 8, (8, 8, 8)).parameters()) == 1536


def test_auto_context_adds_the_estimate_to_the_inputs():
    net = build_net("decnn", width=4, embeddings=1, rounds=3)
    assert [m.inputs for m in net.rounds] == [3, 4, 4]
    seen = []
    net.rounds[1].register_forward_hook(lambda _m, inputs, out: seen.append((inputs[0], out)))
    net.rounds[2].register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    x = torch.rand(1, 3, 8, 8)
    net(x)
    (second, estimate), third = seen
    assert torch.equal(second[:, :3], x)
    assert torch.equal(third[:, 3:], estimate)
