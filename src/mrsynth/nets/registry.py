"""The table of networks: name → class. Defaults are the paper's; what a network needs it says itself (protocol.py)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest
from mrsynth.nets.anycontrast import AnyContrast
from mrsynth.nets.bayesian import BayesianUNet
from mrsynth.nets.cascade import Cascade
from mrsynth.nets.critic import Critic
from mrsynth.nets.critic_patch import PatchCritic
from mrsynth.nets.decnn import decnn
from mrsynth.nets.drunet import DRUNet
from mrsynth.nets.ensemble import Ensemble
from mrsynth.nets.hrfcn import HRFCN
from mrsynth.nets.initial import initialise
from mrsynth.nets.lagan import lagan
from mrsynth.nets.lowdose import LowDose
from mrsynth.nets.protocol import Network
from mrsynth.nets.unet import UNet2d
from mrsynth.nets.unet25d import UNet25d
from mrsynth.nets.unet_deep import UNetDeep


def _ensemble(net: str, settings: Mapping[str, Any], members: int) -> Ensemble:
    """Return several networks of one kind as one; `mrsynth train --folds` makes such models."""
    return Ensemble([build_net(net, **settings) for _ in range(members)])


NETS: dict[str, Callable[..., Network]] = {
    "unet2d": UNet2d,  # osman2022
    "hrfcn": HRFCN,  # chen2022
    # chen2022 §IV-A: "2×" and "1.5×" the depth of the originals
    "unet2d_deep": partial(UNetDeep, mode="2d", widths=(64, 128, 256, 512, 1024), convolutions=4, half_first=False),
    "unet3d": UNetDeep,
    # chen2022, Table IV
    "pix2pix": Cascade,
    "decnn": decnn,
    "lagan": lagan,
    "medgan": partial(Cascade, blocks=6),
    "critic_patch": PatchCritic,
    "bayesian_unet": BayesianUNet,  # kleesiek2019
    "lowdose": LowDose,  # pinetz2023
    "critic": Critic,
    "unet25d": UNet25d,  # pasumarthi2021
    "drunet": DRUNet,  # li2022
    "anycontrast": AnyContrast,
    "ensemble": _ensemble,
}


MAX_PARAMETERS = 1 << 30
"""Largest network that is built: 4 GiB of weights, ten times the largest of the papers."""


SKETCHES = 64
"""Networks without weights that are kept: a study checks each of its recipes, which differ little in their networks."""

_sketches: dict[str, Network] = {}


def build_net(name: str, *, generator: torch.Generator | None = None, **settings: Any) -> Network:
    """Build a network by name and draw its first weights as it says (`Network.first_weights`).

    Args:
        name: of the table `NETS`.
        generator: draws the first weights; None takes torch's own.
        settings: the constructor's arguments; left out, they are the paper's.

    Returns:
        The network, in training mode.

    Raises:
        RecipeError: names the nearest network, or says which setting is wrong.
    """
    sketch(name, **settings)  # before memory is taken: settings may be a stranger's
    net = _made(name, settings)
    if net.first_weights is not None:
        initialise(net, net.first_weights, generator)
    return net


def sketch(name: str, **settings: Any) -> Network:
    """Return a network's shapes without its weights: it lies on the device meta.

    Args:
        name: of the table `NETS`.
        settings: the constructor's arguments.

    Returns:
        The network; the same one where the same is asked for again, so leave it as it is.

    Raises:
        RecipeError: names the nearest network, or says which setting is wrong.
    """
    if name not in NETS:
        raise RecipeError(
            f"Unknown network '{name}'.", expected="one of " + ", ".join(NETS), do=nearest(name, list(NETS))
        )
    key = f"{name} {sorted(settings.items())}"
    if key not in _sketches:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without channels
            net = _made(name, settings)
        _require_buildable(name, settings, [parameter.numel() for parameter in net.parameters()])
        if len(_sketches) >= SKETCHES:
            _sketches.clear()
        _sketches[key] = net
    return _sketches[key]


def _made(name: str, settings: Mapping[str, Any]) -> Network:
    try:
        return NETS[name](**settings)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise RecipeError(f"Network {name}: {str(error).splitlines()[0]}.", found=settings) from error


def _require_buildable(name: str, settings: Mapping[str, Any], sizes: list[int]) -> None:
    """Refuse a network with a layer without channels, or too large."""
    if not all(sizes):
        raise RecipeError(f"Network {name}: a layer has no channel.", found=dict(settings))
    if sum(sizes) > MAX_PARAMETERS:
        raise RecipeError(
            f"Network {name} is too large.", found=f"{sum(sizes)} parameters", expected=f"at most {MAX_PARAMETERS}"
        )


def count_parameters(net: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
