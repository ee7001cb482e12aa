"""What a model may be asked for: units that mean something, voxels of its own size, a translation it is good for."""

from __future__ import annotations

from typing import Literal

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.core.types import b_of
from mrsynth.io.contract import Contract
from mrsynth.steps.intensity import PHYSICAL
from mrsynth.synthesize.impute import Supply

VOXEL_TOLERANCE = 1.25
"""Heads differ by about as much in size."""

Units = Literal["range", "input", "training"]


def require_units(units: Units, like: str, target: str) -> None:
    """Raise InputError where the target would take its units from an image of another kind: T1 in Hounsfield units.

    Args:
        units: that were asked for.
        like: the contrast whose units "input" means.
        target: the contrast of the synthetic image.
    """
    kind = "adc" if b_of(like) is not None else like
    if units == "input" and kind != target and {kind, target} & set(PHYSICAL):
        raise InputError(
            f"The units of a {like} say nothing of a {target}.",
            found="--units input",
            do="take --units training or range",
        )


def require_voxels(contract: Contract, case: str, prepared: Image) -> None:
    """Raise InputError where the voxels that the network would see are more than VOXEL_TOLERANCE off the trained ones.

    Args:
        contract: of the model. Of a network of axial slices the edges within the slice are looked at.
        case: its name, for the message.
        prepared: an image as the network sees it.
    """
    if contract.voxels_mm is None:
        return
    least, greatest = contract.voxels_mm
    seen = 2 if contract.patch is None and contract.predict.planes == ("z",) else 3
    edges = list(zip(prepared.spacing_mm, least, greatest, strict=True))[:seen]
    if all(low / VOXEL_TOLERANCE <= edge <= high * VOXEL_TOLERANCE for edge, low, high in edges):
        return
    found, *trained = (" × ".join(f"{mm:.3g}" for mm in sizes) for sizes in zip(*edges, strict=True))
    raise InputError(
        f"{case}: its voxels are not of the size that the model was trained on; what it shows would be scaled.",
        found=f"{found} mm",
        expected=f"{' to '.join(dict.fromkeys(trained))} mm, at most {VOXEL_TOLERANCE:g} times less or more",
        do="resample the scans first, all of them to one grid, or train with the step `resample`",
    )


def taken(contract: Contract, supply: Supply) -> list[str]:
    """Return the inputs that a model gets in a case, scans and what fills a gap.

    Args:
        contract: of the model.
        supply: where its inputs come from.
    """
    return [name for name in contract.inputs if name not in supply.absent]


def why_refused(contract: Contract, supply: Supply) -> str | None:
    """Return why a model is not to be used on what a case has, None where it may be.

    Args:
        contract: of the model, at its target (`Contract.for_target`).
        supply: where its inputs come from.
    """
    inputs = taken(contract, supply)
    why = contract.why_refused(inputs)
    return None if why is None else f"Not to be used for {' + '.join(inputs)} → {contract.target}: {why}"


def require_allowed(contract: Contract, supply: Supply) -> None:
    """Raise InputError where a model is not to be used on what a case has.

    Args:
        contract: of the model, at its target.
        supply: where its inputs come from.
    """
    inputs = taken(contract, supply)
    if (why := contract.why_refused(inputs)) is not None:
        raise InputError(
            f"This model is not to be used for {' + '.join(inputs)} → {contract.target}.",
            found=why,
            do="give further inputs, or name another target; --anyway makes the image all the same, and says so",
        )
