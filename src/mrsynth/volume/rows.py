"""Which rows of its input a layer needs for rows of its output: the arithmetic of streaming a network along an axis.

A row is all voxels with one index on the first space axis. Ranges are half open; `needs` may reach beyond the image,
where the layer's own padding lies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from typing_extensions import override

AXIS = 2
"""Where the rows are: the first space axis of (b, c, *space)."""


class Rows(ABC):
    """One kind of layer."""

    @abstractmethod
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the input rows from which some output rows follow.

        Args:
            start: the first output row.
            stop: the row after the last.

        Returns:
            The first input row and the row after the last.
        """

    @abstractmethod
    def ready(self, rows: int) -> int:
        """Return how many output rows follow from the first `rows` input rows, where more will come."""


@dataclass(frozen=True)
class Same(Rows):
    """A layer that acts on each row by itself."""

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the same rows."""
        return start, stop

    @override
    def ready(self, rows: int) -> int:
        """Return as many rows."""
        return rows


@dataclass(frozen=True)
class Kernel(Rows):
    """A layer that takes several rows at once.

    Attributes:
        kernel: its rows, with its dilation.
        stride: rows from one output row to the next; of a transposed convolution, from one input row to the next.
        padding: rows before the first and after the last.
    """

    kernel: int
    stride: int
    padding: int


class Window(Kernel):
    """A convolution or pooling."""

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows under the kernel."""
        return start * self.stride - self.padding, (stop - 1) * self.stride - self.padding + self.kernel

    @override
    def ready(self, rows: int) -> int:
        """Return the rows whose kernel ends before."""
        return (rows + self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Repeat(Rows):
    """Nearest upsampling.

    Attributes:
        factor: along each axis.
    """

    factor: int

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that are repeated."""
        return start // self.factor, -(-stop // self.factor)

    @override
    def ready(self, rows: int) -> int:
        """Return all repetitions."""
        return rows * self.factor

    def first(self, start: int) -> int:
        """Return the output row with which the input row `start` begins."""
        return start * self.factor


class Spread(Kernel):
    """A transposed convolution: input row i adds to the output rows i·stride − padding and the next kernel − 1."""

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that add something."""
        return -(-(start + self.padding - self.kernel + 1) // self.stride), (stop - 1 + self.padding) // self.stride + 1

    @override
    def ready(self, rows: int) -> int:
        """Return the rows to which no later input row adds."""
        return rows * self.stride - self.padding

    def first(self, start: int) -> int:
        """Return the output row with which the input row `start` begins."""
        return start * self.stride - self.padding


@dataclass(frozen=True)
class Repeated(Rows):
    """Padding by the border: output row r is input row r − before, or the nearest one.

    What it needs never reaches beyond the image.

    Attributes:
        before: rows that are put before the first.
        length: rows of the input.
    """

    before: int
    length: int

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that are copied, the border's at least."""
        first = min(max(start - self.before, 0), self.length - 1)
        return first, min(max(stop - self.before, first + 1), self.length)

    @override
    def ready(self, rows: int) -> int:
        """Return the rows whose original is there."""
        return rows + self.before if rows else 0


@dataclass(frozen=True)
class Linear(Rows):
    """Linear upsampling, corners not aligned: output row r lies at (r + ½) / factor − ½.

    Attributes:
        factor: output rows for each input row.
        length: rows of the input.
    """

    factor: int
    length: int

    @override
    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows on both sides of each place."""
        first, last = (self._below(row) for row in (start, stop - 1))
        return min(max(first, 0), self.length - 1), min(last + 2, self.length)

    @override
    def ready(self, rows: int) -> int:
        """Return the rows whose place lies before the last row that is there, or at it."""
        most = self.factor * rows
        while most and self._below(most - 1) + 2 > rows:
            most -= 1
        return most

    def _below(self, row: int) -> int:
        """Return the input row at or before the place of an output row, −1 before the first."""
        return (2 * row + 1 - self.factor) // (2 * self.factor)
