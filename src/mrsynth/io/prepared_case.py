"""One prepared case on disk: an array a file, and record.json with what leads back to the patient's own grid."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrsynth.core.errors import CohortError
from mrsynth.core.files import write_json
from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Case, Image, Native
from mrsynth.core.types import MASKS
from mrsynth.io.chunks import SUFFIX, fill_box, open_chunked, write_chunked
from mrsynth.io.nifti_header import header_from_block, without_identity
from mrsynth.io.prepared_inputs import Inputs

if TYPE_CHECKING:
    import blosc2


def save_case(
    folder: Path, case: Case, records: Sequence[Mapping[str, Any]], fingerprint: str, inputs: Inputs | None = None
) -> None:
    """Write a case's folder, whole or not at all, in place of an older one.

    Images as float32, masks as uint8, (x, y, z), one at a time (see `chunks`). inputs: the files that it was made from
    (see `prepared_inputs`), where there are any. Raises OutputError if it cannot be written, CohortError if the arrays
    differ in shape.
    """
    images = {**case.images, **case.masks}
    shapes = {image.data.shape for image in images.values()}
    if len(shapes) != 1:
        raise CohortError(
            f"{case.name}: the prepared images differ in shape.",
            found=", ".join(f"{name} {image.data.shape}" for name, image in images.items()) or "no image",
            expected="one shape",
        )
    hidden = ("patient", "case", "split")  # the cohort's index says these
    record = {
        "fingerprint": fingerprint,
        "inputs": dict(inputs or {}),
        "metadata": {key: value for key, value in case.metadata.items() if key not in hidden},
        "history": list(records),
        "images": {name: _geometry(image) for name, image in images.items()},
    }
    with atomic_folder(folder) as temporary:
        for name, image in images.items():
            kind = np.uint8 if name in MASKS else np.float32
            write_chunked(temporary / f"{name}{SUFFIX}", np.asarray(image.data, dtype=kind))
        write_json(temporary / "record.json", record)


def load_record(folder: Path) -> dict[str, Any]:
    """Return record.json; raises CohortError if it is missing or damaged."""
    path = folder / "record.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not {"fingerprint", "inputs", "metadata", "history", "images"} <= set(record) or not record["images"]:
            raise ValueError("incomplete")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CohortError(
            f"{path}: is missing or damaged.", found=str(error), do="run mrsynth prepare again"
        ) from error
    return dict(record)


def open_array(folder: Path, name: str) -> blosc2.NDArray:
    """Open an array (x, y, z) to take boxes from; raises CohortError if it is missing or damaged."""
    try:
        return open_chunked(folder / f"{name}{SUFFIX}")
    except FileNotFoundError:
        raise CohortError(
            f"{folder.name}: no {name} in the prepared cohort.",
            found=", ".join(sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))),
            expected=name,
            do="add it to the recipe's contrasts and run mrsynth prepare again",
        ) from None


def load_array(folder: Path, name: str) -> np.ndarray:
    """Return a whole array (x, y, z), float32 or uint8; raises CohortError if it is missing or damaged."""
    array = open_array(folder, name)
    whole = np.empty(array.shape, array.dtype)
    fill_box(whole, array, (0, 0, 0))
    return whole


def load_image(folder: Path, name: str) -> Image:
    """Return an image or mask with its geometry; raises CohortError if it is missing or damaged."""
    data, known = load_array(folder, name), load_record(folder)["images"].get(name)
    try:
        native = known["native"]
        if native is not None:
            block = base64.b64decode(native["header"]) if native["header"] else None
            native = Native(
                tuple(native["shape"]),
                np.array(native["affine"], float),
                tuple(native["orientation"]),
                header_from_block(block) if block else None,
            )
        return Image(data, np.array(known["affine"], float), name, native)
    except (KeyError, TypeError, ValueError) as error:
        raise CohortError(
            f"{folder / 'record.json'}: is damaged.",
            found=f"geometry of {name}: {error}",
            do="run mrsynth prepare again",
        ) from error


def _geometry(image: Image) -> dict[str, Any]:
    """Return shape, affine and native grid of an image, JSON-able; floats return to the bit."""
    native = image.native
    return {
        "shape": list(image.data.shape),
        "affine": np.asarray(image.affine, float).tolist(),
        "native": None
        if native is None
        else {
            "shape": list(native.shape),
            "affine": np.asarray(native.affine, float).tolist(),
            "orientation": list(native.orientation),
            "header": None if native.header is None else _packed(native.header),
        },
    }


def _packed(header: Any) -> str:
    """Return a header as text, without what may hold the patient's identity."""
    return base64.b64encode(without_identity(header).binaryblock).decode()
