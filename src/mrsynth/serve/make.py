"""What the page does with the scans of a visit: recognise them, say what each model can make, make it, show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.image import Image
from mrsynth.core.progress import listening
from mrsynth.core.types import image_name
from mrsynth.drawing.viewer import Kind, Shown, viewer_page, write_case
from mrsynth.index.corrections import IGNORE
from mrsynth.index.layouts import find_images
from mrsynth.io import read_image, read_prediction
from mrsynth.io.contract import Contract
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.model import load_contract
from mrsynth.serve.visits import Visit
from mrsynth.synthesize import Doses
from mrsynth.synthesize.impute import imputer_contracts
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_files
from mrsynth.synthesize.targets import possible

CASE = "image"
"""What the viewer calls the one case of a visit: its files are named by it, so no word of a stranger."""


@dataclass(frozen=True)
class Offer:
    """What can be asked for.

    Attributes:
        run: folder of a model.
        target: which of its contrasts it makes.
    """

    run: Path
    target: str

    @property
    def contract(self) -> Contract:
        """The contract of the task."""
        return load_contract(self.run).for_target(self.target)


def offers(runs: Mapping[str, Path]) -> dict[str, Offer]:
    """Return what each model makes, by name; a model of several contrasts has an offer for each.

    Args:
        runs: name → model.
    """
    found: dict[str, Offer] = {}
    for name, run in runs.items():
        made = load_contract(run).makes()
        found |= {name if len(made) == 1 else f"{name}: {target}": Offer(run, target) for target in made}
    return found


@dataclass(frozen=True)
class Asked:
    """What a visitor asks for.

    Attributes:
        offer: the model, and what it is to make.
        contrasts: number of an image → what it is.
        dose, b0_tesla: of a model with doses.
    """

    offer: Offer
    contrasts: Mapping[int, str]
    dose: float | None = None
    b0_tesla: float | None = None


def recognise(visit: Visit) -> list[dict[str, Any]]:
    """Recognise the images of a visit, as `mrsynth index` does.

    Returns:
        Of each image its file, what it is taken for (ignore: nothing) and why.

    Raises:
        InputError: there is no image at all.
    """
    intake = find_images(visit.scans, ())
    visit.found = intake.found
    if not visit.found:
        left_out = [f"{Path(item.path).name}: {item.reason}" for item in intake.ignored]
        raise InputError(
            "There is no image in what was sent.", found="; ".join(left_out[:5]) or "nothing", do="send NIfTI or DICOM"
        )
    return [
        {
            "number": number,
            "file": _shown_path(image.path, visit),
            "case": image.case,
            "contrast": image.contrast,
            "reason": image.reason.replace(f"{visit.scans}/", ""),
        }
        for number, image in enumerate(visit.found)
    ]


def _shown_path(path: Path, visit: Visit) -> str:
    """Return an image's path below what was sent."""
    return str(path).removeprefix(f"{visit.scans}/")


def models(offered: Mapping[str, Offer]) -> list[dict[str, Any]]:
    """Return what the page shows of each offer."""
    found = []
    for name, offer in offered.items():
        contract = offer.contract
        condition = contract.condition
        found.append(
            {
                "name": name,
                "target": contract.target,
                "inputs": contract.inputs,
                "any": bool(contract.contrasts),
                "recipe": contract.recipe,
                "doses": None if condition is None else {"dose": condition.dose, "b0_tesla": condition.b0_tesla},
            }
        )
    return found


def why_not(offer: Offer, contrasts: Mapping[int, str]) -> str:
    """Return why a model cannot make its image, or is not to.

    Args:
        offer: the model, and what it is to make.
        contrasts: number of an image → what it is.

    Returns:
        The reason; nothing where it can.
    """
    try:
        contract = offer.contract
        imputers = imputer_contracts(offer.run)
    except MrsynthError as error:
        return str(error)
    found = possible(contract, [name for name in contrasts.values() if name not in ("brain", IGNORE)], imputers)
    return found if isinstance(found, str) else ""


def make(visit: Visit, asked: Asked) -> None:
    """Make an image, and what the viewer shows of it; progress goes to the visit's words.

    Args:
        visit: with the scans.
        asked: what is to be made.

    Raises:
        MrsynthError: an image is given twice, the model cannot make it, or a scan cannot be used.
    """
    inputs = inputs_of(visit, asked.contrasts)
    contract = asked.offer.contract
    dicom = any(not is_nifti(split_locator(path)[0]) for path in inputs.values())
    doses = None
    if contract.condition is not None:
        doses = Doses((asked.dose or contract.condition.dose[1],), asked.b0_tesla, 0, False)
    result = visit.out / f"{contract.target}.nii.gz"

    def _tell(_: str, what: str) -> None:
        visit.words = what

    with listening(_tell):
        # Of a DICOM scan a folder is asked for, so that a series is written beside the NIfTI file.
        out, place = visit.out if dicom and doses is None else result, Place(targets=(contract.target,))
        synthesize_files(asked.offer.run, inputs, out, place, doses=doses)
    visit.result = result
    visit.words = "preparing the viewer"
    _write_scene(visit, inputs, contract)


def inputs_of(visit: Visit, contrasts: Mapping[int, str]) -> dict[str, Path]:
    """Return the images in use.

    Args:
        visit: with the scans.
        contrasts: number of an image → what it is.

    Returns:
        Contrast → path.

    Raises:
        InputError: a contrast is given twice or unknown.
    """
    found: dict[str, Path] = {}
    for number, said in contrasts.items():
        if said == IGNORE:
            continue
        name = image_name(said)
        if name is None or not 0 <= number < len(visit.found):
            raise InputError("That is no contrast.", found=repr(said[:50]))
        if name in found:
            raise InputError(f"Two images are called {name}.", do="set one of them to 'leave out'")
        found[name] = visit.found[number].path
    return found


def _write_scene(visit: Visit, inputs: Mapping[str, Path], contract: Contract) -> None:
    """Write what the viewer shows: the inputs, and the synthetic image."""
    assert visit.result is not None
    shown = [
        _shown("input", name.upper(), read_image(path, name))
        for name, path in inputs.items()
        if name in contract.inputs
    ]
    shown.append(_shown("synthetic", contract.target.upper(), read_prediction(visit.result, contract.target)))
    write_case(visit.folder, CASE, shown)
    used = [name for name in contract.inputs if name in inputs]
    page = viewer_page(f"{contract.target} from {' + '.join(used)}", [{"case": CASE, "script": f"{CASE}.js"}])
    (visit.folder / "viewer.html").write_text(page, encoding="utf-8")


def _shown(kind: Kind, label: str, image: Image) -> Shown:
    """Return an image for the viewer in a window of its own."""
    values = image.data[image.data != 0]
    low, high = (float(v) for v in np.percentile(values, [1, 99.5])) if values.size else (0.0, 1.0)
    low = min(low, 0.0)
    kept = (low, max(float(image.data.max()), high, low + 1e-6))
    return Shown(kind, label, image.data, np.asarray(image.affine, float), kept, (low, max(high, low + 1e-6)))
