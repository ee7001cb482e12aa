"""Feature networks for the perceptual and contextual losses: found, or trained here on the cohort's own slices."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.core.files import atomic_file, sha256_file, write_json
from mrsynth.core.progress import remark
from mrsynth.core.seeds import derive_seed, generator
from mrsynth.core.settings import Settings, parse
from mrsynth.io.prepared import PreparedCohort
from mrsynth.losses.term import FeatureSettings, FeatureSource, FeatureTraining
from mrsynth.nets.initial import initialise
from mrsynth.nets.vgg import SHAPES, VGG
from mrsynth.nets.weights import load_vgg
from mrsynth.train.batches import SliceSet
from mrsynth.train.feature_task import CHANGES, cut_pieces, draw_pieces

NETWORK, LAST = "small", "relu4_2"
IN_MEMORY_GB = 4.0
PROBES = 16
"""Slices on which a network's own scale is measured."""
JUDGED = 50
"""Accuracies are those of the last this many steps: their pieces are new, their slices are those of the training."""


class FeatureRecord(Settings):
    """What is known of a trained feature network; stands beside its weights as JSON.

    Attributes:
        network: the name of its architecture.
        training: its settings.
        contrasts: those that it was trained on.
        split: whose slices it learned from.
        data_fingerprint: of the prepared cohort.
        slices: how many it learned from.
        accuracy: of the two questions at the end of the training.
        chance: the accuracy of guessing.
        seconds: that the training took.
        torch: its version.
        weights: the name of the file.
        weights_sha256: of its content.
    """

    network: str
    training: FeatureTraining
    contrasts: list[str]
    split: str
    data_fingerprint: str | None
    slices: int
    accuracy: dict[str, float]
    chance: dict[str, float]
    seconds: float
    torch: str
    weights: str
    weights_sha256: str


def feature_source(cohort: PreparedCohort, names: Sequence[str], out: Path) -> FeatureSource:
    """Return what gives a loss its feature network (`build_loss`): loaded, or trained on the training split into `out`.

    Args:
        cohort: the prepared cohort.
        names: the contrasts to train on.
        out: RUN/features; a network that lies there, trained by the same settings on the same data, is taken as it is.

    Returns:
        Settings → network; it makes each network once. It raises ModelError where weights are missing or damaged, and
        RecipeError for a layer that the network does not have.
    """
    found: dict[FeatureSettings, Callable[[Tensor], Tensor]] = {}

    def source(settings: FeatureSettings) -> Callable[[Tensor], Tensor]:
        if settings not in found:
            try:
                if settings.weights == "trained":
                    record = train_features(cohort, "train", names, settings.training, out)
                    net = load_features(out / record.weights, settings.layer)
                else:
                    net = load_vgg(settings.network, settings.layer, settings.weights)
            except ValueError as error:
                raise RecipeError(f"The feature network of the loss: {error}.") from error
            found[settings] = in_units(net, activation(net, cohort, names)) if settings.unit else net
        return found[settings]

    return source


def activation(net: VGG, cohort: PreparedCohort, names: Sequence[str]) -> float:
    """Return the mean absolute value of a network's maps on `PROBES` training slices, evenly chosen, of each contrast.

    Args:
        net: the network.
        cohort: the prepared cohort.
        names: contrasts.
    """
    slices = SliceSet(cohort, "train", (names[:-1], names[-1]), FeatureTraining().min_brain_fraction, 0)
    numbers = np.unique(np.linspace(0, len(slices) - 1, PROBES).round().astype(int)).tolist()
    block = np.empty((len(numbers), *slices.sample_shape), np.float32)
    slices.fill(block, numbers)
    with torch.no_grad():
        return float(
            np.mean([float(net(image[None, None]).abs().mean()) for image in torch.from_numpy(block).flatten(0, 1)])
        )


def in_units(net: VGG, mean: float) -> Callable[[Tensor], Tensor]:
    """Return the network with its maps divided by a number.

    Args:
        net: the network.
        mean: the number.
    """
    return lambda images: net(images) / mean


def train_features(
    cohort: PreparedCohort,
    split: str,
    names: Sequence[str],
    settings: FeatureTraining,
    out: Path,
) -> FeatureRecord:
    """Train the network `small` on the slices of a split by the task of feature_task.py, on the CPU.

    Training leaves small_<digest>.safetensors and .json in `out`; the digest is that of settings, contrasts, split and
    data. Where these files lie already, nothing is trained. An interrupted training begins anew.

    Args:
        cohort: the prepared cohort.
        split: whose slices it learns from.
        names: contrasts.
        settings: of the training.
        out: the folder for the files.

    Returns:
        What the .json file holds.

    Raises:
        CohortError: the split has no slice.
        OutputError: `out` cannot be written.
    """
    path = out / network_file(cohort, split, names, settings)
    if path.with_suffix(".json").is_file():
        return load_record(path)
    slices = SliceSet(cohort, split, (list(names[:-1]), names[-1]), settings.min_brain_fraction, IN_MEMORY_GB)
    remark(f"training a feature network on {len(slices)} slices of {', '.join(names)}: {settings.steps} steps")
    began = time.monotonic()
    net, accuracy = _learn(slices, len(names), settings)
    data = save({name: value.contiguous() for name, value in net.state_dict().items()})
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)
    record = FeatureRecord(
        network=NETWORK,
        training=settings,
        contrasts=list(names),
        split=split,
        data_fingerprint=cohort.fingerprint,
        slices=len(slices),
        accuracy=accuracy,
        chance={"contrast": 1 / len(names), "change": 1 / len(CHANGES)},
        seconds=round(time.monotonic() - began, 1),
        torch=torch.__version__,
        weights=path.name,
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )
    write_json(path.with_suffix(".json"), record.model_dump(mode="json"))
    return record


def network_file(cohort: PreparedCohort, split: str, names: Sequence[str], settings: FeatureTraining) -> str:
    """Return the name of the file in which a feature network lies: that of all it depends on.

    Args:
        cohort: the prepared cohort.
        split: that it learned from.
        names: contrasts.
        settings: of its training.
    """
    what = [settings.model_dump(), list(names), split, cohort.fingerprint]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    return f"{NETWORK}_{key}.safetensors"


def load_features(path: Path, layer: str) -> VGG:
    """Return a feature network that `train_features` left, up to a layer; raises ModelError where it is damaged.

    Args:
        path: the file of weights; its record lies beside it.
        layer: the last one.
    """
    record = load_record(path)
    if not path.is_file() or sha256_file(path) != record.weights_sha256:
        raise ModelError(
            f"{path} is not the file that its record describes.",
            found="no such file" if not path.is_file() else "another SHA-256",
            expected=f"{record.weights_sha256[:16]}…",
            do="remove both files; the network is trained again when the run is resumed",
        )
    return load_vgg(record.network, layer, str(path))


def load_record(path: Path) -> FeatureRecord:
    """Read the record beside a trained feature network's weights.

    Args:
        path: of the weights.

    Raises:
        ModelError: the record is missing or damaged.
    """
    where = path.with_suffix(".json")
    try:
        return parse(FeatureRecord, json.loads(where.read_text(encoding="utf-8")), f"{where}")
    except (OSError, ValueError, TypeError, RecipeError) as error:
        raise ModelError(
            f"{where} is not the record of a feature network.", found=str(error), do="remove it; it is made again"
        ) from error


def _learn(slices: SliceSet, contrasts: int, settings: FeatureTraining) -> tuple[VGG, dict[str, float]]:
    """Return the trained network and the accuracy of each question."""
    classes = {"contrast": contrasts, "change": len(CHANGES)}
    with torch.random.fork_rng(devices=[]):  # layers draw first weights, which are replaced
        net = VGG(NETWORK, LAST)
        head = nn.Linear(SHAPES[NETWORK].widths[-1], sum(classes.values()))
    initialise(net, "he_normal", torch.Generator().manual_seed(derive_seed(settings.seed, "features", "weights")))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    net.requires_grad_(True).train()
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=settings.learning_rate)
    random = generator(settings.seed, "features", "pieces")
    right: list[Tensor] = []
    for _ in range(settings.steps):
        draws = draw_pieces(random, settings.batch_size, len(slices), contrasts)
        images, truth = cut_pieces(slices, draws, settings.crop, settings.gain)
        answers = head(net(images).mean((2, 3))).split(list(classes.values()), dim=1)
        loss = sum((nn.functional.cross_entropy(a, t) for a, t in zip(answers, truth.T, strict=True)), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        right.append(torch.stack([(a.argmax(1) == t).float().mean() for a, t in zip(answers, truth.T, strict=True)]))
    share: Any = torch.stack(right[-JUDGED:]).mean(0).tolist()
    return net.requires_grad_(False).eval(), dict(zip(classes, (round(s, 4) for s in share), strict=True))
