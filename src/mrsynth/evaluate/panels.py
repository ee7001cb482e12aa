"""The slice of each case that the report shows: what its pictures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mrsynth.core.files import atomic_file, safe_name
from mrsynth.core.tensors import ssim_map
from mrsynth.evaluate.truth import Truth
from mrsynth.io.evaluation import PanelEntry
from mrsynth.model import Contract


def write_panel(
    truth: Truth,
    candidates: Mapping[str, np.ndarray],
    folder: Path,
    contract: Contract,
    data_range: float,
    error_map: np.ndarray | None = None,
) -> PanelEntry:
    """Write one slice of a case for the report: the one with most lesion, else with most brain.

    Args:
        truth: the case; the input that is shown is the first that is there.
        candidates: predictor → image (x, y, z): "model" and, where it could be made, "identity".
        folder: where <case>.npz goes; it is made where it is not there.
        contract: the model's.
        data_range: of PSNR and SSIM, in image units.
        error_map: (x, y, z), how far the model's image may be wrong; None where it did not say.

    Returns:
        The slice's entry in the listing, with the model's PSNR, SSIM and MAE in this slice inside the brain.
    """
    lesion = np.zeros_like(truth.brain) if truth.lesion is None else truth.brain & (truth.lesion > 0)
    k = int(np.argmax((lesion if lesion.any() else truth.brain).sum(axis=(0, 1))))
    first = next(iter(truth.inputs))
    shown = {
        "input": truth.inputs[first].data[..., k],
        "synthetic": candidates["model"][..., k],
        "truth": truth.target.data[..., k],
    }
    if "identity" in candidates:
        shown["identity"] = candidates["identity"][..., k]
    pair = [
        torch.from_numpy(np.ascontiguousarray(shown[n], dtype=np.float64))[None, None] for n in ("synthetic", "truth")
    ]
    shown["ssim"] = ssim_map(pair[0], pair[1], data_range=data_range)[0, 0].numpy()
    if error_map is not None:
        shown["error"] = error_map[..., k]
    shown["mask"] = truth.brain[..., k]
    if truth.lesion is not None:
        shown["lesion"] = truth.lesion[..., k]
    inside = truth.brain[..., k]
    error = (shown["synthetic"] - shown["truth"])[inside].astype(np.float64)
    low, high = contract.range[0], float(np.percentile(shown["truth"][inside], 99.8))
    name = f"{safe_name(truth.row.case)}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / name) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, allow_pickle=False, **{key: np.asarray(value, np.float32) for key, value in shown.items()}
        )
    return PanelEntry(
        case=truth.row.case,
        patient=truth.row.patient,
        file=name,
        slice_index=k,
        axis="z",
        pixel_mm=truth.target.spacing_mm[:2],
        input_contrast=first,
        target_contrast=contract.target,
        window=(low, high if high > low else contract.range[1]),  # a scan may end short of the slice
        psnr=float(10 * np.log10(data_range**2 / max(np.mean(error**2), 1e-20))),
        ssim=float(shown["ssim"][inside].mean()),
        mae=float(np.abs(error).mean()),
        note="values of this slice inside the brain",
    )
