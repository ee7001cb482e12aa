"""The game on tiny networks: laws first, then what it must survive."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision.amp import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mrsynth.core.errors import MrsynthError
from mrsynth.io import PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.methods import AdversarialSettings
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.sections import NetSettings, TrainSettings
from mrsynth.train.adversarial import Adversarial
from mrsynth.train.batches import SliceSet
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history
from mrsynth.train.machine import NOISE
from mrsynth.train.supervised import Supervised
from quiet_trainer import fit_batches
from tiny import tiny_prepared

SETTINGS = load_recipe("osman2022").train.model_copy(
    update={"epochs": 3, "batch_size": 4, "learning_rate": 0.002, "accelerator": "cpu", "channels_last": False}
)
GAME = AdversarialSettings(
    kind="adversarial",
    critic=NetSettings(name="critic_patch", settings={}),
    weight=1,
    features=0,
    style=0,
    learning_rate=0.002,
    betas=(0.5, 0.999),
)
PIX2PIX = {"inputs": 1, "widths": [4, 8, 8]}  # with dropout in its decoder


def quiet(tests: Any) -> Any:
    for message in NOISE:
        tests = pytest.mark.filterwarnings(f"ignore:{message}")(tests)
    return tests


def networks(mode: str = "2d", **settings: Any) -> tuple[nn.Module, nn.Module]:
    draw = torch.Generator().manual_seed(0)
    return (
        build_net("pix2pix", generator=draw, mode=mode, **{**PIX2PIX, **settings}),
        build_net("critic_patch", generator=draw, inputs=1, mode=mode, widths=[4, 8]),
    )


def adversary(*, mode: str = "2d", settings: TrainSettings = SETTINGS, **game: object) -> Adversarial:
    net, critic = networks(mode)
    return Adversarial(net, critic, build_loss({"mae": 1}), GAME.model_copy(update=game), settings)


def pairs(*space: int, count: int = 3, batch: int = 4) -> list[tuple[Tensor, Tensor]]:
    """Batches whose target is 1 − input."""
    draw = torch.Generator().manual_seed(1)
    images = [torch.rand((batch, 1, *space), generator=draw) for _ in range(count)]
    return [(image, 1 - image) for image in images]


def train(
    module: L.LightningModule, batches: list[tuple[Tensor, Tensor]], epochs: int = 2, **trainer: Any
) -> dict[str, float]:
    """Train on the batches and return what was logged of the last epoch."""
    return fit_batches(module, batches, batches, epochs, **trainer)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@quiet
class TestGame:
    @pytest.mark.parametrize(("mode", "space"), [("2d", (32, 32)), ("slab", (32, 24, 3)), ("cube", (16, 16, 16))])
    def test_both_networks_move_on_slices_slabs_and_cubes(self, mode: str, space: tuple[int, ...]):
        module = adversary(mode=mode, features=1.0, style=1.0)
        before = weights(module)
        logged = train(module, pairs(*space, count=1), epochs=1)
        after = weights(module)
        trained = [name for name, _ in module.named_parameters()]
        assert [name for name in trained if torch.equal(before[name], after[name])] == []
        assert logged.keys() >= {"train_loss", "critic_loss", "game_loss"}

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_without_weight_the_generator_trains_as_supervised_to_the_bit(self, precision: str):
        game = adversary(weight=0.0)
        alone = Supervised(networks()[0], build_loss({"mae": 1}), SETTINGS)
        logged = [train(module, pairs(32, 32), precision=precision) for module in (game, alone)]
        assert same(weights(game.net), weights(alone.net))
        assert logged[0]["train_loss"] == logged[1]["train_loss"]
        assert logged[0]["game_loss"] == 0

    def test_a_weight_changes_the_generator(self):
        nets = []
        for change in (
            {"weight": 0.0},
            {"weight": 1.0},
            {"weight": 0.0, "features": 1.0},
            {"weight": 0.0, "style": 1.0},
        ):
            module = adversary(**change)
            train(module, pairs(32, 32), epochs=1)
            nets.append(weights(module.net))
        assert not any(same(nets[0], other) for other in nets[1:])

    def test_the_critic_learns_to_tell_what_the_generator_cannot_make(self):
        """The generator is held at its first weights; real images are brighter than its own."""
        module = adversary(settings=SETTINGS.model_copy(update={"learning_rate": 1e-12}))
        batches = [(image, 0.8 + 0 * image) for image, _ in pairs(32, 32)]
        first = train(module, batches, epochs=1)["critic_loss"]
        last = train(module, batches, epochs=30)["critic_loss"]
        assert last < 0.1 < 0.3 < first  # ln 2 where it cannot tell

    def test_the_game_pulls_the_prediction_towards_the_real_images(self):
        """Without an image loss to speak of, the critic alone brings the mean brightness near."""
        module = adversary()
        module.loss = build_loss({"mae": 1e-9})
        batches = [(image, 0.8 + 0 * image) for image, _ in pairs(32, 32)]
        before = module.net(batches[0][0]).mean()
        train(module, batches, epochs=20)
        after = module.net(batches[0][0]).mean()
        assert abs(after - 0.8) < abs(before - 0.8) / 2

    def test_the_generators_step_leaves_the_critic_alone(self):
        """The critic's gradients after a batch are those of its own loss."""
        found: list[dict[str, Tensor]] = []

        class Gradients(L.Callback):
            def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *rest: Any) -> None:
                critic = pl_module.critic
                found.append({name: p.grad.clone() for name, p in critic.named_parameters() if p.requires_grad})

        for change in ({"weight": 0.0}, {"weight": 5.0, "features": 3.0}):
            train(adversary(**change), pairs(32, 32, count=1), epochs=1, callbacks=[Gradients()])
        assert found[0].keys() == dict(adversary().critic.named_parameters()).keys()
        assert same(*found)

    def test_validation_is_the_image_loss_alone(self):
        module = adversary(weight=7.0)
        batch = pairs(32, 32, count=1)
        run = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        value = run.validate(module, DataLoader(batch, batch_size=None), verbose=False)[0]["val_loss"]
        inputs, target = batch[0]
        assert value == pytest.approx(float((module.net.eval()(inputs) - target).abs().mean().detach()), rel=1e-6)

    @pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
    def test_half_precision_learns_too(self, precision: str):
        plugin = MixedPrecision(precision, "cpu")  # type: ignore[arg-type]
        module = adversary(features=1.0)
        first = train(module, pairs(32, 32), epochs=1, plugins=[plugin])
        last = train(module, pairs(32, 32), epochs=10, plugins=[MixedPrecision(precision, "cpu")])  # type: ignore[arg-type]
        assert last["train_loss"] < first["train_loss"]
        assert all(value.dtype == torch.float32 for value in module.parameters())

    def test_a_loss_that_is_not_finite_stops_the_training_with_a_sentence(self):
        inputs, target = pairs(32, 32, count=1)[0]
        with pytest.raises(MrsynthError, match=r"diverged in epoch 0[\s\S]*train_loss nan"):
            train(adversary(), [(inputs, target * math.nan)])
        module = adversary()
        nn.init.constant_(module.critic.head.bias, math.nan)
        before = weights(module.net)
        with pytest.raises(MrsynthError, match=r"diverged in epoch 0[\s\S]*critic_loss nan"):
            train(module, [(inputs, target)])
        trained = dict(module.net.named_parameters())
        assert all(torch.equal(before[name], value) for name, value in trained.items())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    return tiny_prepared(tmp_path_factory.mktemp("prepared") / "p")


def run(prepared: PreparedCohort, folder: Path, epochs: int, *, resume: bool = False, **game: object) -> FitResult:
    settings = SETTINGS.model_copy(update={"epochs": epochs, "samples_per_epoch": 12, "channels_last": True})
    data = [SliceSet(prepared, split, (["t1"], "t2"), 0.1, 1) for split in ("train", "val")]
    module = adversary(settings=settings, features=0.5, style=0.5, **game)
    return fit(module, (data[0], data[1]), settings, folder, resume=resume)


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


class TestRun:
    def test_a_resumed_run_equals_one_that_was_never_stopped(self, prepared: PreparedCohort, tmp_path: Path):
        whole = run(prepared, tmp_path / "whole", 4)
        run(prepared, tmp_path / "parts", 2)
        resumed = run(prepared, tmp_path / "parts", 4, resume=True)
        assert same(dict(whole.weights), dict(resumed.weights))
        a, b = state(tmp_path / "whole"), state(tmp_path / "parts")
        assert any(name.startswith("critic.") for name in a["state_dict"])
        assert same(a["state_dict"], b["state_dict"])
        assert len(a["optimizer_states"]) == len(b["optimizer_states"]) == 2
        for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
            assert all(same(one["state"][k], other["state"][k]) for k in one["state"])
        rows = [read_history(tmp_path / name / "log" / "history.csv") for name in ("whole", "parts")]
        assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]

    def test_the_generator_of_the_best_epoch_is_kept_and_the_history_has_the_game(
        self, prepared: PreparedCohort, tmp_path: Path
    ):
        result = run(prepared, tmp_path, 3)
        assert result.weights.keys() == networks()[0].state_dict().keys()
        rows = read_history(tmp_path / "log" / "history.csv")
        assert result.best_val_loss == pytest.approx(min(row["val_loss"] for row in rows), rel=1e-6)
        assert all(row["critic_loss"] > 0 and row["game_loss"] > 0 for row in rows)
        assert all(row["lr"] == SETTINGS.learning_rate for row in rows)

    def test_a_run_that_diverges_keeps_its_last_good_checkpoint(self, prepared: PreparedCohort, tmp_path: Path):
        run(prepared, tmp_path, 1)
        good = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
        with pytest.raises(MrsynthError, match=r"diverged in epoch 1[\s\S]*game_loss nan"):
            run(prepared, tmp_path, 2, resume=True, weight=math.nan)
        assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == good
        assert run(prepared, tmp_path, 2, resume=True).epochs == 2
