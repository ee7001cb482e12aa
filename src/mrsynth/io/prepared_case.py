"""One prepared case on disk: an array a file, and record.json with what leads back to the patient's own grid."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mrsynth.core.errors import CohortError, InputError
from mrsynth.core.files import json_text
from mrsynth.core.folders import atomic_folder
from mrsynth.core.image import Case, Image, Native
from mrsynth.core.types import MASKS
from mrsynth.io.chunks import SUFFIX, fill_box, open_chunked, require_intact, write_chunked
from mrsynth.io.nifti_header import header_from_block, without_identity
from mrsynth.io.prepared_inputs import Inputs
from mrsynth.io.prepared_records import Affine, CaseRecord, Geometry, NativeGrid

if TYPE_CHECKING:
    import blosc2


RECORD = "record.json"


def save_case(
    folder: Path, case: Case, records: Sequence[Mapping[str, Any]], fingerprint: str, inputs: Inputs | None = None
) -> None:
    """Write a case's folder, whole or not at all, in place of an older one.

    Images are written as float32, masks as uint8, (x, y, z), one at a time (see `chunks`).

    Args:
        folder: the case's.
        case: its prepared images and masks, all of one shape.
        records: what each step recorded, in their order, JSON-able.
        fingerprint: of its input files, numbers and steps (`prepared.case_fingerprint`).
        inputs: the files that it was made from (see `prepared_inputs`), where there are any.

    Raises:
        OutputError: where it cannot be written.
        CohortError: where its arrays differ in shape, or it has none.
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
    with atomic_folder(folder) as temporary:
        geometries = {}
        for name, image in images.items():
            kind = np.uint8 if name in MASKS else np.float32
            digest = write_chunked(temporary / f"{name}{SUFFIX}", np.asarray(image.data, dtype=kind))
            geometries[name] = _geometry(image, digest)
        CaseRecord(
            fingerprint=fingerprint,
            inputs=dict(inputs or {}),
            metadata=_plain({key: value for key, value in case.metadata.items() if key not in hidden}),
            history=_plain(list(records)),
            images=geometries,
        ).write(temporary / RECORD)


def _plain(value: Any) -> Any:
    """Return a value as it will be read back: NumPy's numbers as plain ones, tuples as lists."""
    return json.loads(json_text(value))


def load_record(folder: Path) -> CaseRecord:
    """Return record.json; raises CohortError if it is missing or damaged."""
    return CaseRecord.read(folder / RECORD)


def open_array(folder: Path, name: str, record: CaseRecord | None = None) -> blosc2.NDArray:
    """Open an array (x, y, z) to take boxes from.

    Args:
        folder: the case's.
        name: the contrast or mask.
        record: the case's, where you know it already; else it is read.

    Raises:
        CohortError: where the array is missing or damaged.
    """
    known = (record or load_record(folder)).images.get(name)
    try:
        if known is None:
            raise FileNotFoundError(name)
        return open_chunked(folder / f"{name}{SUFFIX}", known.shape)
    except FileNotFoundError:
        raise CohortError(
            f"{folder.name}: no {name} in the prepared cohort.",
            found=", ".join(sorted(p.stem for p in folder.glob(f"*{SUFFIX}"))),
            expected=name,
            do="add it to the recipe's contrasts and run mrsynth prepare again",
        ) from None


def load_array(folder: Path, name: str) -> np.ndarray:
    """Return a whole array (x, y, z), float32 or uint8.

    Args:
        folder: the case's.
        name: the contrast or mask.

    Raises:
        CohortError: where the array is missing or damaged in any bit.
    """
    record = load_record(folder)
    array = open_array(folder, name, record)
    require_intact(folder / f"{name}{SUFFIX}", record.images[name].sha256)
    whole = np.empty(array.shape, array.dtype)
    fill_box(whole, array, (0, 0, 0))
    return whole


def require_intact_case(folder: Path) -> None:
    """Raise CohortError where an array of a case is missing, another than its record says, or damaged in any bit."""
    record = load_record(folder)
    for name, known in record.images.items():
        open_array(folder, name, record)
        require_intact(folder / f"{name}{SUFFIX}", known.sha256)


def load_image(folder: Path, name: str) -> Image:
    """Return an image or mask with its geometry.

    Args:
        folder: the case's.
        name: the contrast or mask.

    Raises:
        CohortError: where it is missing or damaged.
    """
    data, known = load_array(folder, name), load_record(folder).images[name]
    native = known.native
    try:
        grid = (
            None
            if native is None
            else Native(native.shape, np.array(native.affine), native.orientation, _header(native))
        )
        return Image(data, np.array(known.affine), name, grid)
    except (ValueError, InputError) as error:
        raise CohortError(
            f"{folder / RECORD}: is damaged.", found=f"geometry of {name}: {error}", do="run mrsynth prepare again"
        ) from error


def _geometry(image: Image, digest: str) -> Geometry:
    """Return shape, affine and native grid of an image; floats return to the bit."""
    native = image.native
    grid = None
    if native is not None:
        header = None if native.header is None else _packed(native.header)
        grid = NativeGrid(
            shape=native.shape, affine=_rows(native.affine), orientation=native.orientation, header=header
        )
    return Geometry(shape=image.data.shape, affine=_rows(image.affine), native=grid, sha256=digest)


def _rows(affine: np.ndarray) -> Affine:
    return cast(Affine, tuple(map(tuple, np.asarray(affine, float).tolist())))


def _header(native: NativeGrid) -> Any:
    """Return the file's own header; raises ValueError or InputError where it is none."""
    return header_from_block(base64.b64decode(native.header)) if native.header else None


def _packed(header: Any) -> str:
    """Return a header as text, without what may hold the patient's identity."""
    return base64.b64encode(without_identity(header).binaryblock).decode()
