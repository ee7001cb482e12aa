"""Which contrasts are made, of a model that makes several; what is prepared once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from rich.markup import escape

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.progress import remark
from mrsynth.core.types import contrast_name
from mrsynth.io.contract import Contract
from mrsynth.synthesize.impute import REFUSE, Supply, supply_of
from mrsynth.synthesize.place import ALL, Place
from mrsynth.synthesize.predict import Ready, Synthesizer
from mrsynth.synthesize.require import require_units, why_refused


def targets_of(contract: Contract, asked: tuple[str, ...]) -> list[str]:
    """Return the contrasts that may be made of a case.

    Args:
        contract: of the model.
        asked: see `Place.targets`; of ALL, those that a case has are still to be left out (`wanted`).

    Raises:
        ModelError: where the model does not make one of them.
        InputError: for what is no contrast.
    """
    if asked == ALL:
        return contract.makes()
    names = list(dict.fromkeys(contrast_name(target) for target in asked)) or [contract.target]
    return [contract.for_target(name).target for name in names]


def possible(contract: Contract, there: Collection[str], imputers: Mapping[str, Contract]) -> Supply | str:
    """Return where the inputs of a contrast come from that a model makes of a case; or why it cannot, or is not to.

    Args:
        contract: of the model, at its target.
        there: the contrasts and masks that the case has.
        imputers: contrast → the contract of the model that makes it.
    """
    try:
        supply = supply_of(contract, there, REFUSE, imputers)
    except InputError as error:
        return str(error)
    if contract.contrasts and contract.target in there:
        return f"{contract.target} is there."
    return why_refused(contract, supply) or supply


def wanted(synthesizer: Synthesizer, place: Place, there: Collection[str], case: str) -> bool:
    """Say whether a synthesizer's contrast is to be made of a case; what ALL leaves out as refused is said.

    Args:
        synthesizer: of one contrast.
        place: what is asked for.
        there: the contrasts that the case has.
        case: its name.
    """
    if place.targets != ALL:
        return True
    if synthesizer.contract.target in there:
        return False
    willing = synthesizer.making(synthesizer.contract.target)
    willing.anyway = True
    why = None if place.anyway else why_refused(synthesizer.contract, willing.supply(there))
    if why is not None:
        remark(escape(f"{case}: left out. {why}"))
    return why is None


def require_some(synthesizers: Collection[Synthesizer], contract: Contract) -> None:
    """Raise InputError where nothing is left to be made.

    Args:
        synthesizers: of the contrasts that are to be made.
        contract: of the model.
    """
    if not synthesizers:
        raise InputError(
            f"Nothing is left to make: the model makes {', '.join(contract.makes())}.",
            found="--target all, and each of them is given, or refused from what is given",
            do="name the contrast with --target; --anyway makes refused ones",
        )


@dataclass
class Kept:
    """What was prepared of one case: several contrasts that are made of the same scans share it.

    Attributes:
        found: (real, read, made) of a `Supply` → the case that is ready.
    """

    found: dict[tuple[tuple[str, ...], ...], Ready] = field(default_factory=dict)

    def ready(self, synthesizer: Synthesizer, supply: Supply, place: Place, read: Callable[[], Case]) -> Ready:
        """Return a case that is ready for a synthesizer (`Synthesizer.ready`).

        Args:
            synthesizer: of one contrast.
            supply: where its inputs come from.
            place: what is asked for.
            read: gives the case.
        """
        key = (supply.real, supply.read, supply.made)
        if key not in self.found:
            self.found[key] = synthesizer.ready(read(), place.like, place.units)
        require_units(place.units, self.found[key].like, synthesizer.contract.target)
        return replace(self.found[key], supply=supply)
