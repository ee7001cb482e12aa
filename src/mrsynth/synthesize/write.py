"""What is written of a synthetic image: NIfTI, a DICOM series of the scan's study, or both; or a BIDS derivative."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import mrsynth
from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.io import write_image
from mrsynth.io.contract import Contract
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.predictions import Dosage
from mrsynth.io.sidecar import stem_of

Format = Literal["nifti", "dicom", "both", "bids"]


@dataclass(frozen=True)
class Formats:
    """How images are written.

    Attributes:
        name: None: NIfTI, and DICOM beside it where the scan is DICOM and the output a folder.
        enhanced: a DICOM series is one file of Enhanced MR Image Storage.
        jpeg_ls: DICOM is compressed without loss.
    """

    name: Format | None = None
    enhanced: bool = False
    jpeg_ls: bool = False

    @property
    def nifti(self) -> bool:
        """Say whether NIfTI is written."""
        return self.name != "dicom"

    @property
    def dicom(self) -> bool:
        """Say whether DICOM is written."""
        return self.name in ("dicom", "both")

    def of(self, like: Path, out: Path, target: str) -> Formats:
        """Return the formats for one scan.

        Args:
            like: the scan whose grid the image gets (`locator`).
            out: the file or folder that was asked for.
            target: the contrast of the image; a CT is not written as DICOM.

        Raises:
            InputError: where DICOM is asked for and the scan is none.
        """
        scan_is_dicom = not is_nifti(split_locator(like)[0])
        if self.name is None:
            both = scan_is_dicom and not is_nifti(out) and target != "ct"
            return replace(self, name="both" if both else "nifti")
        if self.dicom and not scan_is_dicom:
            raise InputError(
                f"{like}: is not DICOM, so that its synthetic image cannot be a series of its study.",
                do="take --format nifti, or --like an input that is DICOM",
            )
        return self


NIFTI_OR_BOTH = Formats()


@dataclass(frozen=True)
class Made:
    """What an image's header says of it.

    Attributes:
        contract: of the model, at its target.
        inputs: the contrasts that it was given.
        in_range: whether values are in the contract's range, the same for all images of the model.
        dosage: that was asked for, of a model with doses.
        kind: the image itself, or a map beside it.
    """

    contract: Contract
    inputs: tuple[str, ...]
    in_range: bool
    dosage: Dosage | None = None
    kind: Literal["image", "error map", "spread"] = "image"


def require_free(path: Path, formats: Formats) -> None:
    """Refuse a place where the DICOM series of an image cannot be written, before the image is computed.

    Args:
        path: of the NIfTI file; the series stands in `dicom_folder(path)`.
        formats: see `Formats.of`; without DICOM nothing is refused.

    Raises:
        InputError: where JPEG-LS is asked for and nothing can write it.
        OutputError: where something lies there that is no synthetic series of mrsynth.
    """
    if formats.dicom:
        from mrsynth.io.dicom.write import require_codec, require_own_series

        require_own_series(dicom_folder(path))
        if formats.jpeg_ls:
            require_codec()


def dicom_folder(path: Path) -> Path:
    """Return the folder of the DICOM series that stands beside an image: x.nii.gz → x-dicom."""
    return path.with_name(f"{stem_of(path)}-dicom")


def is_written(path: Path, formats: Formats) -> bool:
    """Say whether an image is there in every format.

    Args:
        path: of the NIfTI file; a DICOM series is looked for in `dicom_folder(path)`.
        formats: see `Formats.of`.
    """
    return (not formats.nifti or path.exists()) and (not formats.dicom or dicom_folder(path).is_dir())


def write_result(image: Image, path: Path, like: Path, formats: Formats, made: Made) -> None:
    """Write a prediction.

    Args:
        image: on the grid of `like`.
        path: of the NIfTI file; a DICOM series goes to `dicom_folder(path)`.
        like: the scan.
        formats: see `Formats.of`.
        made: what the header says.
    """
    if formats.nifti:
        write_prediction(image, path, made.dosage, made.kind)
    if formats.dicom:
        from mrsynth.io.dicom.sheet import Maker  # pydicom
        from mrsynth.io.dicom.write import write_dicom

        maker = Maker(
            made.contract.recipe,
            made.contract.weights_sha256,
            made.inputs,
            made.contract.range if made.in_range and made.kind == "image" else None,
            "" if made.dosage is None else made.dosage.words(),
            "image" if made.kind == "image" else "error map",
        )
        options = {"multi_frame": formats.enhanced, "compress": formats.jpeg_ls}
        write_dicom(image, like, dicom_folder(path), maker, **options)


def write_prediction(image: Image, path: Path, dosage: Dosage | None = None, kind: str = "image") -> None:
    """Write a prediction as NIfTI on the patient's own grid; its header says that it is synthetic, and at which dose.

    Args:
        image: the prediction.
        path: of the file, .nii or .nii.gz.
        dosage: that the model was told; None of a model without doses.
        kind: the image itself, or what else it shows.

    Raises:
        OutputError: as `write_image` does.
    """
    what = image.contrast if dosage is None else f"{image.contrast} {dosage.words()}"
    what += "" if kind == "image" else f" {kind}"
    write_image(image, path, description=f"SYNTHETIC {what} mrsynth {mrsynth.__version__}, not for diagnosis")
