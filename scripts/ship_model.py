"""Writes a trained model as one that the package ships: float16, without names, with what it is good for.

    python scripts/ship_model.py RUN NAME --judged FOLDER --licence TEXT --sources sources.md

FOLDER is what `benchmarks.cross_validated` left: calibration.json (`coverage`, `patients` and `factor` as the contract
has them), refused.json (translation → why), trust.json (translation → the share taken of what the network adds).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mrsynth.core.errors import InputError
from mrsynth.io.contract import Calibration, Contract
from mrsynth.model import load_contract, load_weights, save_model
from mrsynth.nets import build_net
from mrsynth.nets.anycontrast import AnyContrast
from mrsynth.nets.protocol import Network

SHIPPED = Path(__file__).parents[1] / "src" / "mrsynth" / "shipped"

LARGEST_BYTES = 12_000_000

SMALL = 4096
"""Tensors of fewer numbers stay in float32: normalisations, biases, shares; the numbers of its start do not."""


def ship(
    run: Path,
    folder: Path,
    *,
    calibration: Mapping[str, Any] | None = None,
    refused: Mapping[str, str] | None = None,
    trust: Mapping[str, float] | None = None,
    licence: str,
    sources: str = "",
) -> float:
    """Write a run's model into a folder of its own.

    Args:
        run: the run folder.
        folder: of the shipped model; its last part is the model's name.
        calibration: of its error maps, None for none.
        refused: translation → why it is not offered.
        trust: translation → the share that is taken of what the network adds to its start; all where none is
            named.
        licence: of the weights.
        sources: a paragraph of Markdown for the card: whose data it was trained on, and how well it does.

    Returns:
        How far its outputs lie from those of the run's weights, as a share of the range, at most.

    Raises:
        InputError: where it is too large, nobody gave a licence, or the calibration speaks of another model.
    """
    if not licence.strip():
        raise InputError("Weights without a licence are not shipped.", do="--licence TEXT")
    contract = load_contract(run)
    known = None if calibration is None else Calibration.model_validate(calibration)
    if known is not None and (strange := set(known.factor) - set(contract.makes())):
        raise InputError("The calibration is another model's.", found=", ".join(sorted(strange)))
    net = _net(run, contract)
    for translation, share in (trust or {}).items():
        _trust(net, contract, translation, share)
    weights = {name: value.half() if _is_large(value) else value for name, value in net.state_dict().items()}
    size = sum(value.numel() * value.element_size() for value in weights.values())
    if size > LARGEST_BYTES:
        raise InputError(
            f"{run} is too large to be shipped.", found=f"{size} bytes", expected=f"at most {LARGEST_BYTES}"
        )
    content = without_names(contract).model_dump(mode="json", exclude={"weights_sha256"})
    content |= {"refused": dict(refused or {}), "licence": licence}
    content["calibration"] = None if known is None else known.model_dump(mode="json")
    shipped = save_model(folder, weights, content, card(Contract(**content, weights_sha256="0" * 64), sources))
    return _apart(net, _net(folder, shipped)) / (contract.range[1] - contract.range[0])


def without_names(contract: Contract) -> Contract:
    """Return a contract that names no patient and no run; scans are still recognised by their SHA-256.

    Args:
        contract: of a run.
    """
    training, began = contract.training, contract.began
    counted = {split: training.patients_in(split) for split in training.patients}
    training = training.model_copy(update={"patients": {}, "n_patients": counted, "members": []})
    began = began.model_copy(update={"start": None, "weights_from": None, "steps_from": None})
    return contract.model_copy(update={"training": training, "began": began})


def card(contract: Contract, sources: str) -> str:
    """Return the card of a shipped model.

    Args:
        contract: without names.
        sources: a paragraph of Markdown.
    """
    n = contract.training.patients_in("train")
    made = ", ".join(contract.makes())
    lines = [
        f"Makes {made}, each from any of the others." if contract.contrasts else f"Makes {made}.",
        f"Trained on {n} patients, {contract.training.epochs} epochs; seed {contract.training.seed}.",
        f"Licence of the weights: {contract.licence}",
        "Research software, not a medical device: its images are synthetic. Not for images unlike its training's.",
    ]
    listed = "".join(f"* {line}\n" for line in lines)
    return f"# {contract.recipe}\n\n{contract.training.title}\n\n{listed}" + (
        f"\n{sources.strip()}\n" if sources else ""
    )


def _trust(net: Network, contract: Contract, translation: str, share: float) -> None:
    """Set the share that a network takes of what it adds in a translation; raises InputError where it has none."""
    inputs, _, target = translation.rpartition("-")
    names = contract.contrasts
    if not isinstance(net, AnyContrast) or not {*inputs.split("+"), target} <= set(names):
        raise InputError("This model has no such translation.", found=translation, expected=", ".join(names) or "none")
    net.take(float(share), map(names.index, inputs.split("+")), names.index(target))


def _net(run: Path, contract: Contract) -> Network:
    net = build_net(contract.net, **contract.net_settings)
    load_weights(run, contract, net)
    return net


def _is_large(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() >= SMALL


def _apart(one: Network, other: Network) -> float:
    """Return how far two networks' outputs lie apart at most, for an input drawn from [0, 1]."""
    stride = one.stride if isinstance(one.stride, int) else math.lcm(*one.stride)
    x = torch.rand((1, one.inputs, 4 * stride, 4 * stride), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return (one(x) - other(x)).abs().max().item()


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--judged", type=Path)
    parser.add_argument("--sources", type=Path)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    asked = parser.parse_args(words)
    names = ("calibration", "refused", "trust") if asked.judged else ()
    judged = {name: json.loads((asked.judged / f"{name}.json").read_text()) for name in names}
    sources, folder = asked.sources.read_text() if asked.sources else "", asked.out / asked.name
    apart = ship(asked.run, folder, licence=asked.licence, sources=sources, **judged)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e6:.2f} MB; float16 moves its output by at most {apart:.2g} of the range.")


if __name__ == "__main__":
    main()
