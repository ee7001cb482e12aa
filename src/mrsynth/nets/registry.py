"""The table of networks: name → class. Defaults are the paper's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mrsynth.errors import RecipeError
from mrsynth.nets.unet import UNet2d
from mrsynth.settings import nearest

NETS: Mapping[str, Callable[..., nn.Module]] = {
    "unet2d": UNet2d,  # osman2022
}


def build_net(name: str, **settings: Any) -> nn.Module:
    """Build a network by name. settings: its constructor's arguments; left out, they are the paper's.

    Raises RecipeError that names the nearest network or says which setting is wrong.
    """
    if name not in NETS:
        raise RecipeError(
            f"Unknown network '{name}'.", expected="one of " + ", ".join(NETS), do=nearest(name, list(NETS))
        )
    try:
        return NETS[name](**settings)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"Network {name}: {error}.", found=settings) from error


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
