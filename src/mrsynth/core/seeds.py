"""One generator per (seed, case, purpose): no global random state, so that any draw can be replayed alone."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for a purpose, e.g. derive_seed(1, "case-003", "noise").

    Args:
        seed: the seed of the whole.
        purpose: words and numbers; the same ones give the same seed.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """Return NumPy's generator for a purpose, independent of that for every other purpose.

    Args:
        seed: the seed of the whole.
        purpose: words and numbers.
    """
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *purpose)))
