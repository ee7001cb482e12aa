"""Modality dropout: inputs left out at random, so that one network learns to do without any of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ModalityDropout:
    """What a network sees of its inputs.

    drop: probability p with which each input of a sample is left out, independently. Where that leaves none of n, one
    is chosen to stay, each equally likely: an input is there with probability 1 − p + pⁿ/n, all of them with (1 − p)ⁿ.
    flags: after each image a channel that is 1 where the input is there, 0 where it is not. absent: the value of an
    input that is not there, that of the background.
    """

    drop: float
    flags: bool
    absent: float

    def draw(self, samples: int, inputs: int, seed: int) -> Tensor:
        """Return which inputs are there: (samples, inputs), bool, at least one in each row; on the CPU."""
        random = torch.Generator().manual_seed(seed)
        there = torch.rand((samples, inputs), generator=random) >= self.drop
        stays = torch.randint(inputs, (samples,), generator=random)
        there[torch.arange(samples), stays] |= ~there.any(dim=1)
        return there

    def seen(self, images: Tensor, there: Tensor | None = None) -> Tensor:
        """Return what the network gets, (b, n, *space), or with flags (b, 2n, *space): image, flag, image, flag, …

        images: (b, n, *space). there: (b, n), bool; None where all of them are.
        """
        if there is None:
            there = torch.ones(images.shape[:2], dtype=torch.bool)
        mask = there.to(images.device).reshape(*images.shape[:2], *[1] * (images.dim() - 2))
        kept = torch.where(mask, images, self.absent)
        if not self.flags:
            return kept
        return torch.stack([kept, mask.to(images.dtype).expand_as(images)], dim=2).flatten(1, 2)
