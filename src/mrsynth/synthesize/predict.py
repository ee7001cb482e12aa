"""A Synthesizer: prepares a case as the model's contract says, predicts, and returns to the patient's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mrsynth.errors import InputError, ModelError
from mrsynth.image import Case, Image, same_grid
from mrsynth.model import Contract, load_contract, load_weights
from mrsynth.nets import build_net
from mrsynth.prepare import invert_steps, run_steps, split_at_geometry
from mrsynth.synthesize.slices import predict_slices
from mrsynth.types import b_of, in_order

Units = Literal["range", "input", "training"]


class Synthesizer:
    """synthesizer(case) → Image. net: any callable (b, c, x, y) → (b, 1, x, y); contract: what it was trained under."""

    def __init__(self, net: Callable[[Tensor], Tensor], contract: Contract, device: str = "cpu") -> None:
        self.net, self.contract, self.device = net, contract, device

    def __call__(self, case: Case, like: str | None = None, units: Units = "range") -> Image:
        """Return the synthetic image, 0 outside the brain.

        The case needs the contract's inputs (further images are ignored) and, where its images are not skull-stripped
        and the contract's steps make no mask, a brain mask. like: the input on whose own grid the image comes back, the
        first by default. units: "range" of the contract; "input": the intensities of `like`, its normalisation undone;
        "training": scanner-like units, the normalisation undone with the training targets' median parameters. Raises
        InputError where an input is missing or cannot be prepared.
        """
        like = self._check(case, like)
        used = [name for name in case.images if name in self.contract.inputs or name in self._fitted_from(case)]
        case = replace(
            case,
            images={name: case.images[name] for name in in_order(used)},
            masks={name: mask for name, mask in case.masks.items() if name == "brain"},
        )
        on_native_grid, elsewhere = split_at_geometry(self.contract.steps)
        native, before = run_steps(case, on_native_grid)
        prepared, records = run_steps(native, elsewhere)
        inputs = [prepared.images[name].data for name in self.contract.inputs]
        predicted = predict_slices(self.net, inputs, device=self.device)
        image = prepared.images[self.contract.inputs[0]].with_data(
            np.clip(predicted, *self.contract.range), self.contract.target
        )
        if units == "input":
            image = invert_steps(image, [*before, *records], like=like)
        else:
            image = invert_steps(image, records, kinds=("geometry",), like=like)
        if units == "training":
            image = self.to_training_units(image)
        # Masked on the patient's grid, where the brain's edge is sharp. The affine is the input's to the bit, not the
        # product of the way there and back.
        own, mask = case.images[like], native.masks.get("brain")
        if (mask is None or not same_grid(mask, own)) and "brain" in prepared.masks:
            mask = invert_steps(prepared.masks["brain"], records, kinds=("geometry",), like=like)
        data = image.data if mask is None else np.where(mask.data > 0, image.data, 0)
        return replace(image, data=data.astype(np.float32), affine=own.affine, native=own.native)

    def _check(self, case: Case, like: str | None) -> str:
        """Return the contrast whose grid the result gets; raises InputError where an input is missing."""
        needed = self.contract.inputs
        fitted = ["adc"] if self._fitted_from(case) else []
        missing = [name for name in needed if name not in case.images and name not in fitted]
        if missing:
            raise InputError(
                f"This model makes {self.contract.target} from {' + '.join(needed)}; "
                f"{' and '.join(missing)} is missing.",
                found=", ".join(case.images) or "no image",
                expected=", ".join(needed),
                do=f"give --input {missing[0]}=FILE, or take a model that was trained on the contrasts at hand",
            )
        if like is not None and like not in case.images:
            raise InputError(f"There is no input {like}.", found=", ".join(case.images), do="name one of these")
        return like or next(name for name in needed if name in case.images)

    def _fitted_from(self, case: Case) -> list[str]:
        """Return the diffusion-weighted images that the steps will fit the ADC from, where the model needs one."""
        wanted = "adc" in self.contract.inputs and any("adc" in step for step in self.contract.steps)
        return [name for name in case.images if b_of(name) is not None] if wanted else []

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
