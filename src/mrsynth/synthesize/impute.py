"""Inputs that a case lacks: made by other models of the framework, left out where the model bears it, or refused.

Imputed images never leave the prepared space: the models of one preparation share grid and intensities, so that what
one predicts is what the next takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.types import b_of, contrast_name, in_order, is_contrast
from mrsynth.core.yaml import read_yaml
from mrsynth.io.run import Run
from mrsynth.model import Contract, load_contract
from mrsynth.steps import complete_steps

Policy = Literal["refuse", "zeros"]


@dataclass(frozen=True)
class MissingInputs:
    """What to do where an input is missing.

    Attributes:
        policy: "refuse" says so (a model with availability flags needs no leave); "zeros" gives the network the value
            of the background in its place, as chen2022 does.
        imputers: contrast → run that makes it; these come first.
        without: contrasts that are left out on purpose.
    """

    policy: Policy = "refuse"
    imputers: Mapping[str, Path] = field(default_factory=dict)
    without: tuple[str, ...] = ()


REFUSE = MissingInputs()
"""Nothing was asked for: what a model cannot do without must be there, or be made by an imputer that its run names."""


@dataclass(frozen=True, eq=False)
class Imputer:
    """A model that fills a gap.

    Attributes:
        contract: of the model.
        net: gives its network, which is read when it is first needed.
        run: where it comes from.
    """

    contract: Contract
    net: Callable[[], Callable[[Tensor], Tensor]]
    run: str


@dataclass(frozen=True)
class Supply:
    """Where the inputs of a model come from in one case.

    Attributes:
        real: contrasts that the case has, for the model or for those that fill its gaps.
        read: the images they come from (an ADC may come from several).
        made: contrasts that other models make, in this order.
        absent: inputs that the model does without.
    """

    real: tuple[str, ...]
    read: tuple[str, ...]
    made: tuple[str, ...]
    absent: tuple[str, ...]


def supply_of(
    model: Contract, names: Iterable[str], missing: MissingInputs, imputers: Mapping[str, Contract]
) -> Supply:
    """Return where a model's inputs come from, in a case that has these images.

    At least one input must be real. A gap is filled by its imputer, which may need an image that another imputer makes;
    the order is found.

    Args:
        model: that takes the inputs.
        names: of the case's images and masks.
        missing: what to do where an input is missing.
        imputers: contrast → the contract of the model that makes it.

    Returns:
        What is read, made and left out. An ADC that the model's steps fit counts as real from two diffusion-weighted
        images on.

    Raises:
        InputError: where no input is there, or one is missing that the model cannot do without.
    """
    given = [name for name in in_order(names) if is_contrast(name) and name not in missing.without]
    weighted = [name for name in given if b_of(name) is not None]
    fits = len(weighted) > 1 and "adc" not in {*given, *missing.without} and any("adc" in s for s in model.steps)
    there = [*given, "adc"] if fits else given
    gaps = [name for name in model.inputs if name not in there]
    if len(gaps) == len(model.inputs):
        raise _refusal(model, gaps, given, {})
    made: list[str] = []
    why: dict[str, str] = {}
    for name in gaps:
        chain = _chain(name, there, imputers)
        if isinstance(chain, str):
            why[name] = chain
        else:
            made += [link for link in chain if link not in made]
    if why and not (model.flags or missing.policy == "zeros"):
        raise _refusal(model, list(why), given, {n: text for n, text in why.items() if n in imputers})
    wanted = {*model.inputs, *(source for name in made for source in imputers[name].inputs)}
    real = [name for name in there if name in wanted]
    read = [name for name in real if name in given] + (weighted if fits and "adc" in real else [])
    return Supply(tuple(in_order(real)), tuple(in_order(read)), tuple(made), tuple(why))


def _chain(
    name: str, there: Collection[str], imputers: Mapping[str, Contract], asked: tuple[str, ...] = ()
) -> list[str] | str:
    """Return the contrasts to make, in order, until there is one of this name; or why that is impossible.

    asked: the contrasts that wait for this one.
    """
    if name in there:
        return []
    if name in asked:
        return f"{name} needs {name} again"
    if name not in imputers:
        return f"nothing makes {name}"
    sources = imputers[name].inputs
    if imputers[name].flags:  # fills its own gaps
        return [name] if any(source in there for source in sources) else f"none of {', '.join(sources)} is there"
    chain: list[str] = []
    for source in sources:
        before = _chain(source, there, imputers, (*asked, name))
        if isinstance(before, str):
            return f"{name} is made from {' + '.join(sources)}, and {before}"
        chain += before
    return [*chain, name]


def _refusal(model: Contract, gaps: list[str], given: list[str], why: Mapping[str, str]) -> InputError:
    """Return the error that says which inputs are missing, why nothing fills the gap, and what the ways out are."""
    none = len(gaps) == len(model.inputs)
    are = "is" if len(gaps) == 1 else "are"
    ways = [f"give --input {gaps[0]}=FILE"]
    if none:
        ways += ["take a model that was trained on the contrasts at hand"]
    else:
        ways += [
            f"have it made by another run of the same preparation (--impute {gaps[0]}=RUN)",
            "let the network see 0 in its place (--missing zeros)",
            "take a model that was trained with modality dropout",
        ]
    return InputError(
        f"This model makes {model.target} from {' + '.join(model.inputs)}; {' and '.join(gaps)} {are} missing."
        + "".join(f" It cannot be imputed: {text}." for text in why.values()),
        found=", ".join(given) or "no image",
        expected=("at least one of " if none and len(model.inputs) > 1 else "") + ", ".join(model.inputs),
        do=", or ".join(ways),
    )


def network_inputs(model: Contract, images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the channels of a model's network.

    A missing image is the low end of the model's range, which is the background in a prepared image (0 in [0, 1]). A
    model with flags gets after each image a channel of 1 where it is there, of 0 where not; one that makes any contrast
    also gets a channel of background for the one it is to make, and −1 after it.

    Args:
        model: names the inputs, in the order of the channels.
        images: contrast → prepared image (x, y, z), all of one shape, one at least.

    Returns:
        The channels (x, y, z).
    """
    shape = next(iter(images.values())).shape

    def constant(value: float) -> np.ndarray:
        return np.broadcast_to(np.float32(value), shape)  # takes no memory

    channels: list[np.ndarray] = []
    for name in model.contrasts or model.inputs:
        there = name in images and name in model.inputs
        channels.append(images[name] if there else constant(model.range[0]))
        channels += [constant(-1 if name == model.target else there)] if model.flags else []
    return channels


def read_imputers(run: Path) -> dict[str, Path]:
    """Return the imputers that a run names in RUN/imputers.yaml.

    Args:
        run: the run folder. The file holds lines of `contrast: run folder`, the latter relative to the run.

    Returns:
        Contrast → run folder; {} where the run names none.

    Raises:
        ModelError: where the file cannot be read, or holds anything else.
    """
    path = Run(run).imputers
    if not path.is_file():
        return {}
    data: Any = read_yaml(path, ModelError)
    if not isinstance(data, dict) or not all(isinstance(text, str) for pair in data.items() for text in pair):
        raise ModelError(f"{path} names no runs.", found=data, expected="lines of `contrast: run folder`")
    return {contrast_name(name): run / folder for name, folder in data.items()}


def imputer_contracts(run: Path) -> dict[str, Contract]:
    """Return the contracts of the imputers that a run names, by contrast (`read_imputers`).

    Args:
        run: the run folder.
    """
    return {name: load_contract(other) for name, other in read_imputers(run).items()}


def require_same_space(model: Contract, name: str, imputer: Contract, run: str) -> None:
    """Refuse a run that cannot make a model's input.

    Args:
        model: that takes the input.
        name: the contrast of the input.
        imputer: the contract of the run that is to make it.
        run: where the imputer comes from, for the message.

    Raises:
        ModelError: where the run makes another contrast, or was trained in another preparation or range.
    """
    if imputer.target != name:
        raise ModelError(
            f"{run} does not make {name}.", found=f"it makes {imputer.target}", do=f"name a run that makes {name}"
        )
    theirs, ours = ([*map(str, complete_steps(c.steps)), f"values in {list(c.range)}"] for c in (imputer, model))
    different = next((pair for pair in zip_longest(theirs, ours) if pair[0] != pair[1]), None)
    if different is None:
        return
    raise ModelError(
        f"{run} makes {name} in another space than this model takes it: their images are prepared differently.",
        found=different[0],
        expected=different[1],
        do="train both on the same prepared cohort, or synthesize the image to a file and give it with --input",
    )
