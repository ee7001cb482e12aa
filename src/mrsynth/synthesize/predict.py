"""A Synthesizer: prepares a case as the model's contract says, predicts, and returns to the patient's own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.errors import InputError, ModelError, RecipeError
from mrsynth.core.image import Case, Image, same_grid
from mrsynth.core.types import CONTRASTS, b_of, contrast_name, in_order
from mrsynth.io.models import find_model
from mrsynth.io.predictions import Dosage, Origin
from mrsynth.likeness import differences
from mrsynth.metrics.regions import Box, bounding_box
from mrsynth.model import Contract, load_contract, load_weights
from mrsynth.nets import Network, build_net
from mrsynth.steps import invert_steps, run_steps, split_at_geometry
from mrsynth.steps.absent import steps_without
from mrsynth.steps.pipeline import Kind
from mrsynth.steps.same_head import doubts
from mrsynth.steps.step import Record
from mrsynth.synthesize.dose import AtDose, noise
from mrsynth.synthesize.impute import (
    REFUSE,
    Imputer,
    MissingInputs,
    Supply,
    network_inputs,
    read_imputers,
    require_same_space,
    supply_of,
)
from mrsynth.synthesize.require import Units, require_allowed, require_units, require_voxels
from mrsynth.volume.predict import Inference, predict_volume
from mrsynth.volume.runtimes import chosen

MARGIN = 8
"""Voxels of background around a brain that is predicted alone."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A case that is ready for the network.

    Attributes:
        prepared: as the network sees it.
        supply: where its inputs come from.
        like, units: what is asked for.
        own: the image whose grid the prediction gets; mask: the brain on that grid.
        before, after: what the steps recorded before and after the grid changed.
        remarks: what is unlike the training, a sentence each.
    """

    prepared: Case
    supply: Supply
    like: str
    units: Units
    own: Image
    mask: Image | None
    before: tuple[Record, ...]
    after: tuple[Record, ...]
    remarks: tuple[str, ...] = ()


class Synthesizer:
    """synthesizer(case) → Image.

    net: any callable (b, c, x, y) → (b, 1, x, y), or (b, c, x, y, z) where contract.patch is set; contract: what it was
    trained under; inference: how volumes are predicted; missing, imputers: what fills the gaps of a case (`impute`), by
    the contrast that they make; allow_unlike: whether inputs are taken that are unlike those of the training; anyway:
    whether it makes what its contract refuses. Raises ModelError for an imputer whose images are prepared otherwise.
    """

    def __init__(
        self,
        net: Callable[[Tensor], Tensor],
        contract: Contract,
        device: str = "cpu",
        *,
        inference: Inference | None = None,
        missing: MissingInputs = REFUSE,
        imputers: Mapping[str, Imputer] | None = None,
        allow_unlike: bool = False,
        anyway: bool = False,
    ) -> None:
        self.net, self.contract, self.device = net, contract, device
        self.inference, self.missing = inference or Inference(), missing
        self.allow_unlike, self.anyway = allow_unlike, anyway
        self.imputers = dict(imputers or {})
        for name, imputer in self.imputers.items():
            require_same_space(contract, name, imputer.contract, imputer.run)
            if imputer.contract.condition is not None:
                raise ModelError(f"{imputer.run} makes {name} at a dose that is asked for; it cannot fill a gap.")

    def __call__(
        self,
        case: Case,
        like: str | None = None,
        units: Units = "range",
        dosage: Dosage | None = None,
    ) -> Image:
        """Return the synthetic image, 0 outside the brain; dosage: which one, of a model with a condition."""
        return next(self.series(case, [dosage], like, units))

    def series(
        self,
        case: Case,
        dosages: Sequence[Dosage | None],
        like: str | None = None,
        units: Units = "range",
    ) -> Iterator[Image]:
        """Yield a synthetic image, 0 outside the brain, for each dosage; the case is prepared once.

        Args:
            case: as `ready` takes it.
            dosages: the doses and fields that a model with a condition is told; [None] for another model.
            like: as in `ready`.
            units: as in `ready`.

        Raises:
            InputError: as `ready` does, and where a dosage is missing or is given to a model without a condition.
        """
        for dosage in dosages:
            self._require_asked(dosage)
        ready = self.ready(case, like, units)
        for dosage in dosages:
            yield self.image(ready, dosage)

    def ready(self, case: Case, like: str | None = None, units: Units = "range") -> Ready:
        """Prepare a case for the network, and compare it with what the model was trained on.

        Args:
            case: with the contract's inputs, or what `missing` and `imputers` ask for (further images are ignored)
                and, where its images are not skull-stripped and the contract's steps make no mask, a brain mask.
            like: the input on whose own grid the image comes back, by default the first that is there.
            units: "range" of the contract; "input": the intensities of `like`, its normalisation undone; "training":
                scanner-like units, the normalisation undone with the training targets' median parameters.

        Raises:
            InputError: where an input is missing or cannot be prepared, where its voxels are of another size than the
                model was trained on or its units of another kind than the target's, or where an input is so unlike the
                training's that its image means nothing (`likeness`), unless `allow_unlike`.
        """
        supply = self.supply(case.images)
        like = self.place(supply, like)
        require_units(units, like, self.contract.target)
        case = replace(
            case,
            images={name: case.images[name] for name in supply.read},
            masks={name: mask for name, mask in case.masks.items() if name == "brain"},
        )
        lacking = [name for name in CONTRASTS if name not in supply.real]
        gaps = [name for name in self.contract.contrasts or self.contract.inputs if name in lacking]
        on_native_grid, elsewhere = split_at_geometry(steps_without(self.contract.steps, lacking, gaps))
        native, before = run_steps(case, on_native_grid)
        prepared, after = run_steps(native, elsewhere)
        require_voxels(self.contract, case.name, prepared.images[supply.real[0]])
        remarks = (*doubts([*before, *after]), *self._compared(prepared, supply))
        # Masked on the patient's grid, where the brain's edge is sharp.
        own, mask = case.images[like], native.masks.get("brain")
        if (mask is None or not same_grid(mask, own)) and "brain" in prepared.masks:
            mask = _back(prepared.masks["brain"], after, ("geometry",), like)
        return Ready(prepared, supply, like, units, own, mask, tuple(before), tuple(after), remarks)

    def image(self, ready: Ready, dosage: Dosage | None = None) -> Image:
        """Return the synthetic image of a case that is `ready`, 0 outside the brain, on the patient's own grid.

        Args:
            ready: the prepared case.
            dosage: the dose and the field that a model with a condition is told; None for another model.
        """
        return self.on_own_grid(ready, self.predicted(ready, dosage))

    def on_own_grid(self, ready: Ready, predicted: np.ndarray) -> Image:
        """Return values of the prepared space on the patient's grid and in the units asked for, 0 outside the brain.

        Args:
            ready: the prepared case.
            predicted: (x, y, z), in the model's range.
        """
        like, after = ready.like, ready.after
        image = ready.prepared.images[ready.supply.real[0]].with_data(predicted, self.contract.target)
        if ready.units == "input":
            image = _back(image, [*ready.before, *after], ("geometry", "intensity"), like)
        else:
            image = _back(image, after, ("geometry",), like)
        if ready.units == "training":
            image = self.to_training_units(image)
        data = image.data if ready.mask is None else np.where(ready.mask.data > 0, image.data, 0)
        # The affine is the input's to the bit, not the product of the way there and back.
        return replace(image, data=data.astype(np.float32), affine=ready.own.affine, native=ready.own.native)

    def _compared(self, prepared: Case, supply: Supply) -> tuple[str, ...]:
        """Return what is unlike the training about a prepared case; raises InputError where it is refused."""
        if self.contract.seen is None or "brain" not in prepared.masks:
            return ()
        images = {name: prepared.images[name].data for name in self.contract.inputs if name in supply.real}
        found = differences(self.contract.seen, images, prepared.masks["brain"].data > 0)
        if (refused := [one.text for one in found if one.refused]) and not self.allow_unlike:
            raise InputError(
                f"{prepared.name}: the model was not trained on such images.",
                found=" ".join(refused),
                do="check that each input is the contrast that it is called and no normalised or masked copy; "
                "--allow-unlike makes the image all the same, and says so",
            )
        return tuple(one.text for one in found)

    def _require_asked(self, dosage: Dosage | None) -> None:
        """Raise InputError where a model with a condition is not told a dose, or another one is."""
        told, makes = dosage is not None, f"makes {self.contract.target}"
        if told and self.contract.condition is None:
            raise InputError(f"This model {makes} and knows nothing of doses.", do="leave out dose and field")
        if not told and self.contract.condition is not None:
            raise InputError(f"This model {makes} at a dose that it is told.", do="give a dosage (--dose 0.1 --b0 3)")

    def supply(self, names: Iterable[str]) -> Supply:
        """Return where the inputs come from in a case with such images; raises InputError where they are too few, or
        the model is not to be used on them."""
        contracts = {name: imputer.contract for name, imputer in self.imputers.items()}
        found = supply_of(self.contract, names, self.missing, contracts)
        if not self.anyway:
            require_allowed(self.contract, found)
        return found

    def place(self, supply: Supply, like: str | None) -> str:
        """Return the image on whose own grid the result comes back: `like`, by default the first input that is there.

        Args:
            supply: where the case's inputs come from.
            like: a contrast. For a fitted ADC the image of the lowest b-value is returned.

        Raises:
            InputError: where `like` is not there.
        """
        if like is not None and like not in (*supply.real, *supply.read):
            taken = ", ".join(supply.real)
            raise InputError(f"The model takes no input {like}.", found=taken, do="--like one of these")
        like = like or next(name for name in self.contract.inputs if name in supply.real)
        return like if like in supply.read else next(name for name in supply.read if b_of(name) is not None)

    def making(self, target: str) -> Synthesizer:
        """Return a synthesizer of another contrast that the same network makes; raises ModelError where it does not."""
        changed = copy(self)
        changed.contract = self.contract.for_target(target)
        return changed

    def with_given_brain(self) -> Synthesizer:
        """Return a synthesizer that takes the brain mask that a case has, and looks for none."""
        changed = copy(self)
        steps = [
            {name: own | {"source": "given"} if name == "brain_mask" else own for name, own in step.items()}
            for step in self.contract.steps
        ]
        changed.contract = self.contract.model_copy(update={"steps": steps})
        return changed

    def sources(self, supply: Supply) -> dict[str, Origin]:
        """Return for each input (and each image made on the way) what it was: a scan, imputed, zeros or left out."""
        found: dict[str, Origin] = {}
        for name in in_order({*self.contract.inputs, *supply.made}):
            if name in supply.made:
                imputer = self.imputers[name]
                model = imputer.contract
                found[name] = Origin(
                    source="imputed", run=imputer.run, weights_sha256=model.weights_sha256, inputs=model.inputs
                )
            elif name in supply.absent:
                found[name] = Origin(source="flagged as missing" if self.contract.flags else "zeros")
            else:
                found[name] = Origin(source="scan")
        return found

    def predicted(
        self, ready: Ready, dosage: Dosage | None = None, net: Callable[[Tensor], Tensor] | None = None
    ) -> np.ndarray:
        """Return the prediction (x, y, z) in the prepared space, gaps filled on the way; clipped to the model's range.

        Args:
            ready: the prepared case.
            dosage: the dose and the field that a model with a condition is told; None for another model.
            net: takes what the model's own takes, and computes in its place.
        """
        images = {name: image.data for name, image in ready.prepared.images.items()}
        for name in ready.supply.made:
            imputer = self.imputers[name]
            images[name] = self._run(imputer.net(), imputer.contract, images)
        return self._run(net or self.net, self.contract, images, dosage)

    def _run(
        self,
        net: Callable[[Tensor], Tensor],
        model: Contract,
        images: Mapping[str, np.ndarray],
        dosage: Dosage | None = None,
    ) -> np.ndarray:
        """Return a network's image of prepared images, in its range; with a dosage the network gets noise too."""
        box, whole = _box(net, model, images), np.full(next(iter(images.values())).shape, model.range[0], np.float32)
        channels = network_inputs(model, {name: image[box] for name, image in images.items()})
        if dosage is not None and isinstance(net, nn.Module):
            net, channels = AtDose(net, dosage), [noise(channels[0].shape, dosage.seed), *channels]
        known = {"patch": model.patch, "neighbours": model.neighbours, "planes": model.predict}
        how = self.inference.model_copy(update={**known, "background": model.range[0]})
        whole[box] = np.clip(predict_volume(net, channels, how, device=self.device), *model.range)
        return whole

    def to_training_units(self, image: Image) -> Image:
        """Return a prediction in scanner-like units: the range undone with the training targets' median parameters."""
        if not self.contract.intensity:
            raise ModelError("This model's contract holds no intensities of its training targets.")
        return invert_steps(image, self.contract.intensity)


def _box(net: object, model: Contract, images: Mapping[str, np.ndarray]) -> Box:
    """Return the part of prepared images that a network is to see: all, or the box around the brain (`brain_alone`)."""
    everywhere: Box = (slice(None), slice(None), slice(None))
    if not isinstance(net, Network) or not net.brain_alone:
        return everywhere
    return bounding_box(np.logical_or.reduce([a != model.range[0] for a in images.values()]), MARGIN) or everywhere


def _back(image: Image, records: Sequence[Record], kinds: Sequence[Kind], like: str) -> Image:
    """Take an image back to the place (and units) of one that was read; a diffusion image is the ADC once it is
    fitted."""
    if b_of(like) is None:
        return invert_steps(image, records, kinds, like)
    fitted = 1 + next((i for i, record in enumerate(records) if record["step"] == "adc"), -1)
    return invert_steps(invert_steps(image, records[fitted:], kinds, "adc"), records[:fitted], kinds, like)


def load_model(
    run: Path | str,
    device: str | None = None,
    *,
    inference: Inference | None = None,
    missing: MissingInputs = REFUSE,
    allow_unlike: bool = False,
    target: str | None = None,
    anyway: bool = False,
) -> Synthesizer:
    """Load a run folder's model.

    Args:
        run: the run folder, or the name of a known model (`io.models`).
        device: a torch device name; by default a GPU where there is one, else the CPU.
        inference: how volumes are predicted.
        missing: what to do where inputs are missing. The imputers that RUN/imputers.yaml names are used too, unless
            zeros were asked for.
        allow_unlike: whether inputs are taken that are unlike those of the training.
        target: what to make, of a model that makes several contrasts.
        anyway: whether it makes what its contract refuses.

    Raises:
        ModelError: where a model is missing, altered or does not fit, or does not make the target.
        RecipeError: for a device or an engine that is not there.
    """
    run = find_model(run)
    device = _require_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    contract = load_contract(run).for_target(target)
    named = {**(read_imputers(run) if missing.policy == "refuse" else {}), **missing.imputers}
    imputers = {contrast_name(name): _imputer(Path(other), device) for name, other in named.items()}
    net = _load_net(run, contract, device)
    inference = inference or Inference()
    engine = chosen(inference.engine, contract.patch, torch.device(device).type, inference.precision)
    inference = inference.model_copy(update={"engine": engine})
    leave = {"allow_unlike": allow_unlike, "anyway": anyway}
    return Synthesizer(net, contract, device, inference=inference, missing=missing, imputers=imputers, **leave)


def _require_device(name: str) -> str:
    """Return a device's name; raises RecipeError where torch cannot use it."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(
            f"There is no device {name} to compute on.",
            found=str(error).splitlines()[0],
            expected="cpu, cuda, cuda:1 …",
        ) from error
    return name


def _imputer(run: Path, device: str) -> Imputer:
    """Return a run as an imputer; its weights are read once, when first needed."""
    run = find_model(run)
    contract = load_contract(run)
    return Imputer(contract, cache(partial(_load_net, run, contract, device)), str(run))


def _load_net(run: Path, contract: Contract, device: str) -> nn.Module:
    """Return a run's network with its weights on a device."""
    return load_weights(run, contract, build_net(contract.net, **contract.net_settings)).to(device)
