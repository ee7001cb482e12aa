"""A way of training: which samples it takes, which module it builds, what it leaves in the contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from importlib import import_module
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from mrsynth.core.seeds import derive_seed
from mrsynth.io import PreparedCohort
from mrsynth.losses.term import FeatureSource
from mrsynth.nets import Network, build_net
from mrsynth.recipes.schema import MethodSettings, Recipe
from mrsynth.recipes.sections import NetSettings
from mrsynth.train.augment import Augmentation
from mrsynth.train.batches import Rotated, SliceSet, Slicing
from mrsynth.train.loader import Samples
from mrsynth.train.module import TrainingModule
from mrsynth.train.patches import PatchSet

M = TypeVar("M", bound=MethodSettings)


class Method(ABC, Generic[M]):
    """What trains a recipe; one subclass a kind of `method`, named by its settings' TRAINED_BY.

    Args:
        recipe: the recipe, valid.
        settings: its section `method`.
    """

    def __init__(self, recipe: Recipe, settings: M) -> None:
        self.recipe, self.settings = recipe, settings

    def samples(self, prepared: PreparedCohort, validated: bool = True) -> tuple[Samples, Samples | None]:
        """Return the training and validation samples: slices or boxes, as the recipe's `samples` asks.

        Boxes are validated on a quarter as many as an epoch trains, the same ones in every epoch.

        Args:
            prepared: the cohort.
            validated: whether there is a validation split.

        Raises:
            CohortError: where a split has no sample, or samples of several sizes.
        """
        recipe, settings = self.recipe, self.recipe.samples
        contrasts, memory = (recipe.task.inputs, recipe.task.target), recipe.train.in_memory_gb
        if settings.patch is not None:
            fewer = settings.patch.model_copy(update={"per_epoch": max(1, settings.patch.per_epoch // 4)})
            train = self.boxes(prepared, "train", contrasts, settings.patch, recipe.train.seed, memory)
            return train, self.boxes(
                prepared, "val", contrasts, fewer, recipe.train.seed, memory
            ) if validated else None
        slicing = Slicing(settings.planes, settings.neighbours)
        slices = partial(
            SliceSet,
            cohort=prepared,
            contrasts=contrasts,
            min_brain_fraction=settings.min_brain_fraction,
            in_memory_gb=memory,
            slicing=slicing,
        )
        train_set = slices(split="train")
        val_set = slices(split="val") if validated else None
        return (Rotated(train_set) if settings.rotate90 else train_set), val_set

    boxes: type[PatchSet] = PatchSet
    """The boxes that it takes."""

    @abstractmethod
    def module(self, features: FeatureSource | None = None) -> TrainingModule:
        """Return what Lightning trains; its attribute `net` is the network, its first weights drawn.

        It logs train_loss and val_loss; where it has an attribute `loss`, a stage replaces it.

        Args:
            features: networks for its losses (`losses.build_loss`).
        """

    def try_shapes(self, net: Network, inputs: Tensor) -> Tensor:
        """Return what a network makes of a batch; on torch's device "meta" nothing is computed but shapes.

        Args:
            net: the network.
            inputs: (b, c, *space) as the samples have them.
        """
        found: Tensor = net(inputs.repeat(1, net.inputs // inputs.shape[1], *[1] * (inputs.dim() - 2)))
        return found

    def augmentation(self) -> Augmentation | None:
        """Return what is changed in training samples, None for nothing."""
        recipe, settings = self.recipe, self.recipe.samples
        if settings.augment is None:
            return None
        slices = 2 * settings.neighbours + 1
        return Augmentation(settings.augment, recipe.task.inputs, recipe.task.target, slices, *recipe.range)

    def contract(self, prepared: PreparedCohort) -> dict[str, Any]:
        """Return what the model's contract says of this way of training: `flags` and `condition`.

        Args:
            prepared: the cohort that it was trained on.
        """
        return {"flags": False, "condition": None}

    def note(self) -> str:
        """Return what the model's card adds behind the names of the inputs."""
        return ""

    def fine_tuned(self, module: TrainingModule) -> None:
        """Change what a network keeps of another run whose weights it took; nothing unless a method says otherwise.

        Args:
            module: with those weights.
        """

    def drawn(self, net: NetSettings, purpose: str, **more: Any) -> Network:
        """Return a network of the recipe with its first weights, which follow from seed and purpose.

        Args:
            net: its name and settings.
            purpose: "weights" for the generator, "critic".
            more: further arguments of its constructor.
        """
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.recipe.train.seed, purpose))
            return build_net(net.name, **{**net.settings, **more})


def method_of(recipe: Recipe) -> Method[Any]:
    """Return what trains a recipe.

    Args:
        recipe: the recipe, valid.
    """
    module, _, name = recipe.method.TRAINED_BY.partition(":")
    method: Method[Any] = getattr(import_module(module), name)(recipe, recipe.method)
    return method
