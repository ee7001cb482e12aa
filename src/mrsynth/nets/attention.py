"""Local self-attention of pinetz2023: every voxel looks at the 27 of its 3×3×3 neighbourhood."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

HEAD_FEATURES = 12
"""Features of an attention head: the width of the finest scale; the paper names no number of heads."""


class LocalAttention(nn.Module):
    """LAB: multi-head self-attention within 3×3×3 voxels, added to its input.

    Queries, keys, values and output are 1³ convolutions; borders are replicated, as in the convolutions. `width` must
    be a multiple of 12, the features of a head.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % HEAD_FEATURES:
            raise ValueError(f"the width of local attention must be a multiple of {HEAD_FEATURES}, not {width}")
        self.heads = width // HEAD_FEATURES
        self.mix, self.out = nn.Conv3d(width, 3 * width, 1, bias=False), nn.Conv3d(width, width, 1)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return the features, each with what its neighbourhood adds."""
        return x + self.out(look_around(nn.functional.pad(self.mix(x), [1] * 6, mode="replicate")))


def look_around(mixed: Float[Tensor, "b q u v w"]) -> Float[Tensor, "b c x y z"]:
    """Return what the neighbourhood of each voxel adds, for queries, keys and values (b, 3·heads·d, x + 2, …) that are
    padded by one voxel.

    One function to whoever traces the network (volume/trace.py), as a convolution is.
    """
    if has_torch_function_unary(mixed):
        return handle_torch_function(look_around, (mixed,), mixed)  # type: ignore[no-any-return]
    if mixed.is_meta:  # the shape alone is asked for; 27 neighbours of nothing take a second
        batch, channels, *space = mixed.shape
        return mixed.new_empty(batch, channels // 3, *(n - 2 for n in space))
    query, key, value = mixed.reshape(mixed.shape[0], 3, -1, HEAD_FEATURES, *mixed.shape[2:]).unbind(1)
    return weighted(query[..., 1:-1, 1:-1, 1:-1], key, value).flatten(1, 2)


def weighted(
    query: Float[Tensor, "b h d x y z"], key: Float[Tensor, "b h d u v w"], value: Float[Tensor, "b h d u v w"]
) -> Float[Tensor, "b h d x y z"]:
    """Return softmax(q·k/√d)-weighted values over the 27 neighbours, of keys and values that are padded by one voxel.

    One neighbour at a time, as a shifted view: what is kept for the backward pass are 27 weights a voxel and head, not
    27 copies of d features.

    Args:
        query: of each voxel, h heads of d features.
        key: padded by one voxel.
        value: padded by one voxel.
    """
    space = query.shape[3:]
    query = query * query.shape[2] ** -0.5
    score = torch.stack([(query * near).sum(2) for near in _neighbours(key, space)])
    weight = score.softmax(dim=0).unsqueeze(3)
    total = torch.zeros_like(query)
    for share, near in zip(weight.unbind(0), _neighbours(value, space), strict=True):
        total = total.addcmul(share, near)
    return total


def _neighbours(padded: Float[Tensor, "b h d u v w"], space: torch.Size) -> list[Tensor]:
    """Return the 27 shifted views of a tensor that is padded by one voxel."""
    nx, ny, nz = space
    return [padded[..., i : i + nx, j : j + ny, k : k + nz] for i, j, k in itertools.product(range(3), repeat=3)]
