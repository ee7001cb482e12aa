"""A metric value with everything that gives it a meaning, and its table on disk (metrics.csv)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from mrsynth.core.errors import InputError
from mrsynth.core.files import atomic_file


@dataclass(frozen=True)
class MetricRecord:
    """One value of one metric of one case.

    Attributes:
        metric, region, preset: by name.
        value: None where it is missing (then `reason` says why); infinite for the PSNR of a perfect match.
        data_range: in the images' units.
        dimension: 2 (slice by slice) or 3.
        aggregation: what was averaged over what.
        clip: "none" or "low..high" applied to both images.
        case, contrast: whose value, and of which image.
        predictor: "model", or one of `rivals.RIVALS` and `rivals.KNOW_THE_TRUTH`.
        fit: "linear" where the prediction was first fitted to the truth inside the region, otherwise "none".
        n: voxels, or slices where dimension is 2.
        reason: why there is no value, "" where there is one.
    """

    metric: str
    value: float | None
    region: str
    data_range: float
    dimension: int
    aggregation: str
    clip: str
    case: str
    contrast: str
    preset: str
    predictor: str
    fit: str
    n: int
    reason: str = ""


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(MetricRecord))
"""The columns of metrics.csv, in order."""


def write_records(records: Iterable[MetricRecord], path: str | Path) -> None:
    """Write records as CSV, whole or not at all; a missing value is an empty cell, an infinite one is `inf`.

    Args:
        records: one a row.
        path: the table.

    Raises:
        OutputError: where it cannot be written.
    """
    with atomic_file(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(asdict(record).values() for record in records)


def is_metrics_table(path: Path) -> bool:
    """Return whether a file begins as what `write_records` writes."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return next(csv.reader(stream), None) == list(COLUMNS)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def read_records(path: str | Path) -> list[MetricRecord]:
    """Read what `write_records` wrote; raises InputError that names the row where a cell does not fit."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read.", found=error, expected="a metrics.csv of mrsynth") from error
    if list(found) != list(COLUMNS):
        raise InputError(f"{path}: not a table of metrics.", found=", ".join(found), expected=", ".join(COLUMNS))
    return [_record(row, f"{path}, row {number}") for number, row in enumerate(rows, start=2)]


def records_frame(records: Iterable[MetricRecord]) -> pd.DataFrame:
    """Return records as a table, one a row, columns COLUMNS; a missing value is NaN."""
    frame = pd.DataFrame([asdict(record) for record in records], columns=list(COLUMNS))
    return frame.astype({"value": float, "data_range": float})


def _record(row: dict[str, object], where: str) -> MetricRecord:
    cells = dict(row)
    try:
        cells["value"] = None if cells["value"] == "" else float(str(cells["value"]))
        cells["data_range"] = float(str(cells["data_range"]))
        cells["dimension"] = int(str(cells["dimension"]))
        cells["n"] = int(str(cells["n"]))
        return MetricRecord(**cells)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{where}: not a metric record.", found=error, expected="numbers in value, data_range, n"
        ) from error
