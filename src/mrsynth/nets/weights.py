"""Weights that others trained, from a file or from PyTorch's own cache; downloaded only where that is asked for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from mrsynth.core.errors import ModelError
from mrsynth.nets.vgg import VGG

CACHED: Mapping[str, str] = {
    "vgg16": "vgg16-397923af.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
}
"""torchvision's files of ImageNet weights (IMAGENET1K_V1); a name ends with the first digits of its SHA-256."""

TRAINED_INSTEAD = (
    "or take a feature network trained on the cohort itself: "
    "features: {network: small, layer: conv4_2, weights: trained}"
)


def load_vgg(network: str, layer: str, weights: str) -> VGG:
    """Return a feature network with weights.

    Args:
        network: vgg16, vgg19 or small.
        layer: the last layer, as `layer_names` has it.
        weights: a file (safetensors or a PyTorch state dict, named as torchvision names it), "cache" for torchvision's
            file in PyTorch's cache ($TORCH_HOME/hub/checkpoints), or "download" to have it put there.

    Raises:
        ModelError: where the weights are missing, and says how to get them, or where they do not fit, and says why.
        ValueError: for an unknown network or layer.
    """
    net = VGG(network, layer)
    path = weights_file(network, weights)
    state = {name: value for name, value in read_state(path).items() if name.startswith("features.")}
    own = net.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if wrong:
        raise ModelError(
            f"The weights {path} do not fit {network}.",
            found=f"{len(wrong)} of {len(own)} tensors missing or of other sizes, the first '{wrong[0]}'",
            expected=f"weights of {network} without batch normalisation, named as torchvision names them",
        )
    net.load_state_dict({name: state[name] for name in own})
    return net


def weights_file(network: str, weights: str, instead: str = TRAINED_INSTEAD) -> Path:
    """Return the file that `weights` means.

    Args:
        network: vgg16, vgg19 or a resnet; it names torchvision's file.
        weights: the path of a file, "cache" for torchvision's file in PyTorch's cache, or "download" for the same,
            which torchvision fetches where it is not there.
        instead: what a user without the file can do, for the message.

    Raises:
        ModelError: where the file is not in the cache or cannot be fetched, or where it has the name of torchvision's
            file and not the content.
    """
    if weights == "download":
        download(network, instead)
    path = cached(network, instead) if weights in ("cache", "download") else Path(weights).expanduser()
    _check_digest(path)
    return path


def download(network: str, instead: str = TRAINED_INSTEAD) -> None:
    """Let torchvision bring its weights into PyTorch's cache, unless they are there; raises ModelError if it cannot.

    Args:
        network: vgg16, vgg19 or a resnet.
        instead: what a user without a network can do, for the message.
    """
    if network not in CACHED or (Path(torch.hub.get_dir()) / "checkpoints" / CACHED[network]).is_file():
        return
    try:
        models = import_module("torchvision.models")
        models.get_model_weights(network).IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
    except (ImportError, OSError, RuntimeError) as error:  # not installed, no network, another file than it should be
        raise ModelError(
            f"The ImageNet weights of {network} cannot be downloaded.",
            found=f"{type(error).__name__}: {error}",
            expected="torchvision, installed beside this torch, and a network",
            do=f"put its file {CACHED[network]} into PyTorch's cache and name it `cache`, or name a file by its path; "
            f"{instead}",
        ) from error


def cached(network: str, instead: str = TRAINED_INSTEAD) -> Path:
    """Return torchvision's file in PyTorch's cache; raises ModelError that says how to get it, or what else to do.

    Args:
        network: vgg16, vgg19 or a resnet.
        instead: what a user without the file can do, for the message.
    """
    if network not in CACHED:
        raise ModelError(
            f"There are no public weights of the network '{network}'.",
            expected="one of " + ", ".join(CACHED),
            do="weights: trained, which trains a feature network on the cohort, or the path of such weights",
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / CACHED[network]
    if not path.is_file():
        raise ModelError(
            f"The ImageNet weights of {network} are not here, and mrsynth downloads nothing without being asked.",
            found=f"no file {path}",
            do=f"put torchvision's {CACHED[network]} there, or where there is a network let torchvision fetch it: "
            f"python -c 'import torchvision; torchvision.models.{network}(weights=\"IMAGENET1K_V1\")'; "
            f"or name a file by its path; {instead}",
        )
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code of the file's; raises ModelError where it is none."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ModelError(
            f"The weights {path} cannot be read.",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}",
            expected="a safetensors file or a PyTorch state dict",
        ) from error


def _check_digest(path: Path) -> None:
    """Raise ModelError where torchvision's name carries digits of the SHA-256 and the content has others.

    Names of others end as they like: eight digits may be a date.
    """
    named = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    if named is None or path.name not in CACHED.values() or not path.is_file():
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(named[1]):
        raise ModelError(
            f"{path} is damaged or another file: its content does not belong to its name.",
            found=f"SHA-256 {found[:16]}…",
            expected=f"{named[1]}…",
            do="get the file again",
        )
