"""A trained model on disk: weights (safetensors), the data contract they were trained under, and a card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mrsynth.core.errors import ModelError
from mrsynth.core.folders import atomic_folder
from mrsynth.io.contract import Condition, Contract
from mrsynth.io.run import Model

__all__ = ["Condition", "Contract", "load_contract", "load_weights", "save_model"]

MAX_WEIGHTS_BYTES = 4 * 2**30
"""Larger weight files are refused: no network of the project comes near."""


def save_model(folder: Path, weights: Mapping[str, Tensor], contract: Mapping[str, Any], card: str) -> Contract:
    """Write weights, contract and card into a folder, all or nothing.

    Args:
        folder: RUN/model.
        weights: the network's tensors by name.
        contract: the fields of `Contract` but for the weights' SHA-256.
        card: Markdown.

    Returns:
        The contract as it was written.

    Raises:
        OutputError: where the folder cannot be written.
    """
    data = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    full = Contract.model_validate({**contract, "weights_sha256": hashlib.sha256(data).hexdigest()})
    with atomic_folder(folder) as temporary:
        model = Model(temporary)
        model.weights.write_bytes(data)
        full.write(model.contract)
        model.card.write_text(card, encoding="utf-8")
    return full


def load_contract(run: Path) -> Contract:
    """Read the contract of a run.

    Args:
        run: a run folder, or the folder of its model alone.

    Returns:
        The contract.

    Raises:
        ModelError: where there is no model, or its contract is damaged or was not written by mrsynth.
    """
    return Contract.read(Model.of(run).contract)


def load_weights(run: Path, contract: Contract, net: nn.Module) -> nn.Module:
    """Load a run's weights into its network.

    Safetensors only (no pickle), checked against the contract's SHA-256.

    Args:
        run: a run folder, or the folder of its model alone.
        contract: of this run.
        net: the network that the contract names.

    Returns:
        The network, in evaluation mode.

    Raises:
        ModelError: where file, hash or shapes do not fit.
    """
    path = Model.of(run).weights
    if not path.is_file():
        raise ModelError(f"{path} is missing.", do="train the model again, or copy the whole run folder")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path} is too large.", found=f"{path.stat().st_size} bytes", expected=MAX_WEIGHTS_BYTES)
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != contract.weights_sha256:
        raise ModelError(
            f"{path} is not the file that the contract describes.",
            found=f"SHA-256 {found[:16]}…",
            expected=f"{contract.weights_sha256[:16]}…",
            do="copy the whole run folder again",
        )
    try:
        net.load_state_dict(load_tensors(data))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{path} does not fit the network {contract.net}.", found=str(error).splitlines()[0], do="train it again"
        ) from error
    return net.eval()
