"""Training of one network for every subset of contrasts and every other one: each sample draws what goes in and what is
made; the scale of the error is learned beside the image."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mrsynth.core.seeds import derive_seed
from mrsynth.io import PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource
from mrsynth.nets import sketch
from mrsynth.nets.anycontrast import MIDDLE, STRETCH, AnyContrast
from mrsynth.nets.starts import Start
from mrsynth.recipes.methods import AnyContrastSettings
from mrsynth.recipes.sections import AugmentSettings, TrainSettings
from mrsynth.train.augment import Augmentation
from mrsynth.train.batches import SliceSet, Slicing
from mrsynth.train.loader import Samples
from mrsynth.train.method import Method
from mrsynth.train.mix import MixFit
from mrsynth.train.module import TrainingModule, check_finite

GEOMETRY = ("rotate_deg", "zoom")
"""What moves inputs and target alike; all else of the augmentation changes what goes in."""

MIX_SLICES, MIX_VOXELS = 600, 1500
"""Slices of the training split, evenly chosen, and voxels of each, to which the network's start is fitted."""


def draw_tasks(there: Tensor, keep: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for each sample which contrast is made and which of the others go in.

    Args:
        there: (b, c), bool: what a sample has, two contrasts at least.
        keep: the probability with which each of the others goes in; one at least does.
        random: where the draws come from.

    Returns:
        The targets (b,), and (b, c), bool: what goes in.
    """
    target = torch.multinomial(there.float(), 1, generator=random)[:, 0]
    others = there.clone()
    others[torch.arange(len(there)), target] = False
    given = others & (torch.rand(there.shape, generator=random) < keep)
    stays = torch.multinomial(others.float(), 1, generator=random)[:, 0]
    given[torch.arange(len(there)), stays] |= ~given.any(dim=1)
    return target, given


def with_roles(images: Tensor, target: Tensor, given: Tensor) -> Tensor:
    """Return what the network gets: each contrast's slices, then its role in as many.

    Args:
        images: (b, c, slices, u, v).
        target: (b,).
        given: (b, c), bool.

    Returns:
        (b, 2 · c · slices, u, v).
    """
    role = given.to(images.dtype)
    role[torch.arange(len(role)), target] = -1
    role = role.to(images.device)[:, :, None, None, None]
    return torch.stack([images * (role > 0), role.expand_as(images)], dim=2).flatten(1, 3)


class AnyContrastTraining(TrainingModule):
    """AdamW on the recipe's loss of the image, and on the likelihood of its error under a Laplace distribution.

    Args:
        net: the network.
        loss: of prediction, target and inputs.
        settings: the recipe's section `train`.
        method: the recipe's section `method`.
    """

    def __init__(self, net: AnyContrast, loss: Loss, settings: TrainSettings, method: AnyContrastSettings) -> None:
        super().__init__()
        self.net: AnyContrast = net
        self.loss, self.settings, self.method = loss, settings, method
        self.moves: Augmentation | None = None

    def _value(self, clean: Tensor, brain: Tensor, seed: int, changes: Augmentation | None) -> Tensor:
        """Return the loss of a batch with tasks drawn from a seed; changes: of the intensities of what goes in."""
        names, random = self.method.contrasts, torch.Generator().manual_seed(seed)
        shape = (len(clean), len(names), -1, *clean.shape[2:])
        clean = clean.reshape(shape)
        there = (clean.amax(dim=(2, 3, 4)) > 0).cpu()
        usable = there.sum(1) > 1
        if not usable.all():
            clean, brain, there = clean[usable.to(clean.device)], brain[usable.to(brain.device)], there[usable]
        if not len(clean):
            return clean.sum()
        target, given = draw_tasks(there, self.method.keep, random)
        seen = clean
        if changes is not None:
            seen = changes(clean.flatten(1, 2), brain, derive_seed(seed, "changes"))[0].reshape(clean.shape)
            seen = seen.clamp(0, 1) * (clean > 0)
        image, error = self.net.image_and_error(with_roles(seen, target, given))
        inside = (image != 0).to(clean.dtype)
        true = self._truth(clean, seen, target, given) * inside
        middle = clean.shape[2] // 2
        value = self.loss(image, true, seen[:, :, middle] * given.to(clean.device)[:, :, None, None])
        if not self.training:
            return value
        off = (image - true).abs()
        if self.method.enhancing:
            value = (
                value + self.method.enhancing * (off[:, 0] * self._enhances(clean[:, :, middle], target, there)).mean()
            )
        if self.method.error:
            known = error + 1e-6
            likelihood = (off.detach() / known + (known * STRETCH).log()) * inside
            value = value + self.method.error * likelihood.mean() / STRETCH
        return value

    def _truth(self, clean: Tensor, seen: Tensor, target: Tensor, given: Tensor) -> Tensor:
        """Return the middle slices of the targets (b, 1, u, v): changed as the inputs were where one of these lies on
        the target's scale."""
        scale, rows, middle = self._scales(), torch.arange(len(clean)), clean.shape[2] // 2
        same = torch.stack([given[:, [s == mine for s in scale]].any(1) for mine in scale])
        follows = same[target, rows].to(clean.device)[:, None, None]
        return torch.where(follows, seen[rows, target, middle], clean[rows, target, middle])[:, None]

    def _enhances(self, clean: Tensor, target: Tensor, there: Tensor) -> Tensor:
        """Return where T1ce is to be made and lies above T1 (b, u, v); nowhere without both.

        Args:
            clean: the middle slices (b, c, u, v).
            target: (b,).
            there: (b, c).
        """
        names = self.method.contrasts
        if not {"t1", "t1ce"} <= set(names):
            return torch.zeros_like(clean[:, 0], dtype=torch.bool)
        t1, t1ce = names.index("t1"), names.index("t1ce")
        wanted = ((target == t1ce) & there[:, t1]).to(clean.device)[:, None, None]
        return wanted & (clean[:, t1ce] - clean[:, t1] > self.method.delta)

    def _scales(self) -> list[Any]:
        """Return for each contrast the scale on which it lies."""
        groups = self.augmentation.settings.together if self.augmentation is not None else (("t1", "t1ce"),)
        return [next((group for group in groups if name in group), name) for name in self.method.contrasts]

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch.

        Args:
            batch: all contrasts (b, c · slices, u, v), and the brain (b, 1, u, v).
            index: the batch's number in the epoch.

        Raises:
            MrsynthError: the loss is not finite.
        """
        seed = self.seed_of("batch", index)
        torch.manual_seed(seed)
        images, brain = batch
        if self.method.mirror and torch.rand(1, generator=torch.Generator().manual_seed(seed)) < 0.5:
            images, brain = images.flip(2), brain.flip(2)
        if self.moves is not None:
            images, brain = self.moves(images, brain, self.seed_of("moves", index))
        images, brain = (self._cropped(x, seed) for x in (images, brain))
        value = self._value(images, brain, seed, self.augmentation)
        check_finite({"train_loss": value}, self.current_epoch)
        self.log(
            "train_loss", value, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(images), sync_dist=True
        )
        return value

    def _cropped(self, x: Tensor, seed: int) -> Tensor:
        """Return the box of a batch (b, n, u, v) that a seed draws."""
        if self.method.crop is None:
            return x
        random = torch.Generator().manual_seed(derive_seed(seed, "crop"))
        for axis, size in zip((2, 3), self.method.crop, strict=True):
            spare = max(0, x.shape[axis] - size)
            x = x.narrow(axis, int(torch.randint(spare + 1, (1,), generator=random)), min(size, x.shape[axis]))
        return x

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the recipe's loss of the image alone, of the same tasks in every epoch.

        Args:
            batch: as `training_step` takes it.
            index: the batch's number.

        Raises:
            MrsynthError: the loss is not finite.
        """
        value = self._value(*batch, derive_seed(self.settings.seed, "val", index), None)
        check_finite({"val_loss": value}, self.current_epoch)
        self.log("val_loss", value, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with the recipe's learning rate and betas, and the method's weight decay."""
        settings = self.settings
        return torch.optim.AdamW(
            self.net.parameters(), settings.learning_rate, betas=settings.betas, weight_decay=self.method.weight_decay
        )


class AnyContrastMethod(Method[AnyContrastSettings]):
    """Slices of all contrasts that a case has; the rival at which the network begins is fitted to them first."""

    mix: Tensor | None = None

    def samples(self, prepared: PreparedCohort, validated: bool = True) -> tuple[Samples, Samples | None]:
        """Return the slices of all contrasts, with the brain in the target's place.

        Args:
            prepared: the cohort.
            validated: whether there is a validation split.

        Raises:
            CohortError: where a split has no sample, or samples of several sizes.
        """
        settings = self.recipe.samples
        slices = partial(
            SliceSet,
            cohort=prepared,
            contrasts=(self.settings.contrasts, "brain"),
            min_brain_fraction=settings.min_brain_fraction,
            in_memory_gb=self.recipe.train.in_memory_gb,
            slicing=Slicing(settings.planes, settings.neighbours),
        )
        train = slices(split="train")
        self.mix = self._mix(train)
        return train, slices(split="val") if validated else None

    def _mix(self, samples: SliceSet) -> Tensor:
        """Return the numbers of the network's start, fitted to slices of the training split."""
        contrasts, width = len(self.settings.contrasts), 2 * self.recipe.samples.neighbours + 1
        fit, block = MixFit(self._start()), torch.empty((1, *samples.sample_shape)).numpy()
        for number in range(0, len(samples), -(-len(samples) // MIX_SLICES)):
            samples.fill(block, [number])
            images = torch.from_numpy(block[0, width // 2 : -1 : width])
            there = [k for k in range(contrasts) if images[k].max() > 0]
            inside = images[there].amin(0) > 0 if there else torch.zeros(images.shape[1:], dtype=torch.bool)
            values = (images[:, inside].T - MIDDLE) * STRETCH
            values = values[:: max(1, len(values) // MIX_VOXELS)]
            values[:, [k for k in range(contrasts) if k not in there]] = 0
            if len(there) > 1:
                fit.update(values, there)
        return fit.finish()

    def _start(self) -> Start:
        """Return the rival at which the network begins."""
        net = sketch(self.recipe.net.name, **self.recipe.net.settings)
        assert isinstance(net, AnyContrast)  # `AnyContrastSettings.check`
        return net.start

    def fine_tuned(self, module: TrainingModule) -> None:
        """Let the network begin at the rival of these cases, where the method says so, instead of that of the cases
        whose weights it took.

        Args:
            module: with those weights.
        """
        if self.settings.refit and self.mix is not None and isinstance(module, AnyContrastTraining):
            module.net.mix.copy_(self.mix)

    def module(self, features: FeatureSource | None = None) -> AnyContrastTraining:
        """Return the network, at its start, with its loss.

        Args:
            features: networks for the loss.
        """
        recipe, settings = self.recipe, self.settings
        net = self.drawn(recipe.net, "weights")
        assert isinstance(net, AnyContrast)  # `AnyContrastSettings.check`
        if self.mix is not None:
            net.mix.copy_(self.mix)
        module = AnyContrastTraining(net, build_loss(recipe.loss, settings.contrasts, features), recipe.train, settings)
        module.moves = self._augmentation(dict.fromkeys(AugmentSettings.model_fields.keys() - {*GEOMETRY, "together"}))
        return module

    def augmentation(self) -> Augmentation | None:
        """Return what is changed in the intensities of what goes in."""
        return self._augmentation(dict.fromkeys(GEOMETRY))

    def _augmentation(self, without: dict[str, None]) -> Augmentation | None:
        """Return the recipe's augmentation but for some of its settings."""
        recipe, asked = self.recipe, self.recipe.samples.augment
        if asked is None:
            return None
        kept = AugmentSettings(**asked.model_dump(exclude=set(without)))
        return Augmentation(kept, self.settings.contrasts, "brain", 2 * recipe.samples.neighbours + 1, *recipe.range)

    def contract(self, prepared: PreparedCohort) -> dict[str, Any]:
        """Return that the network is told which inputs are there, and what it can make.

        Args:
            prepared: the cohort.
        """
        return super().contract(prepared) | {"flags": True, "contrasts": list(self.settings.contrasts)}

    def note(self) -> str:
        """Return that any other contrast can be asked for."""
        return f", or any other of {', '.join(self.settings.contrasts)} from any of the rest"
