"""Every benchmark runs, at toy size: its numbers mean nothing, its rows are there."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from benchmarks.run import BENCHMARKS


@pytest.fixture(scope="module")
def toy() -> Iterator[Callable[[str], ModuleType]]:
    """Import benchmarks at toy size, which they read once, when they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRSYNTH_BENCH_TOY", "1")
        machine = importlib.reload(importlib.import_module("benchmarks.machine"))
        assert machine.TOY
        yield lambda name: importlib.reload(importlib.import_module(f"benchmarks.{name}"))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs_and_prints_its_rows(name, toy, capsys):
    toy(name).main()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert rows
    for row in rows:
        assert row["benchmark"] == name
        assert row["value"] is None or math.isfinite(row["value"])
        assert {"what", "unit", "wanted", "device", "versions", "commit", "load"} <= set(row)
