"""The rows of layers that repeat the image's border (see `rows`): what they need never reaches beyond the image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repeated:
    """Padding by the border: output row r is input row r − before, or the nearest one. length: rows of the input."""

    before: int
    length: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows that are copied, the border's at least."""
        first = min(max(start - self.before, 0), self.length - 1)
        return first, min(max(stop - self.before, first + 1), self.length)

    def ready(self, rows: int) -> int:
        """Return the rows whose original is there."""
        return rows + self.before if rows else 0


@dataclass(frozen=True)
class Linear:
    """Linear upsampling, corners not aligned: output row r lies at (r + ½) / factor − ½. length: rows of the input."""

    factor: int
    length: int

    def needs(self, start: int, stop: int) -> tuple[int, int]:
        """Return the rows on both sides of each place."""
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
