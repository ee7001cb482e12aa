"""A Synthesizer: prepares a case as the model's contract says, predicts, and returns to the patient's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mrsynth.errors import InputError, ModelError
from mrsynth.image import Case, Image
from mrsynth.model import Contract, load_contract, load_weights
from mrsynth.nets import build_net
from mrsynth.prepare import invert_steps, run_steps, split_at_geometry
from mrsynth.synthesize.slices import predict_slices


class Synthesizer:
    """synthesizer(case) → Image. net: any callable (b, c, x, y) → (b, 1, x, y); contract: what it was trained under."""

    def __init__(self, net: Callable[[Tensor], Tensor], contract: Contract, device: str = "cpu") -> None:
        self.net, self.contract, self.device = net, contract, device

    def __call__(self, case: Case) -> Image:
        """Return the synthetic image on the grid of the first input, in the contract's range, 0 outside the brain.

        The case needs the contract's inputs (further images are ignored) and, where its images are not skull-stripped,
        a brain mask. Raises InputError where an input is missing or cannot be prepared.
        """
        missing = [name for name in self.contract.inputs if name not in case.images]
        if missing:
            raise InputError(
                f"This model makes {self.contract.target} from {' + '.join(self.contract.inputs)}; "
                f"{' and '.join(missing)} is missing.",
                found=", ".join(case.images) or "no image",
                expected=", ".join(self.contract.inputs),
                do=f"give --input {missing[0]}=FILE, or take a model that was trained on the contrasts at hand",
            )
        case = replace(
            case,
            images={name: case.images[name] for name in self.contract.inputs},
            masks={name: mask for name, mask in case.masks.items() if name == "brain"},
        )
        on_native_grid, elsewhere = split_at_geometry(self.contract.steps)
        native, _ = run_steps(case, on_native_grid)
        prepared, records = run_steps(native, elsewhere)
        inputs = [prepared.images[name].data for name in self.contract.inputs]
        predicted = predict_slices(self.net, inputs, device=self.device)
        first = self.contract.inputs[0]
        image = prepared.images[first].with_data(np.clip(predicted, *self.contract.range), self.contract.target)
        image = invert_steps(image, records, kinds=("geometry",), like=first)
        # Masked on the patient's grid, where the brain's edge is sharp. The affine is the input's to the bit, not the
        # product of the way there and back.
        data = np.where(native.masks["brain"].data > 0, image.data, 0) if "brain" in native.masks else image.data
        return replace(image, data=data.astype(np.float32), affine=case.images[first].affine)

    def to_training_units(self, image: Image) -> Image:
        """Return a prediction in scanner-like units: the range undone with the training targets' median parameters."""
        if not self.contract.intensity:
            raise ModelError("This model's contract holds no intensities of its training targets.")
        return invert_steps(image, self.contract.intensity)


def load_model(run: Path | str, device: str | None = None) -> Synthesizer:
    """Load a run folder's model; device: a torch device name, by default a GPU where there is one.

    Raises ModelError where the model is missing, altered or does not fit.
    """
    run = Path(run)
    contract = load_contract(run)
    net = load_weights(run, contract, build_net(contract.net, **contract.net_settings))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Synthesizer(net, contract, device)
