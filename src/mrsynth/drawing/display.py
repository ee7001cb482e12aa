"""How a slice becomes a picture: the way a radiologist holds it."""

from __future__ import annotations

import numpy as np


def display(array: np.ndarray) -> np.ndarray:
    """Turn an (x, y) array of an RAS slice into rows and columns: anterior up, patient left on the picture's right."""
    return np.asarray(array)[::-1, ::-1].T
