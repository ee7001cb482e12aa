"""One array in one compressed file of chunks (Blosc2's .b2nd), of which a box is read without the rest.

Why this format and these sizes: docs/explain/storage.md, measured by benchmarks/storage.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrsynth.core.errors import CohortError
from mrsynth.core.files import sha256_file

if TYPE_CHECKING:
    import blosc2

CHUNK = (64, 64, 64)
"""Voxels that are compressed as one, about a training cube."""

BLOCK = (64, 64, 4)
"""Voxels of a chunk that are decompressed as one: flat, so that a slice or a slab reads little beside itself."""

SUFFIX = ".b2nd"


def write_chunked(path: Path, data: np.ndarray) -> str:
    """Write an array.

    Args:
        path: the file; the same array gives the same bytes.
        data: (x, y, z), float32 or uint8.

    Returns:
        The SHA-256 of the file, by which `require_intact` knows it again.

    Raises:
        OSError: where the disk says no.
    """
    import blosc2

    packing = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.SHUFFLE], nthreads=1)
    packed = blosc2.asarray(np.ascontiguousarray(data), chunks=CHUNK, blocks=BLOCK, cparams=packing)
    # Packed in memory and written here: a full disk is then the system's error and not one of the library's own.
    content = packed.to_cframe()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def require_intact(path: Path, sha256: str | None) -> None:
    """Raise CohortError where an array's file is not the one that was written, to the bit.

    Args:
        path: the file.
        sha256: what `write_chunked` returned; None for a file of which nobody knows.
    """
    try:
        if sha256 is None or sha256_file(path) == sha256:
            return
    except OSError as error:
        raise _damaged(path, error) from error
    raise _damaged(path, ValueError("other bytes than were written"))


def open_chunked(path: Path, shape: tuple[int, int, int] | None = None) -> blosc2.NDArray:
    """Open an array to take boxes from.

    Cheap beside reading (0.1 ms): open anew for each sample, so that a cohort of any size needs no open files and data
    loading workers share none. One thread: the workers are the parallelism. What the file declares is compared with
    what is expected before any of it is unpacked.

    Args:
        path: the file.
        shape: the voxels that it must have along x, y, z; None where nobody knows.

    Returns:
        The array (x, y, z), float32 or uint8.

    Raises:
        FileNotFoundError: where there is none.
        CohortError: where it is damaged, or another array.
    """
    import blosc2

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        array = blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1), deserialize="safe")
        if not isinstance(array, blosc2.NDArray) or array.ndim != 3 or array.dtype not in (np.float32, np.uint8):
            raise ValueError("not an array of three axes, float32 or uint8")
        if shape is not None and tuple(array.shape) != tuple(shape):
            raise ValueError(f"an array of {'×'.join(map(str, array.shape))} voxels, not {'×'.join(map(str, shape))}")
        if any(n > most for n, most in zip(array.chunks, CHUNK, strict=True)):
            raise ValueError(f"chunks of {'×'.join(map(str, array.chunks))} voxels, which mrsynth does not write")
    except Exception as error:  # of many kinds, SyntaxError among them: the header is parsed in C and in Python
        raise _damaged(path, error) from error
    return array


def fill_box(box: np.ndarray, array: blosc2.NDArray | np.ndarray, start: Sequence[int]) -> None:
    """Fill a box with an array's voxels, and with 0 where the box lies outside the array.

    Only the blocks that the box touches are read.

    Args:
        box: what is filled, (x, y, z).
        array: what is read from, (x, y, z), as `open_chunked` returns it or in memory.
        start: the array's voxel (x, y, z) that becomes the box's first; it may be negative.

    Raises:
        CohortError: where the file is damaged.
    """
    low = [max(int(first), 0) for first in start]
    high = [min(int(first) + n, extent) for first, n, extent in zip(start, box.shape, array.shape, strict=True)]
    inside = tuple(b - a for a, b in zip(low, high, strict=True))
    if inside != box.shape:
        box[...] = 0
    if min(inside) <= 0:
        return
    try:
        as_stored = inside == box.shape and box.dtype == array.dtype and box.flags.c_contiguous
        if as_stored and not isinstance(array, np.ndarray):
            array.get_slice_numpy(box, (low, high))  # as array[…] does, without an array in between: half the time
        else:
            part = box[tuple(slice(a - first, b - first) for a, b, first in zip(low, high, start, strict=True))]
            part[...] = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    except Exception as error:
        raise _damaged(Path(getattr(array, "urlpath", "array")), error) from error


def _damaged(path: Path, error: Exception) -> CohortError:
    return CohortError(f"{path}: is damaged.", found=str(error), do="run mrsynth prepare again")
