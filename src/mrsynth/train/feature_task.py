"""What a feature network learns without labels: of a piece of a slice, which contrast it is, and whether it was blurred
or made noisy.

The contrast shows in how the tissues' intensities lie beside each other, blur and noise in edges and texture: together
what a perceptual loss is to look at. Classes need no decoder, so all of the training goes into the features. Pieces are
turned by quarters, so that orientation tells nothing; asked for the turn as well, a network of this size had not
learnt it from 64×64 pixels when the other two questions were answered (26 % right, guessing gives 25 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from mrsynth.train.batches import SliceSet

CHANGES = ("none", "blur", "noise")
BLUR_SIGMA = (0.7, 2.0)
"""Pixels."""
NOISE_SD = (0.02, 0.1)
"""Of the range [0, 1]."""


@dataclass(frozen=True)
class Draw:
    """One piece.

    Attributes:
        sample: the slice's number.
        contrast: its channel in the slice's sample.
        turns: quarter turns.
        change: number of one of `CHANGES`.
        place: where it lies, in [0, 1), among the voxels with signal.
        gain, amount: how much is done of brightening and of the change, in [0, 1).
        noise_seed: of the noise, where that is the change.
    """

    sample: int
    contrast: int
    turns: int
    change: int
    place: float
    gain: float
    amount: float
    noise_seed: int


def draw_pieces(random: np.random.Generator, count: int, samples: int, contrasts: int) -> list[Draw]:
    """Draw pieces; all classes are equally likely.

    Args:
        random: the generator.
        count: pieces.
        samples: slices there are.
        contrasts: contrasts of a slice.
    """
    return [
        Draw(
            sample=int(random.integers(samples)),
            contrast=int(random.integers(contrasts)),
            turns=int(random.integers(4)),
            change=int(random.integers(len(CHANGES))),
            place=float(random.random()),
            gain=float(random.random()),
            amount=float(random.random()),
            noise_seed=int(random.integers(2**63)),
        )
        for _ in range(count)
    ]


def cut_pieces(slices: SliceSet, draws: Sequence[Draw], edge: int, gain: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return the pieces (b, 1, edge, edge) and their classes (b, 2): contrast and change.

    Args:
        slices: where they are cut from.
        draws: what was drawn.
        edge: of a piece, pixels.
        gain: brightness is multiplied by a factor between these.
    """
    block = np.empty((len(draws), *slices.sample_shape), np.float32)
    slices.fill(block, [draw.sample for draw in draws])
    pieces = [piece(channels[draw.contrast], draw, edge, gain) for channels, draw in zip(block, draws, strict=True)]
    classes = [(draw.contrast, draw.change) for draw in draws]
    return torch.from_numpy(np.stack(pieces)[:, None]), torch.tensor(classes)


def piece(image: np.ndarray, draw: Draw, edge: int, gain: tuple[float, float]) -> np.ndarray:
    """Return the square of a slice (x, y) around one of its voxels with signal, turned, brightened and changed.

    Slices smaller than the square are filled up with 0.

    Args:
        image: a slice.
        draw: what was drawn.
        edge: of the piece, pixels.
        gain: brightness is multiplied by a factor between these.
    """
    image = np.pad(image, [(0, max(0, edge - n)) for n in image.shape])
    signal = np.flatnonzero(image > 0.05 * image.max())
    centre = np.unravel_index(signal[int(draw.place * signal.size)], image.shape) if signal.size else (0, 0)
    box = tuple(
        slice(start, start + edge)
        for start in (min(max(int(c) - edge // 2, 0), n - edge) for c, n in zip(centre, image.shape, strict=True))
    )
    cut = np.rot90(image[box], draw.turns) * np.float32(_between(gain, draw.gain))
    if CHANGES[draw.change] == "blur":
        cut = ndimage.gaussian_filter(cut, _between(BLUR_SIGMA, draw.amount))
    elif CHANGES[draw.change] == "noise":
        noise = np.random.Generator(np.random.PCG64(draw.noise_seed)).standard_normal(cut.shape, np.float32)
        cut = cut + np.float32(_between(NOISE_SD, draw.amount)) * noise
    return np.ascontiguousarray(cut, np.float32)


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])
