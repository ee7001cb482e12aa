"""pinetz2023's training: a generator with a condition against a Wasserstein critic with gradient penalty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.core.files import atomic_file
from mrsynth.core.seeds import derive_seed, generator
from mrsynth.drawing.plates import Plate, PlateRow, Tile, plate_png
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Run
from mrsynth.losses.games import critic_loss, generator_loss, gradient_penalty
from mrsynth.losses.noise import PatchWasserstein, at_scale
from mrsynth.losses.registry import Term, build_terms
from mrsynth.losses.term import FeatureSource
from mrsynth.metrics.regions import ENHANCES
from mrsynth.model import Condition
from mrsynth.nets import Network
from mrsynth.recipes.methods import WganSettings
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.method import Method
from mrsynth.train.module import TrainingModule, check_finite, weights_channels_last
from mrsynth.train.patches import DoseSet, condition_of

YARDSTICK = PatchWasserstein(reduction="mean")
"""What validation measures, whatever the content loss: the distance of the values in patches of 4³."""

PANELS = 20
"""Pictures of samples in a run, about."""

PANEL_DOSES = (0.1, 0.2, 0.33)
PANEL_ROWS = 4
WINDOW = (0.0, 1.5)
"""Black and white of a picture, in units of the native brain's 0.95 quantile."""


class Scans:
    """What a batch holds; the networks see the target's residual to the native scan.

    Args:
        inputs: (b, 2, x, y, z), native and standard dose.
        target: (b, 1, x, y, z), the low dose.
        condition: (b, 2), its dose and field strength.
    """

    def __init__(self, inputs: Tensor, target: Tensor, condition: Tensor) -> None:
        self.inputs, self.condition = inputs, condition
        self.native, self.standard = inputs[:, :1], inputs[:, 1:2]
        self.residual = target - self.native


class Wgan(TrainingModule):
    """Each batch is a step of the critic; every `critic_steps`-th is a step of the generator `net` too, an iteration.

    The critic lowers critic_loss + penalty · gradient_penalty, of real residuals at their dose + N(0, smoothing)
    against synthetic ones at artificial doses. The generator lowers the content loss at the real dose, to which alone
    there is a truth, + weight · generator_loss at artificial doses. All that is random follows from (seed, epoch,
    batch, rank).

    Logged: train_loss, the content loss; game_loss and gradient_norm, of the generator; critic_gap, the mean score of
    real less that of synthetic images, which estimates their Wasserstein distance; penalty; val_loss. That one is the
    same measure for every content loss, so that the best epoch of each is chosen alike: the mean over patches of the
    distance between values at the real dose, in the brain (where it is the noise's) plus in what enhances (where it is
    the contrast's), with the same noise in every epoch.

    Args:
        net: the generator.
        critic: one that shares the generator's embedding trains it too.
        terms: the content loss. A PatchWasserstein gets the residuals of all scales and a grid that begins anywhere.
            The others, means over voxels, get the finest residual and count once for each voxel (‖·‖₁ is the mean
            absolute error times the voxels).
        wgan: the recipe's section `method`.
        settings: the recipe's section `train`.
    """

    def __init__(
        self,
        net: Network,
        critic: nn.Module,
        terms: Sequence[Term],
        wgan: WganSettings,
        settings: TrainSettings,
    ) -> None:
        super().__init__()
        self.net, self.critic, self.terms = net, critic, list(terms)
        self.condition, self.wgan, self.settings = wgan.condition, wgan, settings
        shared = {id(parameter) for parameter in net.parameters()}
        self.critics_own = [parameter for parameter in critic.parameters() if id(parameter) not in shared]
        if settings.channels_last:
            weights_channels_last(net)
            weights_channels_last(critic)
        self.automatic_optimization = False

    @property
    def rates(self) -> tuple[float, ...]:
        """Of the generator, and of the critic."""
        return (self.settings.learning_rate, self.wgan.learning_rate)

    def steps_at(self, index: int) -> bool:
        """Say whether the generator takes a step at a batch."""
        return (index + 1) % self.wgan.critic_steps == 0

    @override
    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        """Train the critic on a batch (as `Scans` takes it), and the generator on each critic_steps-th batch too."""
        scans = Scans(*self.augmented(batch[0], batch[1], index), batch[2])
        logged = self._critic_step(scans, index)
        if self.steps_at(index):
            logged |= self._generator_step(scans, index)
        for name, value in logged.items():
            shown = name in ("train_loss", "critic_gap")
            self.log(name, value, on_step=False, on_epoch=True, prog_bar=shown, batch_size=len(scans.condition))

    @override
    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], index: int) -> None:
        """Log val_loss; now and then leave a picture of some samples in log/samples."""
        scans = Scans(*batch)
        noise = self._noise(scans, torch.Generator().manual_seed(derive_seed(self.settings.seed, "validation", index)))
        synthetic = self.net(noise, scans.native, scans.standard, scans.condition)[0]
        brain = scans.native > 0
        enhancing = brain & (scans.standard - scans.native > ENHANCES)
        value = YARDSTICK(synthetic, scans.residual, mask=brain) + YARDSTICK(synthetic, scans.residual, mask=enhancing)
        check_finite({"val_loss": value}, self.current_epoch)
        self.log("val_loss", value, on_epoch=True, prog_bar=True, batch_size=len(scans.condition))
        if index == 0 and self.current_epoch % max(1, self.settings.epochs // PANELS) == 0:
            self._write_panel(scans, noise, synthetic)

    def configure_optimizers(self) -> Any:
        """Adam for the generator (the recipe's `train`), then Adam for the critic (its `method`)."""
        train, wgan = self.settings, self.wgan
        return [
            torch.optim.Adam(self.net.parameters(), lr=train.learning_rate, betas=train.betas),
            torch.optim.Adam(self.critic.parameters(), lr=wgan.learning_rate, betas=wgan.betas),
        ]

    def _critic_step(self, scans: Scans, index: int) -> dict[str, Tensor]:
        """Train the critic on a batch; returns what is logged."""
        random = torch.Generator().manual_seed(self.seed_of("critic", index))
        noise, artificial = self._noise(scans, random), self._artificial(scans, random)
        smoothing = self.condition.smoothing * torch.randn(len(noise), generator=random)
        smoothed = self._with_dose(scans, smoothing, add=True)
        alpha = torch.rand(len(noise), generator=random).to(self.device)
        with torch.no_grad():
            synthetic = self.net(noise, scans.native, scans.standard, artificial)[0]
        real = (scans.residual, scans.native, scans.standard, smoothed)
        fake = (synthetic, scans.native, scans.standard, artificial)
        judged = critic_loss(self.critic(*real), self.critic(*fake))
        penalty = gradient_penalty(self.critic, real, fake, alpha)
        logged = {"critic_gap": -judged.detach(), "penalty": penalty.detach()}
        check_finite(logged, self.current_epoch)
        self._lower(judged + self.wgan.penalty * penalty, 1)
        return logged

    def _generator_step(self, scans: Scans, index: int) -> dict[str, Tensor]:
        """Train the generator on a batch; returns what is logged."""
        random = torch.Generator().manual_seed(self.seed_of("generator", index))
        noise = self._noise(scans, random)
        heads = self.net(noise, scans.native, scans.standard, scans.condition)
        content = self._content(heads, scans, index)
        noise, artificial = self._noise(scans, random), self._artificial(scans, random)
        synthetic = self.net(noise, scans.native, scans.standard, artificial)[0]
        for parameter in self.critics_own:  # the generator's step leaves no gradients in it
            parameter.requires_grad_(False)
        game = generator_loss(self.critic(synthetic, scans.native, scans.standard, artificial))
        logged = {"train_loss": content.detach(), "game_loss": game.detach()}
        check_finite(logged, self.current_epoch)
        norm = self._lower(content + self.wgan.weight * game, 0)
        for parameter in self.critics_own:
            parameter.requires_grad_(True)
        return logged | ({"gradient_norm": norm} if norm.isfinite() else {})

    def _content(self, heads: Sequence[Tensor], scans: Scans, index: int) -> Tensor:
        """Return the content loss of all scales, of residuals or images: sums over the voxels, mean over samples."""
        random, target = generator(self.seed_of("offsets", index)), scans.residual
        if self.wgan.content == "image":
            heads = [head + at_scale(scans.native, scale) for scale, head in enumerate(heads)]
            target = scans.native + scans.residual
        value, voxels = heads[0].new_zeros((), dtype=torch.float32), target[0].numel()
        for weight, term in self.terms:
            if isinstance(term, PatchWasserstein):
                offsets = term.draw_offsets(random, len(heads))
                value = value + weight * term(heads, target, offsets=offsets)
            else:
                value = value + weight * voxels * term(heads[0], target, scans.inputs)
        return value

    def _noise(self, scans: Scans, random: torch.Generator) -> Tensor:
        """Draw noise of a scan's shape; on the CPU, so that it is the same on every device."""
        return torch.randn(scans.native.shape, generator=random).to(self.device)

    def _artificial(self, scans: Scans, random: torch.Generator) -> Tensor:
        """Return the condition with doses drawn evenly."""
        low, high = self.condition.dose
        return self._with_dose(scans, low + (high - low) * torch.rand(len(scans.condition), generator=random))

    def _with_dose(self, scans: Scans, dose: Tensor, add: bool = False) -> Tensor:
        """Return the condition with another dose (b,), or with one that is added to its own."""
        real, b0_tesla = scans.condition.unbind(1)
        dose = dose.to(self.device)
        return torch.stack([real + dose if add else dose, b0_tesla], dim=1)

    def _lower(self, value: Tensor, which: int) -> Tensor:
        """Take one step of an optimiser, outside autocast; returns the norm of the gradient."""
        optimiser: Any = self.optimizers()[which]
        optimiser.zero_grad()
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(value)
            gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)
            if scaler is None:
                check_finite({"gradient_norm": norm}, self.current_epoch)
            else:  # float16: gradients are scaled; where they overflow, the scaler leaves the step out
                norm = norm / scaler.get_scale()
            optimiser.step()
        return norm

    def _write_panel(self, scans: Scans, noise: Tensor, synthetic: Tensor) -> None:
        """Write log/samples/epoch-<n>.png: middle slices of some samples, true and at several doses."""
        if not self.trainer.is_global_zero:
            return
        doses = [scans.native + synthetic]
        for dose in PANEL_DOSES:
            condition = self._with_dose(scans, torch.full((len(noise),), dose))
            doses.append(scans.native + self.net(noise, scans.native, scans.standard, condition)[0])
        columns = [scans.native, scans.native + scans.residual, *doses, scans.standard]
        slices = [column[:PANEL_ROWS, 0, :, :, column.shape[-1] // 2].float().cpu().numpy() for column in columns]
        rows = []
        for (dose, b0_tesla), *images in zip(scans.condition.tolist(), *slices, strict=False):
            tiles = [
                Tile("image", image, synthetic=2 <= number <= 2 + len(PANEL_DOSES))
                for number, image in enumerate(images)
            ]
            region = np.ones(images[0].shape, bool)
            rows.append(PlateRow(f"dose {dose:.2g}, {b0_tesla:.2g} T", tuple(tiles), WINDOW, region, (1.0, 1.0)))
        names = ("native", "low dose", "synthetic", *(f"at {dose:g}" for dose in PANEL_DOSES), "standard")
        path = Run(Path(self.trainer.default_root_dir)).samples / f"epoch-{self.current_epoch:05d}.png"
        with atomic_file(path) as temporary:
            temporary.write_bytes(plate_png(Plate(names, tuple(rows), "Middle slices of training samples.")))


class WganMethod(Method[WganSettings]):
    """Boxes with dose and field, a generator that is told them and a critic that scores its residuals."""

    boxes = DoseSet

    @override
    def module(self, features: FeatureSource | None = None) -> Wgan:
        """Return generator and critic with the content loss."""
        recipe, settings = self.recipe, self.settings
        net: Any = self.drawn(recipe.net, "weights")
        shared = {"embedding": net.embedding} if settings.embedding == "shared" else {}
        critic = self.drawn(settings.critic, "critic", **shared)
        terms = build_terms(recipe.loss, recipe.task.inputs, features)
        return Wgan(net, critic, terms, settings, recipe.train)

    @override
    def try_shapes(self, net: Network, inputs: Tensor) -> Tensor:
        """Return the finest residual that a network makes of a batch."""
        native, standard = inputs[:, :1], inputs[:, 1:2]
        found: Tensor = net(native, native, standard, inputs.new_zeros(len(inputs), len(net.told)))[0]
        return found

    def contract(self, prepared: PreparedCohort) -> dict[str, Any]:
        """Return the doses and fields that it was trained on."""
        fields = [condition_of(prepared, case)[1] for case in prepared.cases("train")]
        condition = Condition(dose=self.settings.condition.dose, b0_tesla=(min(fields), max(fields)))
        return super().contract(prepared) | {"condition": condition}

    def note(self) -> str:
        """Return which doses it can make."""
        return ", at a dose from {:g} to {:g} that it is told".format(*self.settings.condition.dose)
