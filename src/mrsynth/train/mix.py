"""The polynomial of the inputs at hand at which anycontrast begins: least squares, for all subsets at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from mrsynth.nets.anycontrast import monomials, polynomial

RIDGE = 1e-6
"""A voxel: what holds a polynomial of few grey levels."""


class MixFit:
    """Sums products of the polynomial's terms over voxels. An image is itself a term of first degree, so one matrix for
    each set of contrasts that cases have holds what every subset and target asks for."""

    def __init__(self, contrasts: int) -> None:
        self.contrasts, self.terms = contrasts, monomials(contrasts)
        self._products: dict[tuple[int, ...], Tensor] = {}

    def update(self, values: Tensor, there: Iterable[int]) -> None:
        """Add voxels.

        Args:
            values: (n, contrasts) in the network's units, 0 where a contrast is not there.
            there: the numbers of the contrasts that this case has.
        """
        terms = polynomial(values.double())
        key = tuple(sorted(there))
        self._products[key] = self._products.get(key, 0) + terms.T @ terms

    def finish(self) -> Tensor:
        """Return the coefficients (2^contrasts, contrasts, terms), 0 where no case has subset and target."""
        mix = torch.zeros(2**self.contrasts, self.contrasts, len(self.terms))
        for number in range(1, 2**self.contrasts):
            subset = {c for c in range(self.contrasts) if number >> c & 1}
            for target in set(range(self.contrasts)) - subset:
                seen = [p for there, p in self._products.items() if subset | {target} <= set(there)]
                if not seen:
                    continue
                total = torch.stack(seen).sum(0)
                kept = [k for k, term in enumerate(self.terms) if set(term) <= subset]
                square, wanted = total[kept][:, kept], total[kept, self.terms.index((target,))]
                square = square + torch.diag(RIDGE * total[0, 0] * torch.ones(len(kept), dtype=total.dtype))
                mix[number, target, kept] = torch.from_numpy(np.linalg.solve(square.numpy(), wanted.numpy())).float()
        return mix
