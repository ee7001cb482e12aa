"""Where anycontrast begins: functions of the voxel alone, one for each subset of contrasts and target.

Each is linear in numbers that least squares find (`train.mix`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import combinations, combinations_with_replacement
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

StartName = Literal["polynomial", "tables"]
"""The starts by name."""

DEGREE = 3
"""Of the polynomial."""

KNOTS, PAIR_KNOTS = 14, 10
"""Of the table of one contrast, and of that of two on each of its axes."""

LOWEST, HIGHEST = -0.72, 0.79
"""First and last knot as v / (1 + |v|): v from −2.6 to 3.8 in the network's units. So the knots lie close where the
brain's grey levels do."""


class Start(ABC):
    """A sum of terms of the contrasts, each term with a number.

    Attributes:
        contrasts: how many there are.
        needs: for each term, the numbers of the contrasts that it is made of.
        ridge: a voxel: what holds the numbers where few grey levels ask for them.
    """

    needs: list[frozenset[int]]
    ridge: ClassVar[float]

    def __init__(self, contrasts: int) -> None:
        self.contrasts = contrasts

    @abstractmethod
    def terms(self, values: Tensor) -> Tensor:
        """Return the terms of voxels (n, terms).

        Args:
            values: (n, contrasts) in the network's units, 0 where a contrast is not there.
        """

    @abstractmethod
    def apply(self, numbers: Tensor, values: Tensor) -> Tensor:
        """Return the sum of the terms, each with its number (b, 1, u, v).

        Args:
            numbers: (b, terms), 0 for the terms of what is not there.
            values: (b, contrasts, u, v) in the network's units.
        """


class Polynomial(Start):
    """All products of at most DEGREE contrasts."""

    ridge = 1e-6

    def __init__(self, contrasts: int) -> None:
        super().__init__(contrasts)
        degrees = range(DEGREE + 1)
        self.products = [term for d in degrees for term in combinations_with_replacement(range(contrasts), d)]
        self.needs = [frozenset(term) for term in self.products]

    @override
    def terms(self, values: Tensor) -> Tensor:
        """Return the products, in the order of `products`; (b, terms, …) of (b, contrasts, …)."""
        found: dict[tuple[int, ...], Tensor] = {(): torch.ones_like(values[:, 0])}
        for term in self.products[1:]:
            found[term] = found[term[:-1]] * values[:, term[-1]]
        return torch.stack(list(found.values()), dim=1)

    @override
    def apply(self, numbers: Tensor, values: Tensor) -> Tensor:
        """Return the polynomial."""
        # No product of matrices: autocast would compute that in bfloat16, coarser than what the network adds.
        return (numbers[:, :, None, None] * self.terms(values)).sum(1, keepdim=True)


class Tables(Start):
    """A table of each contrast and one of each two of them, summed; between knots by linear interpolation."""

    ridge = 1e-5

    def __init__(self, contrasts: int) -> None:
        super().__init__(contrasts)
        self.pairs = list(combinations(range(contrasts), 2))
        single = [frozenset({k}) for k in range(contrasts) for _ in range(KNOTS)]
        self.needs = single + [frozenset(pair) for pair in self.pairs for _ in range(PAIR_KNOTS**2)]

    @override
    def terms(self, values: Tensor) -> Tensor:
        """Return how much each knot counts: first those of the single contrasts, then those of the pairs."""
        place = self._place(values)
        a, b = ([_hats(place[:, k], knots) for k in range(self.contrasts)] for knots in (KNOTS, PAIR_KNOTS))
        return torch.cat(a + [(b[i][:, :, None] * b[j][:, None, :]).flatten(1) for i, j in self.pairs], dim=1)

    @override
    def apply(self, numbers: Tensor, values: Tensor) -> Tensor:
        """Return the sum of what the tables hold."""
        b, c, u, v = values.shape
        place = 2 * self._place(values) - 1  # as grid_sample wants it
        single, double = numbers[:, : c * KNOTS], numbers[:, c * KNOTS :]
        x = place.reshape(b * c, u, v, 1)
        found = _look_up(single.reshape(b * c, 1, KNOTS), torch.cat([x, torch.zeros_like(x)], dim=3))
        total = found.reshape(b, c, u, v).sum(1, keepdim=True)
        if not self.pairs:
            return total
        first, second = (place[:, [pair[k] for pair in self.pairs]] for k in (0, 1))
        at = torch.stack([second, first], dim=4).flatten(0, 1)
        found = _look_up(double.reshape(b * len(self.pairs), PAIR_KNOTS, PAIR_KNOTS), at)
        return total + found.reshape(b, len(self.pairs), u, v).sum(1, keepdim=True)

    @staticmethod
    def _place(values: Tensor) -> Tensor:
        """Return where values lie between the first knot, 0, and the last one, 1."""
        return ((values / (1 + values.abs()) - LOWEST) / (HIGHEST - LOWEST)).clamp(0, 1)


def _hats(place: Tensor, knots: int) -> Tensor:
    """Return how much each knot counts (n, knots) at places (n,) from 0 to 1."""
    at = torch.arange(knots, dtype=place.dtype, device=place.device)
    return (1 - (place[:, None] * (knots - 1) - at).abs()).clamp_min(0)


def _look_up(tables: Tensor, at: Tensor) -> Tensor:
    """Return what tables (n, rows, columns) hold at places (n, u, v, 2) from −1 to 1: (n, u, v)."""
    return functional.grid_sample(tables[:, None], at, "bilinear", "border", align_corners=True)[:, 0]


STARTS: dict[StartName, type[Start]] = {"polynomial": Polynomial, "tables": Tables}
