"""What is written is read back, and nothing half-written is left behind."""

from __future__ import annotations

import errno
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError, OutputError
from mrsynth.metrics.record import COLUMNS, MetricRecord, read_records, records_frame, write_records

ONE = MetricRecord(
    metric="psnr",
    value=21.5,
    region="brain",
    data_range=1.0,
    dimension=3,
    aggregation="voxels",
    clip="none",
    case="case-1",
    contrast="t2",
    preset="default",
    predictor="model",
    fit="none",
    n=1000,
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)


@settings(max_examples=15, deadline=None)
@given(
    value=st.none() | st.floats(allow_nan=False),
    case=TEXT.map(lambda text: f"c{text}"),
    data_range=st.floats(1e-3, 1e6),
    n=st.integers(0, 10**9),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, value: float | None, case: str, data_range: float, n: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "metrics.csv"
    records = [ONE, replace(ONE, value=value, case=case, data_range=data_range, n=n, reason='a, "b"')]
    write_records(records, path)
    assert read_records(path) == records
    frame = records_frame(records)
    assert list(frame) == list(COLUMNS)
    assert frame["value"].isna().tolist() == [False, value is None]
    assert [
        MetricRecord(**{**row, "value": r.value}) for row, r in zip(frame.to_dict("records"), records, strict=True)
    ] == records


def test_missing_is_an_empty_cell_and_infinite_is_inf(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_records([replace(ONE, value=None, reason="the region is empty"), replace(ONE, value=math.inf)], path)
    header, missing, infinite = path.read_text().splitlines()
    assert header.split(",") == list(COLUMNS)
    assert missing.split(",")[1] == ""
    assert infinite.split(",")[1] == "inf"


def test_no_records_make_a_table_without_rows(tmp_path: Path) -> None:
    write_records([], tmp_path / "metrics.csv")
    assert read_records(tmp_path / "metrics.csv") == []
    assert list(records_frame([]).columns) == list(COLUMNS)


def test_a_failure_leaves_the_old_table_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_records([ONE], path)

    def broken() -> object:
        yield ONE
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(OutputError, match="cannot be written"):
        write_records(broken(), path)  # type: ignore[arg-type]
    assert read_records(path) == [ONE]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.csv"]
    with pytest.raises(OutputError):
        write_records([ONE], path / "metrics.csv")  # a file in the place of the folder


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\npsnr,much,brain\n"])
def test_other_tables_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"metrics\.csv"):
        read_records(path)
