"""What all tests share: how many examples hypothesis draws, checked tensor shapes, where the real patients are."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import HealthCheck, settings

# Lightning and matplotlib look at these when imported.
os.environ.setdefault("MPLBACKEND", "Agg")

import torch
from jaxtyping import install_import_hook

from mrsynth.core.progress import hush

# Few examples while developing, many where CI decides (the environment variable CI). A test whose examples are dear
# says itself how many.
for name, examples in (("dev", 25), ("ci", 400)):
    unusual = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    settings.register_profile(name, max_examples=examples, deadline=None, suppress_health_check=unusual)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Tests run side by side: threads of one would wait for those of the other.
torch.set_num_threads(1)

# Every jaxtyping annotation of these packages is checked at each call.
HOOK = install_import_hook(["mrsynth.nets", "mrsynth.losses", "mrsynth.core.tensors"], "beartype.beartype")

REAL = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="module")
def no_old_garbage() -> None:
    """Spare garbage collection what imports made: a million objects that stay, up to a second each time. A page makes
    enough objects for several collections."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real patients; skip where it is missing."""
    if not REAL.is_dir():
        pytest.skip("the real patients of ../shared/data are not here")
    return REAL


@pytest.fixture(autouse=True)
def no_bars() -> None:
    """Hush bars and remarks; a test of them shows them again."""
    hush()


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Check no shapes: those of a network that is being exported are symbols, which the check takes for wrong ones."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
