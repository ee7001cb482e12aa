"""Whether an image would fit much better turned or mirrored: then its orientation got lost, and no match counts.

A rigid descent ends somewhere even where the head lies upside down, often with a fair share of the information that a
right match has. How much that is depends on contrasts and noise, so that no threshold tells the two apart (a FLAIR and
an ADC of one patient share 0.18 nats, two T1 and T2 phantoms upside down 0.5). What does tell is the comparison with
the other orientations that a header can wrongly give: axes exchanged or turned round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Literal, Protocol

import numpy as np

TRIED = 2
"""Orientations that are followed by a descent, the most informative ones of all 46."""

BETTER = 1.25
"""How many times the information of the match another orientation must have. The mirror image of a right match has 0.6
to 0.75 of it (measured on phantoms and on raw clinical scans), and the right orientation 1.4 to 5 times that of a wrong
one."""


class Metric(Protocol):
    """What is asked of the metric of one level (`match`)."""

    @property
    def heads(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (3, n) in mm of the fixed and the moving image's head."""

    def information(self, matrix: np.ndarray) -> float:
        """Return the mutual information in nats of a matrix from fixed to moving points."""

    def descend(self, matrix: np.ndarray, kind: Literal["affine"]) -> np.ndarray:
        """Return the matrix after a descent.

        Args:
            matrix: where it begins, 4×4.
            kind: always affine.
        """


def better_turned(levels: Sequence[Metric], found: np.ndarray) -> tuple[float, float, str] | None:
    """Return whether another orientation of the moving image fits much better than a match does.

    The image's left–right mirror is not among them: heads are so symmetric that it says little (`alignment` looks at
    it).

    Args:
        levels: Metrics, coarsest first; the first two are used.
        found: The match, 4×4, from points of the fixed image to points of the moving one.

    Returns:
        The information of the match and of the better orientation in nats, and what that is; None where there is none.
    """
    ranked = sorted(_orientations(*levels[0].heads), key=lambda one: -levels[0].information(one[0]))[:TRIED]
    fine = levels[min(1, len(levels) - 1)]
    own = fine.information(found)
    best, what = 0.0, ""
    for matrix, name in ranked:
        if (information := fine.information(levels[0].descend(matrix, "affine"))) > best:
            best, what = information, name
    return (own, best, what) if best > BETTER * own else None


def _orientations(fixed: np.ndarray, moving: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """Yield the matrices that lay one head's middle on the other's with axes exchanged or turned round, and their
    names."""
    centre, there = fixed.mean(axis=1), moving.mean(axis=1)
    for axes, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), axes] = signs
        if axes == (0, 1, 2) and signs[1:] == (1.0, 1.0):
            continue
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = there - turn @ centre
        mirrored = "mirrored" if np.linalg.det(turn) < 0 else "turned"
        exchanged = " with its axes exchanged" if axes != (0, 1, 2) else f" along {_named(signs)}"
        yield matrix, mirrored + exchanged


def _named(signs: Sequence[float]) -> str:
    return " and ".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
