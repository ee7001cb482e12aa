"""How far an image may be wrong, as a map in its units: half the width of an interval around each voxel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.io.contract import Contract
from mrsynth.nets import Ensemble
from mrsynth.nets.anycontrast import AnyContrast, ErrorOf
from mrsynth.synthesize.predict import Ready, Synthesizer
from mrsynth.synthesize.require import taken

NOT_CALIBRATED = "The error map is not calibrated: it is the scale that the network itself says."


def error_map(synthesizer: Synthesizer, ready: Ready, predicted: np.ndarray) -> Image:
    """Return half the width of the interval in which the truth lies, voxel by voxel, on the patient's grid.

    It is the network's scale of its error times the calibration's factor; without a calibration the scale alone. It
    goes the image's own way back, as both ends of the interval do: in other units it is as much larger as they are.

    Args:
        synthesizer: of a model that knows its error.
        ready: the prepared case (`Synthesizer.ready`).
        predicted: the image's values in the prepared space (`Synthesizer.predicted`).

    Raises:
        InputError: where the model says nothing of its error.
    """
    scale = synthesizer.predicted(ready, net=error_net(synthesizer))
    count = len(taken(synthesizer.contract, ready.supply))
    half = scale * np.float32(factor_of(synthesizer.contract, count) or 1)
    above, below = (synthesizer.on_own_grid(ready, predicted + sign * half) for sign in (1, -1))
    return replace(above, data=np.maximum((above.data - below.data) / 2, 0))


def error_net(synthesizer: Synthesizer) -> ErrorOf:
    """Return the network that says how far a model may be wrong; raises InputError where it knows nothing of that."""
    nets = synthesizer.net.members() if isinstance(synthesizer.net, Ensemble) else [synthesizer.net]
    known = [net for net in nets if isinstance(net, AnyContrast)]
    if len(known) < len(nets):
        raise InputError(
            "This model says nothing of its own error.",
            do="leave out --error-map; take a model of the recipe anycontrast, or --spread of an ensemble",
        )
    return ErrorOf(*known).eval()


def factor_of(contract: Contract, count: int) -> float | None:
    """Return what a model's scale of the error is multiplied by, None where it is not calibrated.

    Args:
        contract: of the model, at its target.
        count: of its inputs that are there.
    """
    known = contract.calibration
    factors = known.factor.get(contract.target) if known is not None else None
    return factors[min(count, len(factors)) - 1] if factors else None
