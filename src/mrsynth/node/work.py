"""One study: recognise its series as `mrsynth index` does, run every model whose inputs are there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import InputError, ModelError, MrsynthError
from mrsynth.core.files import remove
from mrsynth.index.find import index_folder
from mrsynth.io.contract import Contract
from mrsynth.io.dicom.scan import scan_dicom
from mrsynth.io.locator import split_locator
from mrsynth.model import load_contract
from mrsynth.node.queue import Result
from mrsynth.node.settings import NodeSettings
from mrsynth.synthesize.impute import Supply, imputer_contracts
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_files
from mrsynth.synthesize.targets import possible
from mrsynth.synthesize.write import Formats, dicom_folder


@dataclass(frozen=True)
class Model:
    """A model that the node runs.

    Attributes:
        run: its folder.
        contract: as it was trained.
        imputers: contrast → the contract of the model that fills the gap.
    """

    run: Path
    contract: Contract
    imputers: Mapping[str, Contract]

    def supplies(self, there: Collection[str]) -> dict[str, Supply]:
        """Return the contrasts that the model makes of a case, each with where its inputs come from.

        Args:
            there: the contrasts and masks that the case has.
        """
        found = {name: possible(self.contract.for_target(name), there, self.imputers) for name in self.contract.makes()}
        return {name: supply for name, supply in found.items() if not isinstance(supply, str)}


@contextmanager
def _unnamed(images: Path) -> Iterator[None]:
    """Take the patients' numbers out of what goes wrong: it stands in a table and a log."""
    try:
        yield
    except MrsynthError as error:
        names = {re.escape(volume.patient) for volume in scan_dicom(images)[0] if volume.patient}
        words = re.sub(rf"(?<!\w)({'|'.join(names)})(?!\w)", "the patient", str(error)) if names else str(error)
        raise InputError(words) from None


@dataclass(frozen=True)
class Made:
    """What became of a study.

    Attributes:
        found: contrast → the series' number or UID.
        results: what the models made.
    """

    found: Mapping[str, str]
    results: tuple[Result, ...]


def load_models(runs: Sequence[Path]) -> list[Model]:
    """Return the models of some runs; raises ModelError where one cannot be used here."""
    models = [Model(run, load_contract(run), imputer_contracts(run)) for run in runs]
    for model in models:
        if model.contract.condition is not None or model.contract.target == "ct":
            found = "it wants a dose" if model.contract.condition is not None else "it makes a CT"
            raise ModelError(f"{model.run}: cannot be used by a node.", found=found, do="take mrsynth synthesize")
    return models


def make(images: Path, out: Path, models: Sequence[Model], settings: NodeSettings) -> Made:
    """Run the models whose inputs a study has.

    Args:
        images: folder of the study's DICOM files.
        out: folder for the series; what an earlier attempt left there is removed.
        models: to choose from.
        settings: of the node.

    Returns:
        What was recognised and made.

    Raises:
        InputError: where no model has its inputs, or a scan cannot be used (a slice is missing).
    """
    remove(out)
    with _unnamed(images):
        rows = index_folder(images).rows
    results = []
    for number, row in enumerate(rows):
        for order, model in enumerate(models):
            supplies = model.supplies(row.files)
            if not supplies:
                continue
            place = out / f"{number}-{order}"
            formats = Formats("dicom", settings.enhanced, settings.jpeg_ls)
            files = {name: row.files[name] for supply in supplies.values() for name in supply.read}
            wanted = Place(device=settings.device, formats=formats, targets=tuple(supplies))
            synthesize_files(model.run, files, place, wanted)
            for target in supplies:
                folder = dicom_folder(place / f"{target}.nii.gz").relative_to(out.parent).as_posix()
                results.append(Result(model=model.contract.recipe, target=target, folder=folder))
    found = {name: split_locator(path)[1].get("series", "") for row in rows for name, path in row.files.items()}
    if not results:
        raise InputError(
            "No model has its inputs in this study.",
            found=", ".join(f"{name} (series {series})" for name, series in found.items()),
            expected=" or ".join(_wanted(model.contract) for model in models),
        )
    return Made(found, tuple(results))


def _wanted(contract: Contract) -> str:
    """Return in words what a model needs."""
    return f"some of {', '.join(contract.contrasts)}" if contract.contrasts else " and ".join(contract.inputs)
