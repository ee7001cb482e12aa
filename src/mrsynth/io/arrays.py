"""Reads pictures and numbers that a run or a preparation left as arrays."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

MAX_BYTES = 1 << 30
"""No file of arrays that mrsynth writes holds nearly as much."""


def read_arrays(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read a .npz file, whoever wrote it; it is never unpickled.

    Args:
        path: the file.
        max_bytes: what all arrays together may take, looked at before memory is.

    Returns:
        Name → array.

    Raises:
        OSError: where it cannot be read.
        ValueError: where it is damaged, or holds something else.
    """
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                _require_bounded(archive, max_bytes)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # zipfile, zlib and NumPy raise what they like: OSError for a seek before the start
            raise ValueError(str(error) or type(error).__name__) from error


def _require_bounded(archive: zipfile.ZipFile, max_bytes: int) -> None:
    """Raise ValueError where arrays declare more than the file holds, or than may be read."""
    total = 0
    for info in archive.infolist():
        with archive.open(info) as stream:
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read_header(stream)
        declared = math.prod(shape) * dtype.itemsize
        total += declared
        if declared > info.file_size or total > max_bytes:
            raise ValueError(f"{info.filename} declares {declared} bytes, {info.file_size} are there")
