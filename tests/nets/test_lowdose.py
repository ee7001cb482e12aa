from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mrsynth.core.errors import RecipeError
from mrsynth.losses.games import gradient_penalty
from mrsynth.nets import build_net, count_parameters
from mrsynth.nets.attention import LocalAttention
from mrsynth.nets.condition import ConditionalResidual, Convolution, Embedding
from mrsynth.nets.critic import Critic
from mrsynth.nets.lowdose import LowDose


@pytest.fixture(scope="module")
def generator() -> LowDose:
    torch.manual_seed(0)
    return build_net("lowdose")


@pytest.fixture(scope="module")
def critic() -> Critic:
    torch.manual_seed(0)
    return build_net("critic")


def batch(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return noise (or a residual), native, standard dose, condition."""
    draw = torch.Generator().manual_seed(seed)
    images = [torch.randn(shape[0], 1, *shape[1:], generator=draw) for _ in range(3)]
    return (*images, torch.tensor([[0.1, 3.0], [0.33, 1.5]])[: shape[0]])


def test_scales_widths_and_blocks_as_published(generator: LowDose, critic: Critic):
    for net, widths in ((generator, [12, 24, 48, 96]), (critic, [12, 24, 48, 96, 192])):
        blocks = [m for m in net.modules() if isinstance(m, ConditionalResidual)]
        down = [m.second.out_channels for m in net.down.modules() if isinstance(m, ConditionalResidual)]
        assert down == [w for w in widths for _ in range(2)]
        assert all(b.project.in_features == 128 for b in blocks)
    assert [h.out_channels for h in generator.heads] == [1, 1, 1, 1]
    attention = [m.out.in_channels for m in generator.modules() if isinstance(m, LocalAttention)]
    assert attention == [24, 48, 96, 48, 24]
    assert not any(isinstance(m, LocalAttention) for m in critic.modules())
    assert not any("Norm" in type(m).__name__ for net in (generator, critic) for m in net.modules())
    assert count_parameters(generator) == 1_812_088
    assert count_parameters(critic) == 4_783_789


@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (1, 8, 8, 8), (1, 19, 10, 13), (1, 3, 5, 2)])
def test_a_head_a_scale_for_any_size(generator: LowDose, shape: tuple[int, ...]):
    with torch.no_grad():
        residuals = generator(*batch(*shape))
    for k, residual in enumerate(residuals):
        assert residual.shape == (shape[0], 1, *(-(-n // 2**k) for n in shape[1:]))
        assert residual.isfinite().all()


@pytest.mark.parametrize("kernel", [1, 3])
def test_of_one_voxel_the_convolution_is_the_same(kernel: int):
    torch.manual_seed(0)
    layer = Convolution(5, 4, kernel).double()
    x = torch.randn(3, 5, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    short, whole = layer(x), nn.Conv3d.forward(layer, x)
    torch.testing.assert_close(short, whole)
    for a, b in zip(
        *(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]) for y in (short, whole)), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_an_untrained_generator_has_residuals_of_moderate_size(generator: LowDose):
    with torch.no_grad():
        for residual in generator(*batch(2, 16, 16, 16)):
            assert 1e-3 < residual.std() < 3


def test_each_input_and_each_condition_changes_the_output(generator: LowDose):
    inputs = batch(1, 8, 8, 8)
    with torch.no_grad():
        before = generator(*inputs)
        for change in range(3):
            other = [t.clone() for t in inputs]
            other[change] += torch.randn(other[change].shape, generator=torch.Generator().manual_seed(9))
            for a, b in zip(before, generator(*other), strict=True):
                assert (a - b).abs().max() > 1e-4
        for dose, b0_tesla in ((0.3, 3.0), (0.1, 1.5)):
            for a, b in zip(before, generator(*inputs[:3], torch.tensor([[dose, b0_tesla]])), strict=True):
                assert (a - b).abs().max() > 1e-4
        for a, b in zip(before, generator(*inputs), strict=True):
            assert (a == b).all()  # the same noise gives the same image


def test_samples_of_a_batch_do_not_mix(generator: LowDose, critic: Critic):
    inputs = batch(2, 16, 16, 16)
    with torch.no_grad():
        together, alone = generator(*inputs), generator(*(t[1:] for t in inputs))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[1:], b, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(critic(*inputs)[1:], critic(*(t[1:] for t in inputs)), rtol=1e-4, atol=1e-4)


def test_the_field_strength_is_scaled_to_one():
    embedding = Embedding()
    seen: list[Tensor] = []
    embedding.first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    embedding(torch.tensor([[0.1, 3.0], [0.33, 1.5]]))
    torch.testing.assert_close(seen[0], torch.tensor([[0.1, 1.0], [0.33, -1.0]]))


@pytest.mark.parametrize("name", ["lowdose", "critic"])
def test_gradients_reach_every_parameter(name: str):
    torch.manual_seed(1)
    net = build_net(name)
    out = net(*batch(2, 16, 16, 16))
    sum(o.square().mean() for o in (out if isinstance(out, list) else [out])).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_the_penalty_reaches_every_weight_of_the_critic(critic: Critic):
    """Second derivatives exist through pooling, replicated borders and embedding; dose and field count as arguments."""
    real, fake = list(batch(2, 16, 16, 16)), list(batch(2, 16, 16, 16, seed=1))
    fake[3] = torch.tensor([[0.4, 3.0], [0.2, 1.5]])
    critic.zero_grad()
    penalty = gradient_penalty(critic, real, fake, torch.tensor([0.3, 0.8]))
    penalty.backward()
    dead = [n for n, p in critic.named_parameters() if n.endswith("weight") and not p.grad.abs().sum() > 0]
    assert dead == []
    step, weight = 1e-3, critic.head.weight
    slope = (weight.grad**2).sum()
    with torch.no_grad():
        direction = weight.grad / slope.sqrt()
        weight += step * direction
    up = gradient_penalty(critic, real, fake, torch.tensor([0.3, 0.8]))
    with torch.no_grad():
        weight -= 2 * step * direction
    down = gradient_penalty(critic, real, fake, torch.tensor([0.3, 0.8]))
    with torch.no_grad():
        weight += step * direction
    assert ((up - down) / (2 * step)).item() == pytest.approx(slope.sqrt().item(), rel=0.02)


def test_shared_and_separate_embeddings():
    """Table 3: one embedding for both networks, or one each."""
    generator = LowDose()
    shared, separate = Critic(embedding=generator.embedding), Critic()
    assert shared.embedding is generator.embedding
    assert separate.embedding is not generator.embedding
    assert len(set(shared.parameters()) & set(generator.parameters())) == 4
    assert not set(separate.parameters()) & set(generator.parameters())
    assert build_net("critic", embedding=generator.embedding).embedding is generator.embedding


def test_no_border_is_made_up(generator: LowDose, critic: Critic):
    """Constant images stay constant: borders are replicated, not filled with zeros."""
    flat = [torch.full((1, 1, 16, 16, 16), v) for v in (0.2, 0.5, 0.9)]
    with torch.no_grad():
        for residual in generator(*flat, torch.tensor([[0.2, 3.0]])):
            torch.testing.assert_close(residual, residual.mean().expand_as(residual), rtol=1e-4, atol=1e-4)


def test_small_images_and_wrong_widths_are_refused(critic: Critic):
    with pytest.raises(ValueError, match="needs 16 voxels"):
        critic(*batch(1, 16, 8, 16))
    with pytest.raises(RecipeError, match="multiple of 12"):
        build_net("lowdose", width=8)
    assert isinstance(build_net("lowdose", scales=2), nn.Module)
