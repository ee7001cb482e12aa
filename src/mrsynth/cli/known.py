"""mrsynth models: the trained models that are known by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrsynth.core.errors import MrsynthError
from mrsynth.core.text import counted

if TYPE_CHECKING:
    from mrsynth.io.contract import Contract

app = typer.Typer(help="Trained models by name: list them, read what one is good for.", no_args_is_help=True)

MB = 1_000_000


@app.command("list")
def list_them() -> None:
    """List the models that the package ships and your own."""
    from mrsynth.cli.failures import shown
    from mrsynth.io.models import known_models, own_folder
    from mrsynth.model import load_contract

    known = known_models()
    if not known:
        print(f"No model is known by name: this version ships none, and there is none in {own_folder()}.")
    for one in known:
        whose = "shipped" if one.shipped else "your own"
        try:
            contract = load_contract(one.folder)
            size = one.model.weights.stat().st_size
        except (MrsynthError, OSError) as error:
            print(shown(f"{one.name} ({whose}): cannot be used. {error}"))
            continue
        patients = counted(contract.training.patients_in("train"), "patient")
        print(shown(f"{one.name} ({whose}): {_task(contract)}"))
        print(shown(f"  trained on {patients}; {size / MB:.1f} MB; {one.folder}"))


@app.command("show")
def show(model: Annotated[str, typer.Argument(help="A model's name, or its folder.")]) -> None:
    """Print a model's card, how far its intervals hold, what it refuses, and its licence."""
    from mrsynth.cli.failures import shown
    from mrsynth.io.models import find_model
    from mrsynth.io.run import Model
    from mrsynth.model import load_contract

    folder = find_model(model)
    contract, card = load_contract(folder), Model.of(folder).card
    print(shown(card.read_text(encoding="utf-8") if card.is_file() else f"{model}: it has no card."))
    for line in (*_facts(contract), f"Folder: {Path(folder)}"):
        print(shown(line))


def _task(contract: Contract) -> str:
    """Return what a model makes from what, in words."""
    if contract.contrasts:
        return f"makes each of {', '.join(contract.contrasts)} from any of the others"
    return f"makes {contract.target} from {' + '.join(contract.inputs)}"


def _facts(contract: Contract) -> list[str]:
    """Return what a contract says for whoever uses the model."""
    lines = [f"Task: {_task(contract)}.", f"Licence: {contract.licence or 'not said'}"]
    if (known := contract.calibration) is None:
        lines.append("Error maps: not calibrated.")
    else:
        patients = counted(known.patients, "patient")
        lines.append(
            f"Error maps: calibrated so that {100 * known.coverage:g} % of the voxels lie inside, on {patients} whom "
            f"the network had not seen; for {', '.join(known.factor)}."
        )
    lines += [f"Refused: {translation} ({why})" for translation, why in contract.refused.items()]
    return lines
