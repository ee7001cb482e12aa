from __future__ import annotations

import pytest
import torch

from mrsynth.nets.attention import LocalAttention, weighted


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The attention of images whose borders are repeated."""
    near = [
        torch.nn.functional.pad(t.flatten(1, 2), [1] * 6, mode="replicate").unflatten(1, t.shape[1:3])
        for t in (key, value)
    ]
    return weighted(query, *near)


def naive(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """All 27 neighbours unfolded at once: softmax(q·k/√d) over them."""

    def unfold(t: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(t.flatten(1, 2), [1] * 6, mode="replicate")
        near = padded.unfold(2, 3, 1).unfold(3, 3, 1).unfold(4, 3, 1).flatten(-3)
        return near.unflatten(1, t.shape[1:3])

    scores = torch.einsum("bhdxyz,bhdxyzn->bhxyzn", query, unfold(key)) / query.shape[2] ** 0.5
    return torch.einsum("bhxyzn,bhdxyzn->bhdxyz", scores.softmax(-1), unfold(value))


@pytest.mark.parametrize("space", [(5, 4, 6), (1, 2, 3)])
def test_equals_the_unfolded_form_with_gradients(space: tuple[int, int, int]):
    draw = torch.Generator().manual_seed(0)
    first = [torch.randn(2, 2, 3, *space, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    second = [t.detach().clone().requires_grad_() for t in first]
    weight = torch.randn(2, 2, 3, *space, generator=draw, dtype=torch.float64)
    ours, theirs = attend(*first), naive(*second)
    torch.testing.assert_close(ours, theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_what_is_kept_for_the_backward_pass_is_not_27_copies():
    """Bytes of distinct storages that autograd saves, in units of the input's."""
    tensors = [torch.randn(1, 1, 12, 16, 16, 16, requires_grad=True) for _ in range(3)]
    saved: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = attend(*tensors)
    assert out.shape == tensors[0].shape
    assert sum(saved.values()) < 9 * tensors[0].untyped_storage().nbytes()


def test_equal_keys_give_the_mean_of_the_neighbourhood():
    value = torch.zeros(1, 1, 1, 5, 5, 5)
    value[0, 0, 0, 2, 2, 2] = 27.0
    flat = torch.ones_like(value)
    out = attend(flat, flat, value)[0, 0, 0]
    torch.testing.assert_close(out[1:4, 1:4, 1:4], torch.ones(3, 3, 3))
    assert out.sum() == pytest.approx(27)


def test_it_sees_one_voxel_far():
    torch.manual_seed(0)
    layer = LocalAttention(24)
    x = torch.randn(1, 24, 7, 7, 7, requires_grad=True)
    layer(x)[0, :, 3, 3, 3].sum().backward()
    reached = x.grad[0].abs().sum(0) > 0
    assert reached[2:5, 2:5, 2:5].all()
    reached[2:5, 2:5, 2:5] = False
    assert not reached.any()


def test_widths_that_no_head_divides_are_refused():
    with pytest.raises(ValueError, match="multiple of 12"):
        LocalAttention(20)
