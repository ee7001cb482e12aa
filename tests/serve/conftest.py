from __future__ import annotations

from pathlib import Path

import pytest

from tiny import tiny_scans
from tiny_run import save_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of T1, and one of T1 and T2."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "t1-t2": save_run(folder / "t1-t2", ["t1"], "t2", 1),
        "both": save_run(folder / "both", ["t1", "t2"], "flair", 2),
    }


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T1 of a phantom."""
    return next(tiny_scans(tmp_path_factory.mktemp("scans"), cases=1).rglob("*t1n*"))
