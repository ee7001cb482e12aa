"""Local self-attention of pinetz2023: every voxel looks at the 27 of its 3×3×3 neighbourhood."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.neighbourhood import HEAD, look_around, padded, weighted


class LocalAttention(nn.Module):
    """LAB: multi-head self-attention within 3×3×3 voxels, added to its input.

    Queries, keys, values and output are 1³ convolutions; borders are replicated, as in the convolutions. `width` must
    be a multiple of 12, the features of a head.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % HEAD:
            raise ValueError(f"the width of local attention must be a multiple of {HEAD}, not {width}")
        self.heads = width // HEAD
        self.mix, self.out = nn.Conv3d(width, 3 * width, 1, bias=False), nn.Conv3d(width, width, 1)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        """Return the features, each with what its neighbourhood adds."""
        return x + self.out(look_around(nn.functional.pad(self.mix(x), [1] * 6, mode="replicate")))


def attend(
    query: Float[Tensor, "b h d x y z"], key: Float[Tensor, "b h d x y z"], value: Float[Tensor, "b h d x y z"]
) -> Float[Tensor, "b h d x y z"]:
    """Return softmax(q·k/√d)-weighted values over the 27 neighbours; beyond the border the border is repeated."""
    return weighted(query, padded(key), padded(value))
