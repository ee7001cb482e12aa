"""mrsynth export: a run's model for other programs, as ONNX or as a MONAI bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mrsynth.core.errors import OutputError
from mrsynth.core.files import NOTHING, kind_of
from mrsynth.core.folders import atomic_folder
from mrsynth.export.bundle import write_bundle
from mrsynth.export.onnx_folder import write_onnx
from mrsynth.model import load_contract, load_weights
from mrsynth.nets import build_net

Form = Literal["onnx", "bundle"]


def export(run: Path, form: Form, out: Path) -> str:
    """Write a run's model into a new folder, all or nothing.

    Args:
        run: a run folder.
        form: "onnx" for model.onnx and contract.json, "bundle" for a MONAI bundle.
        out: the folder; it must not be there yet.

    Returns:
        What was written and checked, a sentence.

    Raises:
        ModelError: the run holds no model that can be used, or the exported network computes something else.
        OutputError: something lies at `out`.
        RecipeError: a package is missing.
    """
    if kind_of(out) != NOTHING:
        raise OutputError(f"{out} is there already.", found=kind_of(out), expected="nothing yet", do="give another -o")
    contract = load_contract(run)
    net = load_weights(run, contract, build_net(contract.net, **contract.net_settings))
    write = write_onnx if form == "onnx" else write_bundle
    with atomic_folder(out) as folder:
        return write(folder, run, contract, net)
