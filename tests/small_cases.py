"""Small cases with known content, for tests."""

from __future__ import annotations

import numpy as np

from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator


def ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    """A centred ball as bool (x, y, z)."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    return sum(a**2 for a in axes) <= radius**2


def brain_case(
    shape: tuple[int, int, int] = (24, 28, 20),
    contrasts: tuple[str, ...] = ("t1", "t2"),
    seed: int = 0,
    spacing_mm: tuple[float, float, float] = (10.0, 10.0, 10.0),
) -> Case:
    """A ball of smooth positive signal on zeros, as a skull-stripped scan looks; contrasts are functions of one map."""
    inside = ball(shape, min(shape) / 2 - 2)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    rng = generator(seed, "brain_case")
    a, b, c = rng.uniform(1, 3, 3)
    anatomy = 0.5 + 0.2 * np.sin(a * x * 3) + 0.2 * np.cos(b * y * 3) + 0.05 * np.sin(c * z * 4)
    affine = np.diag([*spacing_mm, 1.0])
    curves = {"t1": lambda m: 300 + 700 * m, "t2": lambda m: 900 - 600 * m, "flair": lambda m: 200 + 500 * m * (1 - m)}
    images = {
        name: Image(np.where(inside, curves.get(name, curves["t1"])(anatomy), 0).astype(np.float32), affine, name)
        for name in contrasts
    }
    return Case(images, {}, {"patient": f"p{seed}", "case": f"case-{seed}"})
