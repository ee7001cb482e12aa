"""What is asked for beside a model and its inputs."""

from __future__ import annotations

from dataclasses import dataclass

from mrsynth.core.jobs import HERE, Workers
from mrsynth.synthesize.require import Units
from mrsynth.synthesize.write import NIFTI_OR_BOTH, Formats

ALL = ("all",)
"""Asks for every contrast that a model makes and a case lacks."""


@dataclass(frozen=True)
class Place:
    """What is made, where it goes and is computed.

    Attributes:
        like: the input whose grid it gets (None: the first that is there).
        units: see Synthesizer.
        device: a torch device name (None: a GPU where there is one).
        formats: what is written.
        allow_unlike: whether inputs are taken that are unlike those of the training (`likeness`).
        anyway: whether the model is used for what its contract refuses.
        targets: the contrasts to make; none: the model's own; ALL: each that the model makes and a case lacks.
        error_map: whether a map is written beside each image of how far it may be wrong.
        spread: whether one is written of how far the networks of an ensemble lie apart.
        workers: of a cohort; each holds the model, and takes its share of the cores.
    """

    like: str | None = None
    units: Units = "range"
    device: str | None = None
    formats: Formats = NIFTI_OR_BOTH
    allow_unlike: bool = False
    anyway: bool = False
    targets: tuple[str, ...] = ()
    error_map: bool = False
    spread: bool = False
    workers: Workers = HERE

    @property
    def several(self) -> bool:
        """Say whether each image is called by its contrast: several are asked for, or nobody said which."""
        return len(self.targets) > 1 or self.targets == ALL


USUAL = Place()
"""Nothing in particular is asked for."""
