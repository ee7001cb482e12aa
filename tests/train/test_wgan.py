"""pinetz2023's game on tiny networks: laws first, then resuming, then what it must survive."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision.amp import MixedPrecision
from torch import Tensor, nn

from mrsynth.core.errors import CohortError, MrsynthError
from mrsynth.core.seeds import generator
from mrsynth.io import PreparedCohort
from mrsynth.losses.noise import PatchWasserstein, at_scale
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history
from mrsynth.train.loader import Loader
from mrsynth.train.machine import NOISE
from mrsynth.train.method import method_of
from mrsynth.train.patches import DoseSet
from mrsynth.train.wgan import Scans, Wgan
from quiet_trainer import fit_batches
from tiny_doses import STRATA, dose_prepared, dose_recipe

Batch = tuple[Tensor, Tensor, Tensor]
CONDITION = torch.tensor([[0.1, 3.0], [0.33, 1.5]])


def quiet(tests: Any) -> Any:
    for message in NOISE:
        tests = pytest.mark.filterwarnings(f"ignore:{message}")(tests)
    return tests


def module(*overrides: str) -> Wgan:
    made = method_of(dose_recipe("train.epochs=40", *overrides)).module()
    assert isinstance(made, Wgan)
    return made


def batches(count: int) -> list[Batch]:
    """Native scans, and a standard dose that is brighter in one half; the low dose is in between."""
    draw = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        native = 0.5 + 0.1 * torch.rand((2, 1, 8, 8, 8), generator=draw)
        agent = torch.zeros_like(native)
        agent[:, :, :4] = 0.5
        target = native + CONDITION[:, 0].reshape(2, 1, 1, 1, 1) * agent
        found.append((torch.cat([native, native + agent], dim=1), target, CONDITION.clone()))
    return found


def train(
    wgan: Wgan, given: list[Batch], folder: Path, epochs: int = 1, check: list[Batch] | None = None, **trainer: Any
) -> dict[str, float]:
    """Train on the batches and return what was logged of the last epoch."""
    return fit_batches(wgan, given, check or given[:1], epochs, default_root_dir=folder, **trainer)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(net.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@quiet
class TestGame:
    def test_the_generator_moves_with_every_third_batch_the_critic_with_each(self, tmp_path: Path):
        wgan = module()
        moved: list[tuple[bool, bool]] = []

        class Watch(L.Callback):
            before: tuple[dict[str, Tensor], dict[str, Tensor]]

            def on_train_batch_start(self, *_: Any) -> None:
                self.before = weights(wgan.net), weights(wgan.critic)

            def on_train_batch_end(self, *_: Any) -> None:
                after = weights(wgan.net), weights(wgan.critic)
                moved.append(tuple(not same(*pair) for pair in zip(self.before, after, strict=True)))  # type: ignore[arg-type]

        logged = train(wgan, batches(7), tmp_path, callbacks=[Watch()])
        assert moved == [(turn in (2, 5), True) for turn in range(7)]
        assert logged.keys() >= {"train_loss", "val_loss", "critic_gap", "game_loss", "penalty", "gradient_norm"}
        assert all(p.requires_grad for p in wgan.parameters())

    def test_the_content_is_that_of_the_real_dose_alone(self, tmp_path: Path):
        """Without the game, artificial doses change nothing of the generator; the real ones do."""
        found = []
        for given, doses in ((batches(3), "[0.05, 0.5]"), (batches(3), "[0.4, 0.5]"), (batches(3), "[0.05, 0.5]")):
            wgan = module("method.weight=0", f"method.condition.dose={doses}")
            if len(found) == 2:
                given[2][2][:, 0] += 0.05
            train(wgan, given, tmp_path)
            found.append(weights(wgan.net))
        assert same(found[0], found[1])
        assert not same(found[0], found[2])

    def test_the_critic_is_told_smoothed_doses(self, tmp_path: Path):
        seen: dict[float, list[Tensor]] = {}
        for smoothing in (0.0, 0.05):
            wgan, told = module(f"method.condition.smoothing={smoothing}"), seen.setdefault(smoothing, [])
            wgan.critic.register_forward_pre_hook(lambda _, args, told=told: told.append(args[3].detach().clone()))
            train(wgan, batches(1), tmp_path)
        assert torch.equal(seen[0.0][0], CONDITION)  # the first call is that of the real images
        assert not torch.equal(seen[0.05][0][:, 0], CONDITION[:, 0])
        assert torch.equal(seen[0.05][0][:, 1], CONDITION[:, 1])
        for real, fake in (seen[0.0][:2], seen[0.05][:2]):
            assert ((fake[:, 0] >= 0.05) & (fake[:, 0] <= 0.5)).all()
            assert torch.equal(real[:, 1], fake[:, 1])

    def test_shared_embeddings_are_trained_by_both(self, tmp_path: Path):
        wgan = module("method.embedding=shared")
        assert wgan.critic.embedding is wgan.net.embedding
        before = weights(wgan.net.embedding)
        train(wgan, batches(1), tmp_path)  # a step of the critic alone
        between = weights(wgan.net.embedding)
        assert not same(before, between)
        separate = module()
        assert separate.critic.embedding is not separate.net.embedding
        wgan = module("method.embedding=shared", "method.critic_steps=1", "method.learning_rate=1e-12")
        before = weights(wgan.net.embedding)
        train(wgan, batches(1), tmp_path)
        assert all((value - before[name]).abs().max() > 1e-5 for name, value in wgan.net.embedding.named_parameters())

    def test_content_and_contrast_are_learned(self, tmp_path: Path):
        wgan = module("method.critic_steps=1", "method.weight=0", "train.learning_rate=0.003")
        first = train(wgan, batches(2), tmp_path)
        last = train(wgan, batches(2), tmp_path, epochs=8)
        assert last["train_loss"] < first["train_loss"] / 2
        assert last["val_loss"] < first["val_loss"]

    def test_the_critic_tells_real_from_synthetic_while_the_generator_is_held(self, tmp_path: Path):
        wgan = module("train.learning_rate=1e-12", "method.penalty=1", "method.learning_rate=0.003")
        first = train(wgan, batches(2), tmp_path)
        last = train(wgan, batches(2), tmp_path, epochs=8)
        assert last["critic_gap"] > max(first["critic_gap"], 0.05)

    def test_validation_is_the_same_in_every_epoch_and_for_every_content_loss(self, tmp_path: Path):
        given, values = batches(1), []
        for loss in ("loss={}", "loss={patch_wasserstein: {weight: 0}, mae: 1}"):
            wgan = module(loss, "train.learning_rate=1e-12", "method.learning_rate=1e-12")
            values += [train(wgan, given, tmp_path, epochs=epochs)["val_loss"] for epochs in (1, 2)]
        assert values == pytest.approx([values[0]] * 4, rel=1e-5)

    def test_one_norm_is_a_sum_over_voxels(self, tmp_path: Path):
        wgan = module("loss={patch_wasserstein: {weight: 0}, mae: 1}", "method.critic_steps=1", "method.weight=0")
        heads: list[Tensor] = []
        wgan.net.register_forward_hook(lambda *args: heads.append(args[2][0].detach()))
        given = batches(1)
        logged = train(wgan, given, tmp_path)
        inputs, target, _ = given[0]
        content = heads[1]  # after the critic's image
        expected = (content - (target - inputs[:, :1])).abs().flatten(1).sum(1).mean()
        assert logged["train_loss"] == pytest.approx(float(expected), rel=1e-5)

    @pytest.mark.parametrize("loss", ["loss={}", "loss={patch_wasserstein: {weight: 0}, mae: 1}"])
    def test_on_images_the_native_scan_is_added_to_every_scale(self, loss: str, tmp_path: Path):
        """Differences are those of residuals; where values lie beside each other they are the image's."""
        found = []
        for content in ("residual", "image"):
            wgan = module(loss, f"method.content={content}", "method.critic_steps=1", "method.weight=0")
            found.append(train(wgan, batches(1), tmp_path)["train_loss"])
        assert (found[0] == pytest.approx(found[1], rel=1e-5)) is ("mae" in loss)
        heads: list[Tensor] = []
        wgan.net.register_forward_hook(lambda *args: heads.extend(args[2]))
        scans = Scans(*batches(1)[0])
        wgan.net(scans.native, scans.native, scans.standard, scans.condition)
        image = scans.native + scans.residual
        ((weight, term),) = wgan.terms
        if isinstance(term, PatchWasserstein):
            whole = [head + at_scale(scans.native, scale) for scale, head in enumerate(heads)]
            offsets = term.draw_offsets(generator(wgan.seed_of("offsets", 0)), len(heads))
            torch.testing.assert_close(wgan._content(heads, scans, 0), weight * term(whole, image, offsets=offsets))

    @pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
    def test_half_precision_keeps_the_penalty_in_float32(self, precision: str, tmp_path: Path):
        def half(count: int) -> dict[str, float]:
            plugin = MixedPrecision(precision, "cpu")  # type: ignore[arg-type]
            return train(module(), batches(count), tmp_path, plugins=[plugin])

        assert half(1)["penalty"] == pytest.approx(train(module(), batches(1), tmp_path)["penalty"], rel=0.02)
        assert all(math.isfinite(value) for value in half(3).values())

    @pytest.mark.parametrize("where", ["net", "critic"])
    def test_what_is_not_finite_stops_the_training_with_a_sentence(self, where: str, tmp_path: Path):
        wgan = module()
        head = wgan.net.heads[1] if where == "net" else wgan.critic.head  # type: ignore[index]
        nn.init.constant_(head.bias, math.nan)  # type: ignore[union-attr, arg-type]
        with pytest.raises(MrsynthError, match=r"diverged in epoch 0[\s\S]*nan"):
            train(wgan, batches(3), tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    return dose_prepared(tmp_path_factory.mktemp("doses") / "p")


def run(prepared: PreparedCohort, folder: Path, epochs: int, *overrides: str, resume: bool = False) -> FitResult:
    recipe = dose_recipe(f"train.epochs={epochs}", "samples.patch.per_epoch=6", *overrides)
    samples = method_of(recipe).samples(prepared)
    return fit(method_of(recipe).module(), samples, recipe.train, folder, resume=resume)


class TestRun:
    @pytest.mark.parametrize("embedding", ["separate", "shared"])
    def test_a_resumed_run_equals_one_that_was_never_stopped(
        self, prepared: PreparedCohort, tmp_path: Path, embedding: str
    ):
        shared = f"method.embedding={embedding}"
        whole = run(prepared, tmp_path / "whole", 2, shared)
        run(prepared, tmp_path / "parts", 1, shared)
        resumed = run(prepared, tmp_path / "parts", 2, shared, resume=True)
        assert same(dict(whole.weights), dict(resumed.weights))
        a, b = (
            torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("whole", "parts")
        )
        assert any(name.startswith("critic.") for name in a["state_dict"])
        assert same(a["state_dict"], b["state_dict"])
        assert len(a["optimizer_states"]) == len(b["optimizer_states"]) == 2
        for one, other in zip(a["optimizer_states"], b["optimizer_states"], strict=True):
            assert all(same(one["state"][k], other["state"][k]) for k in one["state"])
        rows = [read_history(tmp_path / name / "log" / "history.csv") for name in ("whole", "parts")]
        assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
        assert {"critic_gap", "game_loss", "penalty", "gradient_norm"} <= rows[0][0].keys()
        assert (tmp_path / "whole" / "log" / "samples" / "epoch-00000.png").stat().st_size > 1000

    def test_a_run_that_diverges_keeps_its_last_good_checkpoint(self, prepared: PreparedCohort, tmp_path: Path):
        run(prepared, tmp_path, 1)
        good = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
        with pytest.raises(MrsynthError, match="diverged in epoch 1"):
            run(prepared, tmp_path, 2, "loss={patch_wasserstein: {weight: 1.0e+38}, mae: 1.0e+38}", resume=True)
        assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == good


@pytest.mark.parametrize("workers", [0, 1])
def test_every_box_comes_with_the_condition_of_its_case(prepared: PreparedCohort, workers: int):
    patch = dose_recipe().samples.patch
    assert patch is not None
    samples = DoseSet(prepared, "train", (["t1", "t1ce"], "t1ld"), patch, 0, 1)
    order = list(range(40, 52))
    found = torch.cat([condition for *_, condition in Loader(samples, 5, order, workers)])  # type: ignore[arg-type]
    expected = [STRATA[samples.draw(number)[0]] for number in order]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert len(set(expected)) == 3


def test_a_case_without_dose_is_refused(prepared: PreparedCohort, monkeypatch: pytest.MonkeyPatch):
    patch = dose_recipe().samples.patch
    assert patch is not None
    record = prepared.record("case-0")
    monkeypatch.setattr(PreparedCohort, "record", lambda *_: record.model_copy(update={"metadata": {"b0_tesla": 3.0}}))
    with pytest.raises(CohortError, match=r"case-0: its dose is not known[\s\S]*column dose"):
        DoseSet(prepared, "train", (["t1", "t1ce"], "t1ld"), patch, 0, 1)
