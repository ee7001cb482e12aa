"""Brain mask by a program that the user has installed: HD-BET or SynthStrip, each run as its own command."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image

PROGRAMS: dict[str, str] = {"hd-bet": "hd-bet", "synthstrip": "mri_synthstrip"}
"""Source → the command to be found on PATH (HD-BET ≥ 2; FreeSurfer ≥ 7.3 or SynthStrip's own wrapper)."""


def external_mask(case: str, image: Image, source: str, timeout_s: float) -> np.ndarray:
    """Return the brain that a program finds. Files go through a temporary folder that is removed.

    Args:
        case: its name, for messages.
        image: with axes nearest to RAS+.
        source: a key of PROGRAMS.
        timeout_s: how long it may take.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: where the program is missing, fails, takes longer, or gives no mask on the image's grid.
    """
    found = shutil.which(PROGRAMS[source])
    if found is None:
        raise InputError(
            f"{case}: the program {PROGRAMS[source]} is not on PATH.",
            expected=f"an installed {source}",
            do=f"install {source}, or set source to deepbet, which comes with mrsynth",
        )
    with tempfile.TemporaryDirectory(prefix="mrsynth-") as folder:
        scan, mask = Path(folder) / "scan.nii.gz", Path(folder) / "brain_bet.nii.gz"
        _write(image, scan)
        _run(case, source, command(source, found, scan, mask), timeout_s)
        result = _read(mask)
    if result is None or result.shape != image.data.shape or not result.any():
        raise InputError(
            f"{case}: {source} gave no brain mask of {image.contrast}.",
            found="no file" if result is None else f"{np.count_nonzero(result)} voxels in a volume of {result.shape}",
            expected=f"a mask of {image.data.shape}",
            do=f"try {source} on this image by hand, or set source to deepbet",
        )
    return result


def command(source: str, program: str, scan: Path, mask: Path) -> list[str]:
    """Return the words of the command that finds a brain.

    Args:
        source: a key of PROGRAMS.
        program: where the program is.
        scan: what it reads.
        mask: what it writes (…_bet.nii.gz, as HD-BET names it).
    """
    if source == "synthstrip":
        return [program, "-i", str(scan), "-m", str(mask)]
    from torch.cuda import is_available

    output = mask.with_name(mask.name.replace("_bet.nii.gz", ".nii.gz"))
    words = [program, "-i", str(scan), "-o", str(output), "--save_bet_mask", "--no_bet_image"]
    return [*words, "-device", "cuda"] if is_available() else [*words, "-device", "cpu", "--disable_tta"]


def _run(case: str, source: str, words: list[str], timeout_s: float) -> None:
    """Run a command to its end; raises InputError that carries its last words."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{case}: {source} took longer than {timeout_s:g} s.", do="raise timeout_s of brain_mask, or use deepbet"
        ) from None
    except OSError as error:
        raise InputError(f"{case}: {source} could not be started.", found=error, do="check its installation") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()
        raise InputError(
            f"{case}: {source} failed (exit status {done.returncode}).",
            found=said[-1][:300],
            do=f"try {source} on this image by hand, or set source to deepbet",
        )


def _write(image: Image, path: Path) -> None:
    """Write an image as NIfTI whose axes point right, anterior and superior: its voxels do, to the nearest axis."""
    import SimpleITK as sitk

    volume = sitk.GetImageFromArray(np.ascontiguousarray(image.data.T.astype(np.float32)))
    volume.SetSpacing(image.spacing_mm)
    volume.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))  # ITK's axes point left, posterior, superior
    sitk.WriteImage(volume, str(path))


def _read(path: Path) -> np.ndarray | None:
    """Return a mask file as bool (x, y, z), None where there is none."""
    import SimpleITK as sitk

    if not path.is_file():
        return None
    mask: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T > 0
    return mask
