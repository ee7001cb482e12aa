"""A network with a condition (pinetz2023) at one dose: what it may be asked for, the noise that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.errors import InputError
from mrsynth.core.seeds import derive_seed, generator
from mrsynth.io.predictions import Dosage
from mrsynth.model import Condition
from mrsynth.nets.lowdose import LowDoseImage

FIELD_TOLERANCE = 0.05
"""A field that is off by less is the same: scanners of 1.5 and 3 T also write 1.494 and 2.894."""


@dataclass(frozen=True)
class Doses:
    """What is asked of a model with a condition.

    Attributes:
        doses: to make; none: that of each case.
        b0_tesla: the scanner's field; None: that of each case.
        seed: of the noise; the same for all doses of a case, so that they differ in nothing but the contrast agent.
        extrapolate: whether doses and fields outside of what was trained are allowed.
    """

    doses: tuple[float, ...] = ()
    b0_tesla: float | None = None
    seed: int = 0
    extrapolate: bool = False

    @classmethod
    def parse(cls, text: str, b0_tesla: float | None, seed: int, extrapolate: bool) -> Doses:
        """Return what the options mean.

        Args:
            text: fractions of the full dose with commas between, "0.1,0.17"; one that is there twice counts once.
            b0_tesla: as in `Doses`.
            seed: as in `Doses`.
            extrapolate: as in `Doses`.

        Raises:
            InputError: where the text is no list of doses above 0 and up to 1.
        """
        try:
            doses = tuple(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
        except ValueError:
            doses = (float("nan"),)
        if not all(0 < dose <= 1 for dose in doses):
            expected = "fractions of the full dose, e.g. 0.1,0.17"
            raise InputError("--dose is not a list of doses.", found=text, expected=expected)
        return cls(doses, b0_tesla, seed, extrapolate)

    def of_case(self, model: Condition, case: str, known: Mapping[str, Any], own_noise: bool = False) -> list[Dosage]:
        """Return the images to make of a case.

        Args:
            model: the doses and fields that the model was trained on.
            case: its name.
            known: the case's own "dose" and "b0_tesla", where they are known.
            own_noise: whether the noise is another one in each case, by its name.

        Returns:
            One dosage an image, marked where it lies outside of what was trained.

        Raises:
            InputError: where dose or field are not known, or lie outside of what was trained and `extrapolate` is off.
        """
        doses = self.doses or ((known["dose"],) if known.get("dose") else ())
        b0_tesla = self.b0_tesla or known.get("b0_tesla")
        if not doses or b0_tesla is None:
            missing, option = ("b0_tesla", "--b0 3") if doses else ("dose", "--dose 0.1,0.17")
            raise InputError(
                f"{case}: the model is to be told dose and field strength, and the {missing} is not known.",
                expected=f"doses from {model.dose[0]:g} to {model.dose[1]:g}, a field in tesla",
                do=f"give {option}, or fill the column {missing} of the cohort table",
            )
        seed = derive_seed(self.seed, case) if own_noise else self.seed
        return [self._checked(model, case, Dosage(dose=dose, b0_tesla=b0_tesla, seed=seed)) for dose in doses]

    def _checked(self, model: Condition, case: str, asked: Dosage) -> Dosage:
        """Return what is asked, marked where it is outside of what was trained; raises InputError unless allowed."""
        outside = []
        for name, value, (low, high), unit, tolerance in (
            ("dose", asked.dose, model.dose, "", 0.0),
            ("field", asked.b0_tesla, model.b0_tesla, " T", FIELD_TOLERANCE),
        ):
            if not low * (1 - tolerance) <= value <= high * (1 + tolerance):
                outside.append(f"{name} {value:g}{unit}, trained {low:g} to {high:g}{unit}")
        if outside and not self.extrapolate:
            raise InputError(
                f"{case}: the model was not trained on this.",
                found="; ".join(outside),
                do="--allow-extrapolation makes the image all the same, and marks it",
            )
        return asked.model_copy(update={"extrapolated": bool(outside)})


class AtDose(nn.Module):
    """A generator with its condition: noise, native and standard dose (b, 3, x, y, z) → the scan at a dose (b, 1, …).

    Args:
        net: (noise, native, standard, condition (b, 2)) → residuals of all scales, finest first.
        dosage: the dose and the field that the net is told.
    """

    condition: Tensor

    def __init__(self, net: nn.Module, dosage: Dosage) -> None:
        super().__init__()
        self.image = LowDoseImage(net)
        self.register_buffer("condition", torch.tensor([[dosage.dose, dosage.b0_tesla]]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return native + residual."""
        return self.image(x, self.condition.expand(len(x), 2))


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return the noise of a volume, from N(0, 1).

    It is drawn at once, so that the tiles in which a volume is computed do not matter.

    Args:
        shape: (x, y, z).
        seed: the same one gives the same noise.

    Returns:
        The noise (x, y, z), float32.
    """
    return generator(seed, "noise").standard_normal(shape, dtype=np.float32)
