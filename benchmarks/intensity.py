"""Intensity steps on a whole head of 240×240×155 voxels with 1.3 million in the brain: seconds an image."""

from __future__ import annotations

import numpy as np

from benchmarks.machine import environment, in_turns, medians, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.steps import invert_steps, learn_steps, run_steps

SHAPE, RADII = sized(((240, 240, 155), (70, 85, 51)), ((24, 24, 16), (9, 10, 7)))
STEPS = (
    {"zscore": {}},
    {"unit": {"lower_percentile": 1, "upper_percentile": 99}},
    {"q95": {}},
    {"nyul": {}},
    {"equalize": {}},
    {"radiometric": {"images": ["t1ce"]}},
    {"window": {"low": 0, "high": 2000}},
    {"ct_window": {}},
    {"clip": {}},
)


def head() -> tuple[Image, Image]:
    """Return a T1 of three noisy tissues in an ellipsoid as scans are stored (x fastest), and its mask."""
    rng = generator(0, "head")
    axes = [((np.arange(n) - n / 2) / r) ** 2 for n, r in zip(SHAPE, RADII, strict=True)]
    brain = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] <= 1
    tissue = rng.choice([300.0, 800.0, 1000.0], SHAPE) + rng.normal(0, 50, SHAPE)
    data = np.asfortranarray(np.where(brain, tissue, 0).astype(np.float32))
    return Image(data, np.eye(4), "t1"), Image(np.asfortranarray(brain.astype(np.uint8)), np.eye(4), "brain")


def main() -> None:
    t1, brain = head()
    ct = t1.with_data(t1.data / 10, "ct")
    t1ce = t1.with_data(t1.data * np.float32(1.3), "t1ce")
    for step in STEPS:
        (name, _), *_ = step.items()
        images = {"ct_window": {"ct": ct}, "radiometric": {"t1": t1, "t1ce": t1ce}}.get(name, {"t1": t1})
        case = Case(images, {"brain": brain}, {"case": "head"})
        steps = learn_steps(lambda case=case: [case], [step])
        done, records = run_steps(case, steps)
        last = list(done.images.values())[-1]
        there, back = medians(
            in_turns(
                lambda case=case, steps=steps: run_steps(case, steps),
                lambda last=last, records=records: invert_steps(last, records),
            )
        )
        row("intensity", f"{name}, 240×240×155", there, "s", "≤ 0.5 s", **environment("numpy"))
        row("intensity", f"{name}, undone", back, "s", "≤ 0.5 s", **environment("numpy"))


if __name__ == "__main__":
    main()
