"""Whether the inputs of a model are like those that it was trained on: measured at training, compared by whoever asks.

Everything is measured of prepared images, inside the brain: what the network sees. Where a preparation takes out a
difference (a z-score any scale), that difference does no harm and is not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mrsynth.core.errors import ModelError
from mrsynth.core.image import Case
from mrsynth.core.types import CONTRASTS
from mrsynth.io.contract import Contract, InputSeen, Span
from mrsynth.steps import run_steps
from mrsynth.steps.absent import steps_without
from mrsynth.steps.needs import contrasts_to_read, is_at_hand

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Of the values in the brain. The greatest value is left out: one voxel decides it."""

TOLD = 0.1
"""From here on a quantile off the training's is told: a share of the training's signal (0.99 quantile − background)."""

REFUSED = 0.35
"""From here on it is refused: a healthy and a diseased head, or two scanners, differ by far less once prepared."""

CORRELATION_TOLD, CORRELATION_REFUSED = 0.3, 0.8
"""How far two inputs' correlation in the brain may lie off that of the training."""

COVERAGE_TOLD, COVERAGE_REFUSED = 0.05, 0.5
"""How much less of the brain an input may cover than in the training, as a share of the brain."""

SAMPLED = 200_000
"""About so many voxels of a brain are looked at."""


@dataclass(frozen=True)
class Measures:
    """What is measured of a prepared input.

    Attributes:
        quantiles: of its values in the brain, at `QUANTILES`.
        background: the median outside of the brain, 0 where nothing lies outside.
        coverage: the share of the brain where it is not background.
        correlation: with the other inputs, by name.
    """

    quantiles: tuple[float, ...]
    background: float
    coverage: float
    correlation: Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """What is unlike the training.

    Attributes:
        text: a sentence.
        refused: whether the image can mean nothing.
    """

    text: str
    refused: bool


def measure(images: Mapping[str, np.ndarray], brain: np.ndarray) -> dict[str, Measures]:
    """Measure prepared inputs.

    Args:
        images: contrast → (x, y, z).
        brain: (x, y, z), boolean, not empty.

    Returns:
        Contrast → what was measured.
    """
    inside = np.flatnonzero(brain)
    inside = inside[:: max(1, len(inside) // SAMPLED)]
    outside = np.flatnonzero(~brain)
    outside = outside[:: max(1, len(outside) // SAMPLED)]
    values = {name: image.ravel()[inside].astype(np.float64) for name, image in images.items()}
    correlation: dict[str, dict[str, float]] = {name: {} for name in images}
    for one, other in combinations(images, 2):
        if values[one].std() > 0 and values[other].std() > 0:
            found = float(np.corrcoef(values[one], values[other])[0, 1])
            correlation[one][other] = correlation[other][one] = found
    measured = {}
    for name, image in images.items():
        background = float(np.median(image.ravel()[outside])) if outside.size else 0.0
        measured[name] = Measures(
            tuple(float(q) for q in np.quantile(values[name], QUANTILES)),
            background,
            float((values[name] != background).mean()),
            correlation[name],
        )
    return measured


def seen_in(cases: Iterable[Mapping[str, Measures]]) -> dict[str, InputSeen]:
    """Return what the training's inputs were like, for the contract.

    Args:
        cases: `measure` of each training case, one at least.
    """
    listed = list(cases)
    seen = {}
    for name in listed[0]:
        mine = [case[name] for case in listed if name in case]
        others = dict.fromkeys(other for one in mine for other in one.correlation)
        seen[name] = InputSeen(
            quantiles=[_span([one.quantiles[i] for one in mine]) for i in range(len(QUANTILES))],
            background=_span([one.background for one in mine]),
            coverage=_span([one.coverage for one in mine]),
            correlation={
                other: _span([one.correlation[other] for one in mine if other in one.correlation]) for other in others
            },
        )
    return seen


def differences(seen: Mapping[str, InputSeen], images: Mapping[str, np.ndarray], brain: np.ndarray) -> list[Difference]:
    """Compare a case's prepared inputs with what the model was trained on.

    Args:
        seen: of the contract.
        images: contrast → (x, y, z), as the network gets them; what a model made in their place is left out.
        brain: (x, y, z), boolean.

    Returns:
        What is unlike the training, nothing where all is alike.
    """
    known = {name: image for name, image in images.items() if name in seen}
    if not known or not brain.any():
        return []
    found: list[Difference] = []
    for name, now in measure(known, brain).items():
        then = seen[name]
        found += _of_values(name, now, then)
        missing = then.coverage.least - now.coverage
        if missing > COVERAGE_TOLD:
            text = f"{name} covers {now.coverage:.0%} of the brain, in the training {then.coverage.least:.0%} at least."
            found.append(Difference(text, missing > COVERAGE_REFUSED))
        for other, value in now.correlation.items():
            if other in then.correlation and name < other:
                off = then.correlation[other].beyond(value)
                if off > CORRELATION_TOLD:
                    text = (
                        f"{name} and {other} correlate by {value:.2f} in the brain, in the training by "
                        f"{then.correlation[other]}: one of them may be another contrast."
                    )
                    found.append(Difference(text, off > CORRELATION_REFUSED))
    return found


def inputs_at_hand(contract: Contract, names: Iterable[str]) -> list[str]:
    """Return a model's inputs (of one that makes each of its contrasts of the others, all of these) that a case has, or
    can be given by the model's preparation.

    Args:
        contract: of the model.
        names: contrasts and masks of the case.
    """
    held = set(names)
    known = contract.contrasts or contract.inputs
    return [name for name in known if is_at_hand(held, name, contract.steps)]


def unlike(contract: Contract, case: Case) -> list[Difference]:
    """Prepare a case as a model asks, and say what is unlike the model's training.

    Args:
        contract: of the model.
        case: as it was read; of its images the model's inputs are looked at, of its masks the brain's.

    Returns:
        What is unlike, nothing where all is alike or the case has none of the inputs.

    Raises:
        InputError: where the case cannot be prepared so.
        ModelError: as `seen_by` does.
    """
    seen, inputs = seen_by(contract), inputs_at_hand(contract, case.images)
    if not inputs:
        return []
    lacking = [name for name in CONTRASTS if name not in inputs]
    steps = steps_without(contract.steps, lacking, [name for name in lacking if name in seen])
    read = contrasts_to_read(case.images, inputs, steps)
    masks = {name: mask for name, mask in case.masks.items() if name == "brain"}
    prepared, _ = run_steps(replace(case, images={n: case.images[n] for n in read}, masks=masks), steps)
    if "brain" not in prepared.masks:
        return []
    images = {name: prepared.images[name].data for name in inputs}
    return differences(seen, images, prepared.masks["brain"].data > 0)


def seen_by(contract: Contract) -> Mapping[str, InputSeen]:
    """Return what a model's inputs were like in its training; raises ModelError where its contract does not say."""
    if contract.seen is None:
        raise ModelError(
            f"The model {contract.recipe} does not say what its training's images were like.",
            found="a contract from before that was measured",
            do="train it again, or leave the model out",
        )
    return contract.seen


def _of_values(name: str, now: Measures, then: InputSeen) -> list[Difference]:
    """Return what is unlike about an input's values, at most one difference: the largest."""
    signal = max(abs(then.quantiles[-1].middle - then.background.middle), 1e-6)
    off = [span.beyond(value) / signal for span, value in zip(then.quantiles, now.quantiles, strict=True)]
    worst = int(np.argmax(off))
    if off[worst] <= TOLD:
        return []
    text = (
        f"{name} has other values than in the training: the {QUANTILES[worst]:g} quantile in the brain is "
        f"{now.quantiles[worst]:.3g}, in the training {then.quantiles[worst]}."
    )
    return [Difference(text, off[worst] > REFUSED)]


def _span(values: Sequence[float]) -> Span:
    return Span(least=min(values), middle=float(np.median(values)), greatest=max(values))
