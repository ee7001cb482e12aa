"""Which rows of its input a layer needs for rows of its output: the arithmetic of streaming a network along an axis.

A row is all voxels with one index on the first space axis. Ranges are half open; `needs` may reach beyond the image,
where the layer's own padding lies.
"""

from __future__ import annotations

from dataclasses import dataclass

AXIS = 2
"""Where the rows are: the first space axis of (b, c, *space)."""


@dataclass(frozen=True)
class Same:
    """A layer that acts on each row by itself."""

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the same rows.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        return start, stop

    def ready(self, rows: int) -> int:
        """Return as many rows."""
        return rows


@dataclass(frozen=True)
class Window:
    """A convolution or pooling.

    Attributes:
        kernel: its rows, with its dilation.
        stride: rows from one output row to the next.
        padding: rows before the first and after the last.
    """

    kernel: int
    stride: int
    padding: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows under the kernel.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        return start * self.stride - self.padding, (stop - 1) * self.stride - self.padding + self.kernel

    def ready(self, rows: int) -> int:
        """Return the rows whose kernel ends before."""
        return (rows + self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Repeat:
    """Nearest upsampling."""

    factor: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that are repeated.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        return start // self.factor, -(-stop // self.factor)

    def ready(self, rows: int) -> int:
        """Return all repetitions."""
        return rows * self.factor

    def first(self, start: int) -> int:
        """Return the output row with which the input row `start` begins."""
        return start * self.factor


@dataclass(frozen=True)
class Spread:
    """A transposed convolution: input row i adds to the output rows i·stride − padding and the next kernel − 1."""

    kernel: int
    stride: int
    padding: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that add something.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        return -(-(start + self.padding - self.kernel + 1) // self.stride), (stop - 1 + self.padding) // self.stride + 1

    def ready(self, rows: int) -> int:
        """Return the rows to which no later input row adds."""
        return rows * self.stride - self.padding

    def first(self, start: int) -> int:
        """Return the output row with which the input row `start` begins."""
        return start * self.stride - self.padding


@dataclass(frozen=True)
class Repeated:
    """Padding by the border: output row r is input row r − before, or the nearest one.

    What it needs never reaches beyond the image.

    Attributes:
        before: rows that are put before the first.
        length: rows of the input.
    """

    before: int
    length: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that are copied, the border's at least.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        first = min(max(start - self.before, 0), self.length - 1)
        return first, min(max(stop - self.before, first + 1), self.length)

    def ready(self, rows: int) -> int:
        """Return the rows whose original is there."""
        return rows + self.before if rows else 0


@dataclass(frozen=True)
class Linear:
    """Linear upsampling, corners not aligned: output row r lies at (r + ½) / factor − ½.

    Attributes:
        factor: output rows for each input row.
        length: rows of the input.
    """

    factor: int
    length: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows on both sides of each place.

        Args:
            start: the first output row.
            stop: the row after the last.
        """
        first, last = (self._below(row) for row in (start, stop - 1))
        return min(max(first, 0), self.length - 1), min(last + 2, self.length)

    def ready(self, rows: int) -> int:
        """Return the rows whose place lies before the last row that is there, or at it."""
        most = self.factor * rows
        while most and self._below(most - 1) + 2 > rows:
            most -= 1
        return most

    def _below(self, row: int) -> int:
        """Return the input row at or before the place of an output row, −1 before the first."""
        return (2 * row + 1 - self.factor) // (2 * self.factor)


Rows = Same | Window | Repeat | Spread | Repeated | Linear
"""One kind of layer. needs(start, stop): the input rows from which the output rows [start, stop) follow. ready(rows):
how many output rows follow from the first `rows` input rows, where more will come."""
