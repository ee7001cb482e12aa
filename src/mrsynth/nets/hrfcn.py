"""The high-resolution network of chen2022 (Figure 2, §III-B), its 2-D version and its ablations A–D (Table V)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import ConvNormReLU, Mode, Norm, ResBlock, convolution, crop_to, pad_to_multiple, per_axis
from mrsynth.nets.protocol import Network

STAGE_3 = {1: (1, 2), 2: (2, 1), 4: (4, 1)}
"""F31 = φ(F21 ⊕ U2 F22), F32 = φ(F22 ⊕ D2 F21), F33 = φ(F23 ⊕ D4 F21): which branches each branch hears."""

STAGE_4 = {1: (1, 2, 4), 2: (1, 2, 4), 4: (1, 2, 4)}
"""F41 = φ(F31 ⊕ U2 F32 ⊕ U4 F33), F42 = φ(D2 F31 ⊕ F32 ⊕ U2 F33), F43 = φ(D4 F31 ⊕ D2 F32 ⊕ F33)."""


class HRFCN(Network):
    """Three branches at 1×, 2× and 4× that keep their resolution and exchange what they found.

    inputs: channels; with separate stems each takes per_stem of them: 1, a contrast, or 2, a contrast and the flag that
    says whether it is there. mode: "slab" is the paper's (three slices, scaled in plane only),
    "cube" scales all axes, "2d" is the paper's "Ours (2D)". widths: feature maps at 1×, 2×, 4×. blocks: ResBlocks in
    each FCN module φ. Ablations (Table V): A stems="single"; B branches=(1,); C branches=(2, 4); D fusion=False.
    """

    first_weights = "he_normal"
    stride: tuple[int, ...]

    def __init__(
        self,
        inputs: int = 3,
        mode: Mode = "slab",
        widths: Sequence[int] = (64, 128, 256),
        blocks: int = 4,
        stems: Literal["separate", "single"] = "separate",
        per_stem: int = 1,
        branches: Sequence[int] = (1, 2, 4),
        fusion: bool = True,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if tuple(branches) not in ((1, 2, 4), (1, 2), (1,), (2, 4)):
            raise ValueError(f"branches are {list(branches)}, expected [1, 2, 4], [1, 2], [1] or [2, 4]")
        if len(widths) != 3 or blocks < 1 or inputs < 1:
            raise ValueError(f"expected 3 widths, 1 block and 1 input at least: {list(widths)}, {blocks}, {inputs}")
        if stems not in ("separate", "single"):
            raise ValueError(f"stems is {stems!r}, expected separate or single")
        if per_stem < 1 or inputs % per_stem:
            raise ValueError(f"{inputs} inputs cannot be dealt to stems of {per_stem} channels")
        self.inputs, self.branches = inputs, tuple(branches)
        self.stride = per_axis(mode, max(branches))
        width = dict(zip((1, 2, 4), widths, strict=True))
        channels = per_stem if stems == "separate" else inputs
        self.stems = nn.ModuleList(_fcn(channels, width[1], blocks, mode, norm) for _ in range(inputs // channels))
        stem = width[1] * len(self.stems)
        self.enter = nn.ModuleDict()
        if 1 in branches:
            self.enter["1"] = _fcn(stem, width[1], blocks, mode, norm)  # F21 = φ(F11)
        if 2 in branches:  # F22 = φ(D2 F11)
            down = ConvNormReLU(stem, width[2], mode, norm, stride=2)
            self.enter["2"] = nn.Sequential(down, _fcn(width[2], width[2], blocks, mode, norm))
        if 4 in branches:
            self.enter["4"] = ConvNormReLU(width[2], width[4], mode, norm, stride=2)  # F23 = D2 F22
        self.stages = nn.ModuleList()
        for hears in (STAGE_3, STAGE_4):
            stage = nn.ModuleDict()
            for branch in branches:
                sources = [s for s in hears[branch] if s in branches and (fusion or s == branch)]
                stage[str(branch)] = Exchange(branch, sources, width, (blocks, mode, norm))
            self.stages.append(stage)
        self.up = nn.ModuleDict({str(b): _upsample(b, mode) for b in branches})
        self.head = Head(sum(width[b] for b in branches), width[1], mode, norm)

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) in [0, 1] to (b, 1, *space), unbounded; any size (padded to the stride, cropped)."""
        if x.shape[1] != self.inputs:
            raise ValueError(f"{x.shape[1]} input channels, expected {self.inputs}")
        space = x.shape[2:]
        x = pad_to_multiple(x, self.stride)
        stem = torch.cat([phi(part) for phi, part in zip(self.stems, x.chunk(len(self.stems), dim=1), strict=True)], 1)
        streams: dict[int, Tensor] = {b: self.enter[str(b)](stem) for b in self.branches if b < 4}
        if 4 in self.branches:
            streams[4] = self.enter["4"](streams[2])
        for stage in self.stages:
            streams = {b: stage[str(b)](streams) for b in self.branches}  # type: ignore[index,operator]
        out = self.head(torch.cat([self.up[str(b)](streams[b]) for b in self.branches], dim=1))  # F5
        return crop_to(out, space)


class Exchange(nn.Module):
    """φ over the concatenation of what one branch hears, brought to the branch's resolution.

    From finer branches: D2, one strided 3³ convolution, and D4, two of them (as in the high-resolution net that the
    paper builds on, Sun et al. 2019; one 3³ convolution of stride 4 would not see every voxel). From coarser ones: U2
    and U4, nearest upsampling.
    """

    def __init__(
        self, branch: int, sources: Sequence[int], width: Mapping[int, int], module: tuple[int, Mode, Norm]
    ) -> None:
        super().__init__()
        blocks, mode, norm = module
        self.paths = nn.ModuleDict()
        channels = 0
        for source in sources:
            if source < branch:
                steps = [s for s in (1, 2) if source <= s < branch]
                self.paths[str(source)] = nn.Sequential(
                    *(ConvNormReLU(width[s], width[2 * s], mode, norm, stride=2) for s in steps)
                )
            else:
                self.paths[str(source)] = _upsample(source // branch, mode)
            channels += width[max(source, branch)]
        self.phi = _fcn(channels, width[branch], blocks, mode, norm)

    def forward(self, streams: Mapping[int, Tensor]) -> Tensor:
        """Return the branch's new features from all branches' old ones, (b, width, *space / branch)."""
        return self.phi(torch.cat([path(streams[int(source)]) for source, path in self.paths.items()], dim=1))


class Head(nn.Module):
    """The last ResBlock, to one channel: without normalisation and ReLU at its end, so that the output is linear."""

    def __init__(self, inputs: int, hidden: int, mode: Mode, norm: Norm) -> None:
        super().__init__()
        self.first = ConvNormReLU(inputs, hidden, mode, norm)
        self.second = convolution(mode, hidden, 1)
        self.shortcut = convolution(mode, inputs, 1, kernel=1, bias=False)

    def forward(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) to (b, 1, *space)."""
        return self.second(self.first(x)) + self.shortcut(x)


def _fcn(inputs: int, width: int, blocks: int, mode: Mode, norm: Norm) -> nn.Sequential:
    """Return an FCN module φ: ResBlocks, the first of which changes the width."""
    return nn.Sequential(*(ResBlock(width if k else inputs, width, mode, norm) for k in range(blocks)))


def _upsample(factor: int, mode: Mode) -> nn.Module:
    return nn.Identity() if factor == 1 else nn.Upsample(scale_factor=per_axis(mode, factor), mode="nearest")
