"""A trained model on disk: weights (safetensors), the data contract they were trained under, and a card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.core.files import atomic_folder
from mrsynth.core.settings import PredictSettings, Settings, parse

FORMAT = 2
MAX_WEIGHTS_BYTES = 4 * 2**30
"""Larger weight files are refused: no network of the project comes near."""


class Condition(Settings):
    """What a network with a condition was trained on: the least and the largest dose (a fraction of the full one) and
    field strength."""

    dose: tuple[float, float]
    b0_tesla: tuple[float, float]


class Contract(Settings):
    """What a model was trained on and expects: everything that synthesis needs; of the training data no image, but the
    patients' names as the cohort table has them (under `training`), so that no one is judged who was trained on.

    patch: size of the boxes it was trained on (x, y, z; null: the whole extent), None for axial slices. flags: whether
    each input is followed by a channel that is 1 where the input is there and 0 where it is missing. voxels_mm: least
    and greatest edges of the training cases' voxels as the network saw them (None: not known). neighbours: slices on
    each side that a 2-D network sees too; predict: how it goes over a volume. condition: of a network that is told dose
    and field strength.
    steps: the preparation as the recipe writes it; range: of the values the network sees and returns. intensity: median
    of each intensity step's record of the target over the training cases, to bring a prediction to scanner-like units.
    training: what a user should know of the run (cases, epochs, best validation loss, seed, device, commit).
    """

    format: int
    recipe: str
    inputs: list[str]
    target: str
    net: str
    net_settings: dict[str, Any]
    patch: list[int | None] | None
    flags: bool
    voxels_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    neighbours: int = 0
    predict: PredictSettings = PredictSettings()
    condition: Condition | None = None
    steps: list[dict[str, Any]]
    range: tuple[float, float]
    intensity: list[dict[str, Any]]
    training: dict[str, Any]
    weights_sha256: str

    def patients_seen(self) -> set[str]:
        """Return the patients of training and validation."""
        patients = self.training.get("patients", {})
        return {*patients.get("train", ()), *patients.get("val", ())}


def save_model(folder: Path, weights: Mapping[str, Tensor], contract: Mapping[str, Any], card: str) -> Contract:
    """Write weights.safetensors, contract.json and card.md into a folder, all or nothing; returns the full contract."""
    data = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    full = parse(
        Contract, {**contract, "format": FORMAT, "weights_sha256": hashlib.sha256(data).hexdigest()}, "the contract"
    )
    with atomic_folder(folder) as temporary:
        (temporary / "weights.safetensors").write_bytes(data)
        (temporary / "contract.json").write_text(json.dumps(full.model_dump(mode="json"), indent=1) + "\n")
        (temporary / "card.md").write_text(card)
    return full


def load_contract(run: Path) -> Contract:
    """Read the contract of a run folder (or of its model folder); raises ModelError where there is none."""
    path = model_folder(run) / "contract.json"
    try:
        data = json.loads(path.read_text())
        contract = parse(Contract, data, f"{path}")
    except (json.JSONDecodeError, UnicodeDecodeError, RecipeError, TypeError) as error:
        raise ModelError(f"{path} is not a model contract.", found=str(error), do="train the model again") from error
    if contract.format != FORMAT:
        raise ModelError(
            f"{path} has another format.", found=contract.format, expected=FORMAT, do="use the mrsynth that wrote it"
        )
    return contract


def load_weights(run: Path, contract: Contract, net: nn.Module) -> nn.Module:
    """Load a run's weights into its network and return it in evaluation mode.

    Safetensors only (no pickle), checked against the contract's SHA-256. Raises ModelError where file, hash or shapes
    do not fit.
    """
    path = model_folder(run) / "weights.safetensors"
    if not path.is_file():
        raise ModelError(f"{path} is missing.", do="train the model again, or copy the whole run folder")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path} is too large.", found=f"{path.stat().st_size} bytes", expected=MAX_WEIGHTS_BYTES)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != contract.weights_sha256:
        raise ModelError(
            f"{path} is not the file that the contract describes.",
            found=f"SHA-256 {hashlib.sha256(data).hexdigest()[:16]}…",
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


def model_folder(run: Path) -> Path:
    """Return the folder that holds contract.json: RUN/model or RUN itself; raises ModelError where neither does."""
    for folder in (run / "model", run):
        if (folder / "contract.json").is_file():
            return folder
    raise ModelError(
        f"{run} holds no trained model.",
        found="no such folder" if not run.exists() else "no model/contract.json",
        expected="a run folder made by mrsynth train",
        do="give the folder named by --out when training (a stopped training goes on with --resume)",
    )
