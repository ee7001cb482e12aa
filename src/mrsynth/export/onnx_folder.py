"""A model as ONNX: model.onnx, checked against torch, and contract.json, which says what the network must be fed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

import mrsynth
from mrsynth.core.errors import ModelError
from mrsynth.core.extras import require_extra
from mrsynth.core.files import write_json
from mrsynth.export.network import Exported, exported
from mrsynth.model import Contract
from mrsynth.volume.onnx_net import compared, onnx_bytes
from mrsynth.volume.runtimes import onnx_session

TOLERANCE = 1e-5
"""How far ONNX Runtime may be from torch, as a share of the values' range; more only where torch itself rounds more."""

ROUNDINGS = 4
"""So many times torch's own rounding: two programs that round alike, and some chance."""

CHECKED = ((1, 1), (2, 2))
"""Batches and sizes that are compared: free sizes must be free."""


def write_onnx(folder: Path, run: Path, contract: Contract, net: nn.Module) -> str:
    """Write model.onnx and contract.json into a folder.

    Args:
        folder: to write to.
        run: where the model comes from, for the message.
        contract: the model's.
        net: its network, with weights.

    Returns:
        What was written and how near it is to torch.

    Raises:
        ModelError: ONNX Runtime computes something else than torch.
        RecipeError: onnx or onnxruntime is not installed.
    """
    parts = exported(contract, net)
    content = onnx_bytes(parts.net, parts.example(1, 1), parts.names)
    session = onnx_session(content)
    worst = 0.0
    for batch, times in CHECKED:
        found = compared(parts.net, session, parts.example(batch, times))
        scale = max(found.spread, contract.range[1] - contract.range[0])
        worst = max(worst, found.difference / scale)
        if not found.difference <= max(TOLERANCE * scale, ROUNDINGS * found.rounding):
            raise ModelError(
                f"{run}: ONNX Runtime and torch compute different images of this network.",
                found=f"a difference of {found.difference / scale:.2g} of the range",
                expected=f"at most {TOLERANCE:g}",
                do="use the model with mrsynth synthesize, and report this",
            )
    onnx = require_extra("onnx", "onnx")
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {name: str(value) for name, value in _said(contract).items()})
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    shared(contract).write(folder / "contract.json")
    write_json(folder / "network.json", _described(parts))
    return f"model.onnx, network.json, contract.json; ONNX Runtime is {worst:.1g} of the range from torch at most"


def shared(contract: Contract) -> Contract:
    """Return a contract to hand out: without the training patients' names and their scans' hashes.

    Args:
        contract: it stays as it is.
    """
    training = contract.training.model_copy(update={"patients": {}, "scans": None})
    return contract.model_copy(update={"training": training})


def _described(parts: Exported) -> dict[str, Any]:
    """Return what a reader must know of the network's arrays."""
    axes = ["batch", "channel", *("x", "y", "z")[: len(parts.stride)]]
    return {"inputs": parts.names, "axes": axes, "channels": parts.channels, "multiple_of": list(parts.stride)}


def _said(contract: Contract) -> dict[str, Any]:
    """Return what stands in the ONNX file itself."""
    return {
        "made_by": f"mrsynth {mrsynth.__version__}",
        "recipe": contract.recipe,
        "target": contract.target,
        "inputs": json.dumps(contract.inputs),
        "weights_sha256": contract.weights_sha256,
        "notice": "Makes synthetic images. Research software, not a medical device, not for diagnosis.",
    }
