"""Training against a patch critic, as a Lightning module: Pix2Pix, LA-GANs and MedGAN (chen2022, Table IV)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mrsynth.losses import build_loss
from mrsynth.losses.games import patch_critic_loss, patch_generator_loss
from mrsynth.losses.perceptual import feature_loss, style_loss
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource
from mrsynth.nets import Network
from mrsynth.nets.critic_patch import PatchCritic
from mrsynth.recipes.methods import AdversarialSettings
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.method import Method
from mrsynth.train.module import channels_last, check_finite, weights_channels_last
from mrsynth.train.supervised import Supervised


class Adversarial(Supervised):
    """Two Adams a batch, one step each: first the critic, where it is its turn, then the generator `net` (Isola et al.
    2017, §3.3).

    The critic lowers patch_critic_loss on (target, inputs) against (prediction, inputs), of neighbouring slices the
    middle ones. The generator lowers the
    recipe's image loss plus the game: weight · patch_generator_loss + features · feature_loss + style · style_loss
    (MedGAN's terms, on the critic's maps). Logged are train_loss and val_loss, the image loss alone, so that the best
    epoch is chosen as it is for supervised systems; critic_loss; game_loss, the weighted sum that is added. With all
    three weights 0 the generator trains as `Supervised` trains it, to the bit.
    """

    def __init__(
        self,
        net: Network,
        critic: PatchCritic,
        loss: Loss,
        game: AdversarialSettings,
        settings: TrainSettings,
        neighbours: int = 0,
    ) -> None:
        super().__init__(net, loss, settings, neighbours=neighbours)
        self.critic, self.game = critic, game
        if settings.channels_last:
            weights_channels_last(critic)
        self.automatic_optimization = False

    @property
    def rates(self) -> tuple[float, ...]:
        """Of the generator, and of the critic."""
        return (self.settings.learning_rate, self.game.learning_rate)

    @override
    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Train critic and generator on a batch and return its image loss, without a gradient."""
        torch.manual_seed(self.seed_of("batch", index))
        inputs, target = self.augmented(*batch, index)
        prediction = self.net(channels_last(inputs) if self.settings.channels_last else inputs)
        inputs = self.middle(inputs)
        image = self.loss(prediction, target, inputs)
        generator_adam, critic_adam = self.optimizers()
        judged = patch_critic_loss(self.critic(target, inputs), self.critic(prediction.detach(), inputs))
        if index % self.game.critic_every == 0:
            self._lower(judged, critic_adam)
        self.critic.requires_grad_(False)  # the generator's step leaves no gradients in it
        game = self.game_of(prediction, target, inputs)
        losses = {"train_loss": image, "critic_loss": judged, "game_loss": game}
        check_finite(losses, self.current_epoch)
        self._lower(image + game, generator_adam)
        self.critic.requires_grad_(True)
        for name, value in losses.items():
            shown = name == "train_loss"
            self.log(name, value, on_step=False, on_epoch=True, prog_bar=shown, batch_size=len(inputs), sync_dist=True)
        return image.detach()

    def game_of(self, prediction: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        """Return what the generator lowers beside the image loss; the critic is not trained by it.

        Args:
            prediction: (b, 1, *space).
            target: (b, 1, *space).
            inputs: (b, c, *space), the middle slices.
        """
        game, value = self.game, prediction.new_zeros((), dtype=torch.float32)
        if not game.weight + game.features + game.style:
            return value
        maps = self.critic.features(prediction, inputs)
        if game.weight:
            value = value + game.weight * patch_generator_loss(self.critic.head(maps[-1]))
        if game.features or game.style:
            with torch.no_grad():
                real = self.critic.features(target, inputs)
            if game.features:
                value = value + game.features * feature_loss(maps, real)
            if game.style:
                value = value + game.style * style_loss(maps, real)
        return value

    def _lower(self, value: Tensor, optimiser: Any) -> None:
        """Take one step of an optimiser, outside autocast: it would run the gradients of float32 losses in half."""
        optimiser.zero_grad()
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(value)
            optimiser.step()

    def configure_optimizers(self) -> Any:
        """Adam for the generator (the recipe's `train`), then Adam for the critic (its `method`)."""
        critic = torch.optim.Adam(self.critic.parameters(), lr=self.game.learning_rate, betas=self.game.betas)
        return [super().configure_optimizers(), critic]


class AdversarialMethod(Method[AdversarialSettings]):
    """Slices or boxes, a network and the critic it plays against."""

    @override
    def module(self, features: FeatureSource | None = None) -> Adversarial:
        """Return network and critic with the loss."""
        recipe = self.recipe
        loss = build_loss(recipe.loss, recipe.task.inputs, features)
        net = self.drawn(recipe.net, "weights")
        critic: Any = self.drawn(self.settings.critic, "critic")
        return Adversarial(net, critic, loss, self.settings, recipe.train, recipe.samples.neighbours)
