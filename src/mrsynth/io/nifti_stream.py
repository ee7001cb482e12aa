"""The voxels of a NIfTI file: never more is read than its header declares, nor held than the image needs."""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.io.nifti_header import Layout, description_of, parse_header, read_layout

SUFFIXES = (".nii.gz", ".nii")

GZIP_RATIO = 1032
"""Deflate packs at most 1032 bytes into one (zlib's technical notes): what a header may claim of a .nii.gz."""

MANY_VOXELS = 1 << 25
IMAGE_RATIO = 128
"""No image is packed so well: a file that claims MANY_VOXELS or more in so few bytes is a bomb, or empty. Masks are."""

TRAILING_BYTES = 1 << 20
"""What may follow the voxels; a file with more is another one than its header says, or a bomb."""

READ_BYTES = 1 << 24
"""How much of a volume is read, then scaled, at once: stored voxels and image never lie in memory both."""

Stream = BinaryIO | gzip.GzipFile
R = TypeVar("R")


def is_nifti(path: Path) -> bool:
    """Say whether a file's name ends like a NIfTI file's (.nii, .nii.gz, in any case)."""
    return path.name.lower().endswith(SUFFIXES)


def read_header(path: Path) -> Layout:
    """Read a NIfTI file's header alone, as `read_image` does; raises InputError as it does."""
    return _with_stream(path, lambda stream: _layout(stream, path)[1])


def read_description(path: Path) -> str:
    """Read the description in a NIfTI file's header; raises InputError where there is no header to be read."""
    return _with_stream(path, lambda stream: description_of(parse_header(stream, path)[1]))


def read_values(path: Path, volumes: Sequence[int] | None) -> tuple[np.ndarray, Layout]:
    """Read the values of a NIfTI file: slope · voxel + inter (NIfTI-1 standard, scl_slope).

    Args:
        path: A NIfTI file.
        volumes: Indices of volumes, from 0 on; None for the only one. Of several the geometric mean is taken, 0 where
            any of them is not above 0.

    Returns:
        The values (i, j, k) of the file, float32, x fastest, infinite where they overflow; and what the header says.

    Raises:
        InputError: As `nifti.read_image` does.
    """
    return _with_stream(path, lambda stream: _read_stream(stream, path, volumes))


def read_labels(path: Path) -> tuple[np.ndarray, Layout, float | None]:
    """Read a volume of whole numbers from 0 to 255, never holding more than a byte a voxel.

    Args:
        path: A NIfTI file of one volume.

    Returns:
        The labels (i, j, k) of the file, uint8, x fastest; what the header says; and the first value that is no label,
        None where all are.

    Raises:
        InputError: As `nifti.read_image` does.
    """
    return _with_stream(path, lambda stream: _read_label_stream(stream, path))


def _read_label_stream(stream: Stream, path: Path) -> tuple[np.ndarray, Layout, float | None]:
    odd: list[float] = []

    def as_labels(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            labels = values.astype(np.uint8)
        if not odd and (wrong := values[labels != values]).size:
            odd.append(float(wrong[0]))
        return labels

    values, layout = _read_stream(stream, path, None, as_labels)
    return values, layout, odd[0] if odd else None


def _layout(stream: Stream, path: Path) -> tuple[int, Layout]:
    """Return how many bytes the header has, and what it says."""
    start, header, repairs = parse_header(stream, path)
    return start, replace(read_layout(header, path), repairs=repairs)


def _with_stream(path: Path, read: Callable[[Stream], R]) -> R:
    """Return what `read` makes of a NIfTI file's bytes, unpacked; raises InputError where that fails."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or not is_nifti(path):
            found = f"a file named {path.name}" if stat.S_ISREG(state.st_mode) else "a folder, pipe or device"
            raise InputError(f"{path}: is not a NIfTI file.", found=found, expected="a file named .nii or .nii.gz")
        if state.st_size == 0:
            raise InputError(f"{path}: the file is empty.", found="0 bytes", do="copy or download it again")
        with path.open("rb") as file:
            # By content, not by name: plain files named .nii.gz exist.
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as stream:
                    return read(stream)
            return read(file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the compressed file is damaged or cut off.", found=str(error), do="copy or download it again"
        ) from error
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.", do="check the path") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read.", found=error.strerror or str(error), do="check the path and who may read it"
        ) from error
    except ValueError as error:  # a path that holds a zero byte
        raise InputError(f"{str(path)!r}: is no path.", found=str(error), do="check the path") from error
    except MemoryError:
        raise InputError(
            f"{path}: the image does not fit into memory.", do="use a machine with more, or resample the image first"
        ) from None


def _read_stream(
    stream: Stream, path: Path, volumes: Sequence[int] | None, labels: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, Layout]:
    """Read header, then voxels; nothing is allocated before the header has been found sane, nothing is read beyond
    what it declares (but for TRAILING_BYTES). labels: makes uint8 of values, for a mask."""
    start, layout = _layout(stream, path)
    wanted = _wanted(volumes, layout, path)
    size = int(np.prod(layout.shape, dtype=object)) * layout.dtype.itemsize
    end = layout.offset + layout.volumes * size
    on_disk = path.stat().st_size
    if end > on_disk * (GZIP_RATIO if isinstance(stream, gzip.GzipFile) else 1):
        raise _cut_off(path, layout, on_disk, end)
    if labels is None and int(np.prod(layout.shape, dtype=object)) > MANY_VOXELS and end > on_disk * IMAGE_RATIO:
        raise InputError(
            f"{path}: holds less than an image has.",
            found=f"{on_disk} bytes for {' × '.join(map(str, layout.shape))} voxels",
            expected=f"at least {end // IMAGE_RATIO} bytes",
            do="export the image again; it is empty, or a damaged header claims too many voxels",
        )
    here = start
    total: np.ndarray | None = None
    for volume in wanted:
        here += _skip(stream, layout.offset + volume * size - here)
        values, count = _read_volume(stream, layout, labels)
        here += count
        if count < size:
            raise _cut_off(path, layout, here, end)
        if len(wanted) > 1:
            with np.errstate(divide="ignore"):
                logarithm = np.log(np.maximum(values, 0), dtype=float)
            total = logarithm if total is None else total + logarithm
    # To the end: only there gzip checks what was read.
    here += _skip(stream, end + TRAILING_BYTES + 1 - here)
    if here < end:
        raise _cut_off(path, layout, here, end)
    if here > end + TRAILING_BYTES:
        raise InputError(
            f"{path}: the file holds more than its header says.",
            found=f"more than {TRAILING_BYTES >> 20} MiB after the last voxel",
            expected=f"the end of the file after {end} bytes",
            do="copy or download it again; if it stays so, the header is wrong: export the image again",
        )
    return values if total is None else np.exp(total / len(wanted)).astype(np.float32), layout


def _read_volume(
    stream: Stream, layout: Layout, labels: Callable[[np.ndarray], np.ndarray] | None
) -> tuple[np.ndarray, int]:
    """Return the next volume's values, and how many bytes there were for it.

    Memory is asked for at once, but the system gives it only where something is written: a file that is cut off, or
    a header that lies, costs no more than the bytes that came.
    """
    values = np.empty(layout.shape, np.uint8 if labels else np.float32, order="F")
    flat = values.reshape(-1, order="F")
    count, done = 0, 0
    while done < flat.size:
        content = stream.read(min(READ_BYTES, (flat.size - done) * layout.dtype.itemsize))
        voxels = np.frombuffer(content[: len(content) // layout.dtype.itemsize * layout.dtype.itemsize], layout.dtype)
        count += len(content)
        if not voxels.size:
            break
        with np.errstate(all="ignore"):  # what overflows float32 is found by the caller
            scaled = voxels if layout.slope is None else voxels.astype(float) * layout.slope + layout.inter
            flat[done : done + voxels.size] = scaled if labels is None else labels(scaled)
        done += voxels.size
    return values, count


def _wanted(volumes: Sequence[int] | None, layout: Layout, path: Path) -> Sequence[int]:
    """Return the indices to read, ascending; raises InputError where they are not in the file or not said."""
    if volumes is None and layout.volumes > 1:
        raise InputError(
            f"{path}: the image has 4 dimensions.",
            found="shape " + " × ".join(map(str, (*layout.shape, layout.volumes))),
            expected="one 3-D volume",
            do=f"name the volume after the path: {path.name}#volume=0, or #b=1000 with a .bval file beside it",
        )
    wanted = sorted({0} if volumes is None else set(volumes))
    if not wanted or wanted[0] < 0 or wanted[-1] >= layout.volumes:
        raise InputError(
            f"{path}: there is no such volume in the file.",
            found=", ".join(map(str, wanted)) or "none",
            expected=f"0 to {layout.volumes - 1}",
        )
    return wanted


def _skip(stream: Stream, count: int) -> int:
    """Read over bytes, a little at a time; return how many there were."""
    left = count
    while left > 0 and (content := stream.read(min(left, 1 << 20))):
        left -= len(content)
    return count - left if count > 0 else 0


def _cut_off(path: Path, layout: Layout, found: int, expected: int) -> InputError:
    voxels = " × ".join(map(str, (*layout.shape, *([layout.volumes] if layout.volumes > 1 else []))))
    return InputError(
        f"{path}: the file is cut off.",
        found=f"{found} bytes",
        expected=f"{expected} bytes for {voxels} voxels of {layout.dtype.name}",
        do="copy or download it again",
    )
