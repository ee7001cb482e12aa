"""A run whose network has its first weights, and heads as DICOM studies for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import dicom_factory as factory
from mrsynth.model import save_model
from mrsynth.nets import build_net
from mrsynth.steps import complete_steps
from small_cases import brain_case
from tiny import STEPS, trained


def save_run(folder: Path, inputs: list[str], target: str, seed: int, steps: list[dict[str, Any]] = STEPS) -> Path:
    """Save the run; `steps`: its preparation."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"inputs": len(inputs), "widths": [4, 4], "dropout": [0.0, 0.0]}
    contract = {"recipe": "tiny", "inputs": inputs, "target": target, "net": "unet2d", "net_settings": settings}
    rest = {"steps": complete_steps(steps), "range": [0, 1], "intensity": [], **trained(inputs=inputs, target=target)}
    net = build_net("unet2d", **settings)
    save_model(folder / "model", net.state_dict(), {**contract, **rest, "patch": None, "flags": False}, "# card\n")
    return folder


def dicom_study(folder: Path, contrasts: tuple[str, ...] = ("t1",), number: int = 1, **tags: Any) -> Path:
    """A head of 24 × 28 × 20 voxels of 10 mm as a study: a series of each contrast in a folder of its name."""
    for k, (name, image) in enumerate(brain_case(contrasts=contrasts, seed=number).images.items()):
        values = np.rint(image.data[::-1, ::-1].transpose(2, 1, 0)).astype(np.uint16)
        known: dict[str, Any] = {
            "PatientID": f"P{number}",
            "StudyInstanceUID": f"1.2.3.{number}",
            "SeriesInstanceUID": f"1.2.3.{number}.{k + 1}",
            "FrameOfReferenceUID": f"1.2.3.{number}.99",
            "SeriesNumber": 100 * k + 101,
            "SeriesDescription": f"{name} tra",
            "PixelSpacing": [10.0, 10.0],
            "SliceThickness": 10.0,
        }
        step = 10.0 * factory.AXIAL[2]
        uids = [f"1.2.3.{number}.{k + 1}.{1 + i}" for i in range(len(values))]
        factory.series(
            folder / name, values, step=step, each=lambda i, u=uids: {"SOPInstanceUID": u[i]}, **known | tags
        )
    return folder
