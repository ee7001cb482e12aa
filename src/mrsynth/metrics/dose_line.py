"""What a dose tells by itself: target = native + k(dose, field) · (other scan − native), k by least effort."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.metrics.regions import ENHANCES

State = dict[str, np.ndarray]
ENDS = {"t1ld": (0.0, 1.0)}
"""k at dose 0 and at the full dose, where the target is the low-dose scan: the native scan, and the standard one."""


class DoseLine:
    """The scan after contrast agent on the line between the native scan and another one after agent.

    k = Σ(target − native) / Σ(other − native) over the training voxels that enhance, for each dose and field strength;
    between doses, and between fields, k is interpolated linearly. target: t1ld (other: t1ce) or t1ce (other: t1ld).
    """

    def __init__(self, target: str) -> None:
        self.target, self.other = target, "t1ce" if target == "t1ld" else "t1ld"
        self._sums: dict[
            tuple[float, float], np.ndarray
        ] = {}  # (b0_tesla, dose): Σ(target − native), Σ(other − native)

    @staticmethod
    def fits(inputs: Mapping[str, np.ndarray] | list[str], target: str) -> bool:
        """Say whether a task has a native scan and one after agent, and asks for one at another dose.

        Args:
            inputs: the contrasts that the task has.
            target: the contrast that it asks for.
        """
        return target in ("t1ld", "t1ce") and {"t1", "t1ld" if target == "t1ce" else "t1ce"} <= set(inputs)

    def update(
        self, inputs: Mapping[str, np.ndarray], target: np.ndarray, brain: np.ndarray, dose: float, b0_tesla: float
    ) -> None:
        """Add a training case.

        Args:
            inputs: volumes (x, y, z) by contrast: t1 and the other scan after agent.
            target: volume (x, y, z).
            brain: mask (x, y, z).
            dose: fraction of the full dose.
            b0_tesla: field strength.
        """
        native = inputs["t1"].astype(np.float64)
        changes = target - native, inputs[self.other] - native
        standard = changes[self.target == "t1ld"]
        voxels = (np.asarray(brain) > 0) & (standard > ENHANCES)
        key = (round(float(b0_tesla), 3), round(float(dose), 4))
        self._sums[key] = self._sums.get(key, np.zeros(2)) + [change[voxels].sum() for change in changes]

    def k(self, dose: float, b0_tesla: float) -> float:
        """Return k at a dose and field strength; beyond those of the training the nearest counts.

        Args:
            dose: fraction of the full dose.
            b0_tesla: field strength.

        Raises:
            InputError: where no training voxel enhanced.
        """
        curves = {field: self._curve(field) for field in sorted({field for field, _ in self._sums})}
        known = {f: float(np.interp(dose, [*c], [*c.values()])) for f, c in curves.items() if c}
        if not known:
            raise InputError("the dose line has seen no voxel that enhances.", do="update it with the training cases")
        return float(np.interp(b0_tesla, [*known], [*known.values()]))

    def predict(self, inputs: Mapping[str, np.ndarray], brain: np.ndarray, dose: float, b0_tesla: float) -> np.ndarray:
        """Return the scan at a dose.

        Args:
            inputs: volumes (x, y, z) by contrast: t1 and the other scan after agent.
            brain: mask (x, y, z).
            dose: fraction of the full dose.
            b0_tesla: field strength.

        Returns:
            (x, y, z), float32, 0 outside of the brain.

        Raises:
            InputError: where an input is missing, or no training voxel enhanced.
        """
        if lacking := [name for name in ("t1", self.other) if name not in inputs]:
            raise InputError("the dose line lacks an input.", found=", ".join(inputs), expected=lacking[0])
        native = inputs["t1"].astype(np.float32)
        made = native + np.float32(self.k(dose, b0_tesla)) * (inputs[self.other].astype(np.float32) - native)
        return np.where(np.asarray(brain) > 0, made, 0).astype(np.float32)

    def to_dict(self) -> State:
        """Return the state: target, and rows of (field, dose, Σ(target − native), Σ(other − native))."""
        rows = [[*key, *sums] for key, sums in self._sums.items()]
        return {"target": np.array(self.target), "sums": np.array(rows, float).reshape(-1, 4)}

    @classmethod
    def from_dict(cls, state: Mapping[str, np.ndarray]) -> DoseLine:
        """Return the line whose state `to_dict` gave; raises InputError for one whose parts do not fit together."""
        found, sums = cls(str(state["target"])), state["sums"]
        if sums.ndim != 2 or sums.shape[1] != 4:
            raise InputError("the dose line is damaged.", found=sums.shape, do="train again")
        found._sums = {(float(b0), float(dose)): np.array([made, other]) for b0, dose, made, other in sums}
        return found

    def _curve(self, field: float) -> dict[float, float]:
        """Return dose → k of a field strength, by dose, with the ends that are known without data."""
        ks = {dose: float(s[0] / s[1]) for (b0, dose), s in self._sums.items() if b0 == field and s[1] > 0}
        if ks and self.target in ENDS:
            ks = {0.0: ENDS[self.target][0], 1.0: ENDS[self.target][1], **ks}
        return dict(sorted(ks.items()))
