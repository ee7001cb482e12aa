"""A model as a MONAI bundle: `python -m monai.bundle run` makes the image that `mrsynth synthesize` makes."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mrsynth
from mrsynth.core.files import write_json
from mrsynth.drawing.templates import render
from mrsynth.export.network import exported
from mrsynth.export.onnx_folder import shared
from mrsynth.io.run import Model
from mrsynth.model import Contract


def write_bundle(folder: Path, run: Path, contract: Contract, net: nn.Module) -> str:
    """Write a bundle: configs/, models/ (the model as mrsynth reads it, and as MONAI's own commands do) and docs/.

    Args:
        folder: to write to.
        run: the run folder.
        contract: the model's.
        net: its network, with weights.

    Returns:
        How it is run.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    model = Model(folder / "models")
    shutil.copyfile(Model.of(run).weights, model.weights)
    shared(contract).write(model.contract)
    torch.save(net.state_dict(), folder / "models" / "model.pt")
    write_json(folder / "configs" / "inference.json", _inference(contract))
    write_json(folder / "configs" / "metadata.json", _metadata(contract, net))
    images = "{" + ", ".join(f"'{name}': '{name}.nii.gz'" for name in contract.inputs) + "}"
    command = f'python -m monai.bundle run --config_file configs/inference.json --bundle_root . --images "{images}"'
    readme = render("bundle.md.j2", contract=contract, command=command)
    (folder / "docs" / "README.md").write_text(readme, encoding="utf-8")
    return f"a MONAI bundle; inside it: {command} --output {contract.target}.nii.gz"


def _inference(contract: Contract) -> dict[str, Any]:
    """Return the configuration that runs the model."""
    images = "{name: Path(file) for name, file in @images.items()}"
    call = f"$synthesize.synthesize_files(Path(@bundle_root) / 'models', {images}, Path(@output)"
    doses: dict[str, Any] = {}
    if contract.condition is not None:
        call += ", doses=Doses.parse(str(@dose), float(@b0_tesla), 0, False)"
        doses = {"dose": contract.condition.dose[0], "b0_tesla": contract.condition.b0_tesla[0]}
    return {
        "imports": [
            "$import mrsynth.synthesize.run as synthesize",
            "$from mrsynth.synthesize import Doses",
            "$from pathlib import Path",
        ],
        "bundle_root": ".",
        "images": {name: f"{name}.nii.gz" for name in contract.inputs},
        "output": f"{contract.target}.nii.gz",
        **doses,
        "network_def": {"_target_": "mrsynth.nets.build_net", "name": contract.net, **contract.net_settings},
        "run": [call + ")"],
    }


def _metadata(contract: Contract, net: nn.Module) -> dict[str, Any]:
    """Return the bundle's metadata; network_data_format: of the network alone, after the preparation."""
    parts = exported(contract, net)
    low, high = contract.range
    common = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "dtype": "float32",
        "spatial_shape": [f"{step}*n" for step in parts.stride],
        "value_range": [low, high],
        "is_patch_data": contract.patch is not None,
    }
    described = {
        "inputs": {"image": {**common, "num_channels": len(parts.channels), "channel_def": _numbered(parts.channels)}},
        "outputs": {"pred": {**common, "num_channels": 1, "channel_def": {"0": f"synthetic {contract.target}"}}},
    }
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by mrsynth {mrsynth.__version__}"},
        "monai_version": _version_of("monai", "1.6.1"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"mrsynth": mrsynth.__version__},
        "task": f"synthesis of {contract.target} from {' + '.join(contract.inputs)}",
        "description": "Makes synthetic MR images of the brain. Research software, not a medical device.",
        "authors": "see models/contract.json",
        "copyright": "see the authors",
        "network_data_format": described,
    }


def _numbered(names: list[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _version_of(package: str, otherwise: str) -> str:
    """Return the version of a package, or another where it is not installed."""
    try:
        return version(package)
    except ImportError:
        return otherwise
