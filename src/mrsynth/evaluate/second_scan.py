"""The second scan of a phantom: the same patient with new noise, what a faithful image can reach at most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import grid_error
from mrsynth.evaluate.truth import Truth, read_truth
from mrsynth.io import read_image, write_image
from mrsynth.io.case import CASE_FILE, read_case_file
from mrsynth.model import Contract
from mrsynth.phantom.subject import scan_again

SCANNED = ("t1", "t1ce", "t1ld", "t2", "flair", "ct")
"""Contrasts that are scanned by themselves; an ADC is computed of others."""


def second_scan(truth: Truth, contract: Contract, like: str) -> np.ndarray | None:
    """Return a second scan of a test case's target, normalised as the truth is.

    Args:
        truth: the case.
        contract: names the target and the steps.
        like: the contrast on whose grid predictions lie.

    Returns:
        (x, y, z), 0 outside of the brain; None where the case is no phantom whose draws lie beside its scan.

    Raises:
        InputError: where the scan that was drawn cannot be the file's.
    """
    row, target = truth.row, contract.target
    path = row.files.get(target)
    if path is None or target not in SCANNED or not (path.parent / CASE_FILE).is_file():
        return None
    draws = read_case_file(path.parent)[0].get("draws")
    if not isinstance(draws, dict) or target not in _scanned(draws):
        return None
    try:
        image = scan_again(draws, target)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{row.case}: its second scan cannot be made of {CASE_FILE}.", found=repr(error)) from error
    if error_of_grid := grid_error(row.case, read_image(path, target), image):
        raise error_of_grid
    with TemporaryDirectory() as folder:
        again = Path(folder) / f"{target}.nii.gz"
        write_image(image, again)
        found = read_truth(replace(row, files={**row.files, target: again}), contract, like)
    return np.where(truth.brain, found.target.data, 0).astype(np.float32)


def _scanned(draws: dict[str, object]) -> set[str]:
    """Return the contrasts that a phantom's draws have a scan of."""
    scans = draws.get("scans")
    names = set(scans) if isinstance(scans, dict) else set()
    return names | ({"t1ld"} if any(name.startswith("t1ld_") for name in names) else set())
