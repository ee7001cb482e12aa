"""Small NIfTI files for tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def ramp(shape: tuple[int, ...] = (5, 6, 7), seed: int = 0) -> np.ndarray:
    """Return an int16 volume in which no voxel equals another."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count) + 1).astype(np.int16).reshape(shape)


def save(path: Path, data: np.ndarray | None = None, affine: np.ndarray = RAS, **header: object) -> Path:
    """Write a volume as a NIfTI file, making its folder; header: fields to set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(ramp() if data is None else data, affine)
    image.header.set_xyzt_units("mm")
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def brats(root: Path, names: list[str], suffixes: tuple[str, ...] = ("t1", "t1ce", "t2", "flair", "seg")) -> Path:
    """Write a BraTS folder: root/<name>/<name>_<suffix>.nii.gz, every image another one."""
    for i, name in enumerate(names):
        for j, suffix in enumerate(suffixes):
            data = (ramp() % 3).astype(np.uint8) if suffix == "seg" else ramp(seed=100 * i + j)
            save(root / name / f"{name}_{suffix}.nii.gz", data, LPS)
    return root
