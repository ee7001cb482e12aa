"""A small world: scans, and everything that the verbs leave of them, made once for all tests of safety."""

from __future__ import annotations

from pathlib import Path

import pytest

from world import make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder; tests copy what they damage."""
    return make_world(tmp_path_factory.mktemp("world"))
