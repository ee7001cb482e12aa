"""The b-values of a 4-D NIfTI file, from the .bval file beside it (FSL's convention, also that of BIDS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.io.nifti_stream import read_header
from mrsynth.io.sidecar import inherited, stem_of

MAX_BVAL_BYTES = 1 << 20


def bval_file(path: Path) -> Path:
    """Return where the b-values of a NIfTI file stand: x.nii.gz → x.bval, or a .bval above it in a BIDS data set."""
    beside = path.with_name(f"{stem_of(path)}.bval")
    if beside.exists():
        return beside
    above = inherited(path, ".bval")
    return above[-1] if above else beside


def shell_of(b_s_mm2: float) -> int:
    """Return the nominal b-value in s/mm² of a measured one: scanners write 5 for 0 and 995 for 1000.

    Up to 5 it is 0, below 100 the nearest ten, else the nearest fifty.
    """
    step = 10 if b_s_mm2 < 100 else 50
    return 0 if b_s_mm2 <= 5 else step * round(b_s_mm2 / step)


def read_shells(path: Path) -> Mapping[int, list[int]]:
    """Return nominal b-value → indices of its volumes, for a NIfTI file with a .bval file beside it.

    Raises InputError if there is none, if it holds no b-values, or not one a volume.
    """
    beside = bval_file(path)
    try:
        with beside.open(encoding="ascii") as file:
            values = [float(word) for word in file.read(MAX_BVAL_BYTES).split()]
    except FileNotFoundError:
        raise InputError(
            f"{path}: its b-values are unknown.",
            found=f"no {beside.name} beside it",
            do="put the .bval file there, or name one volume: #volume=0",
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{beside}: holds no b-values.", found=str(error), expected="numbers in s/mm²") from error
    volumes = read_header(path).volumes
    if len(values) != volumes or not all(0 <= value < 1e5 for value in values):
        raise InputError(
            f"{beside}: does not fit {path.name}.",
            found=f"{len(values)} values" + (f" from {min(values):g} to {max(values):g}" if values else ""),
            expected=f"{volumes} values in s/mm², one a volume",
            do="convert the series again, with its .bval file",
        )
    shells: dict[int, list[int]] = {}
    for index, value in enumerate(values):
        shells.setdefault(shell_of(value), []).append(index)
    return dict(sorted(shells.items()))
