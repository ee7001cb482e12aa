"""The rival of the inputs at hand at which anycontrast begins: least squares, for all subsets at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mrsynth.nets.starts import Start


class MixFit:
    """Sums products over voxels: of the start's terms with each other and with the images. One matrix for each set of
    contrasts that cases have holds what every subset and target asks for.

    Args:
        start: what is fitted.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self._products: dict[tuple[int, ...], Tensor] = {}
        self._voxels: dict[tuple[int, ...], int] = {}

    def update(self, values: Tensor, there: Iterable[int]) -> None:
        """Add voxels.

        Args:
            values: (n, contrasts) in the network's units, 0 where a contrast is not there.
            there: the numbers of the contrasts that this case has.
        """
        values, key = values.double(), tuple(sorted(there))
        terms = self.start.terms(values)
        self._products[key] = self._products.get(key, 0) + terms.T @ torch.cat([terms, values], dim=1)
        self._voxels[key] = self._voxels.get(key, 0) + len(values)

    def finish(self) -> Tensor:
        """Return the numbers (2^contrasts, contrasts, terms), 0 where no case has subset and target."""
        contrasts, terms = self.start.contrasts, len(self.start.needs)
        mix = torch.zeros(2**contrasts, contrasts, terms)
        for number in range(1, 2**contrasts):
            subset = {c for c in range(contrasts) if number >> c & 1}
            for target in set(range(contrasts)) - subset:
                seen = [there for there in self._products if subset | {target} <= set(there)]
                if not seen:
                    continue
                total = torch.stack([self._products[there] for there in seen]).sum(0)
                kept = [k for k, needs in enumerate(self.start.needs) if needs <= subset]
                square, wanted = total[kept][:, kept], total[kept, terms + target]
                held = self.start.ridge * sum(self._voxels[there] for there in seen)
                square = square + held * torch.eye(len(kept), dtype=total.dtype)
                mix[number, target, kept] = torch.from_numpy(np.linalg.solve(square.numpy(), wanted.numpy())).float()
        return mix
