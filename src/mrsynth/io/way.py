"""How predictions are made: what a record of them says, and what must be the same for earlier ones to be kept."""

from __future__ import annotations

from pydantic import Field

from mrsynth.core.records import Part
from mrsynth.io.run import Sha256


class MissingWay(Part):
    """What was done where an input was missing.

    Attributes:
        policy, without: as in `synthesize.impute.MissingInputs`.
        imputers: contrast → SHA-256 of the weights of the model for it.
    """

    policy: str
    without: list[str]
    imputers: dict[str, Sha256]


class InferenceWay(Part):
    """What of the inference changes values.

    Attributes:
        overlap: slices that neighbouring slabs share, None for all but one.
        precision: of weights and values.
        engine: what computes there.
    """

    overlap: int | None
    precision: str
    engine: str = "torch"


class Seen(Part):
    """On whom a model was trained.

    Attributes:
        patients: their names.
        scans: SHA-256 of their files.
    """

    patients: list[str]
    scans: list[Sha256] = Field(default_factory=list)


class Way(Part):
    """How predictions are made; what must be the same for earlier ones to be kept.

    Attributes:
        weights_sha256: of the model.
        like: the contrast whose grid they get; None for none.
        units: of the values, see `Synthesizer`.
        missing: what is done where an input is missing.
        imputers_saw: contrast → on whom the model that imputes it was trained.
        inference: how volumes are predicted.
    """

    weights_sha256: Sha256
    like: str | None
    units: str
    missing: MissingWay
    imputers_saw: dict[str, Seen]
    inference: InferenceWay
