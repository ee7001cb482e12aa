"""How far the networks of an ensemble lie apart: where they disagree, the image is not to be trusted."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.io.predictions import Dosage
from mrsynth.nets import Ensemble
from mrsynth.synthesize.predict import Ready, Synthesizer


def spread(synthesizer: Synthesizer, ready: Ready, dosage: Dosage | None = None) -> Image:
    """Return the standard deviation over the members' images, voxel by voxel, on the patient's grid.

    It tells what depends on which patients trained; an error that all members make alike it does not show.

    Args:
        synthesizer: of a model that `mrsynth train --folds` left.
        ready: the prepared case (`Synthesizer.ready`).
        dosage: which image, of a model with a condition.

    Raises:
        InputError: where the model is one network.
    """
    images = []
    for member in require_ensemble(synthesizer).members():
        alone = copy.copy(synthesizer)
        alone.net = member
        images.append(alone.image(ready, dosage))
    deviation = np.std([image.data for image in images], axis=0, dtype=np.float64)
    return replace(images[0], data=deviation.astype(np.float32))


def require_ensemble(synthesizer: Synthesizer) -> Ensemble:
    """Return a model's networks; raises InputError where it is one."""
    if not isinstance(synthesizer.net, Ensemble):
        raise InputError(
            "The spread is that of several networks; this model is one.",
            do="take the folder that mrsynth train --folds left",
        )
    return synthesizer.net
