"""A person's own shape: a global affine map and a smooth diffeomorphism.

The map takes a point of the person to a point of the template: template = affine(exp(v)(person)). The stationary
velocity v is integrated by scaling and squaring (Arsigny 2006; Ashburner, NeuroImage 38:95, 2007), which keeps the
map invertible: its inverse is exp(-v) after the inverse affine map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

from mrsynth.core.seeds import generator
from mrsynth.phantom.template import Grid, channels_last, sample

LATTICE = Grid((53, 65, 59), (-104.0, -142.0, -118.0), 4.0)
"""Where the velocity is described."""

SCALES: tuple[tuple[float, float], ...] = ((22.0, 2.6), (10.0, 1.3), (6.0, 0.8))
"""Smoothness and size of the velocity's random parts: (Gaussian sigma in mm, standard deviation in mm)."""

SQUARINGS = 6

MEAN_SCALE = 0.94
"""MNI space is larger than people: its brain has about 1.2 times the mean volume."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A person's map.

    Attributes:
        affine: 4×4, person → template.
        forward, inverse: displacements (3, x, y, z) on LATTICE (mm).
    """

    affine: np.ndarray
    forward: Tensor
    inverse: Tensor

    def to_template(self, points_mm: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the template positions of a person's points."""
        moved = points_mm + sample(self.forward, LATTICE, points_mm).T
        return _apply(self.affine, moved)

    def to_person(self, points_mm: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return a person's positions of template points."""
        moved = _apply(np.linalg.inv(self.affine), points_mm)
        return moved + sample(self.inverse, LATTICE, moved).T


def draw_shape(rng: np.random.Generator, atrophy: float, tilt_deg: float) -> dict[str, Any]:
    """Draw the parameters of a person's shape.

    Args:
        rng: the generator of random numbers.
        atrophy: 0 (none) to about 1 (marked).
        tilt_deg: standard deviation of the head's rotation about each axis.

    Returns:
        The parameters, JSON-able.
    """
    size = rng.normal(0.0, 0.025)
    return {
        "velocity_seed": int(rng.integers(2**31)),
        "strength": float(np.clip(rng.normal(1.0, 0.15), 0.6, 1.4)),
        "atrophy": float(atrophy),
        "scale": [float(np.clip(MEAN_SCALE + size + s, 0.87, 1.0)) for s in rng.normal(0.0, 0.018, 3)],
        "shear": rng.normal(0.0, 0.01, 3).tolist(),
        "rotation_deg": rng.normal(0.0, tilt_deg, 3).tolist(),
        "shift_mm": rng.normal(0.0, 0.5 + tilt_deg / 4, 3).tolist(),
    }


def build_shape(
    draws: Mapping[str, Any],
    widening: Float[Tensor, "3 x y z"],
    inside: Float[Tensor, "x y z"],
    pushes: Sequence[Mapping[str, Any]] = (),
) -> Shape:
    """Return the map of drawn parameters. All maps are on LATTICE.

    Args:
        draws: as `draw_shape` returns them.
        widening: a velocity that enlarges the ventricles, times atrophy, (3, x, y, z) in mm.
        inside: 1 in the brain, 0 well outside, where only the smoothest part of the random velocity acts (a skull has
            no folds).
        pushes: mass effects of tumours, each with centre_mm (template), radius_mm and push_mm (the outward
            displacement at about the radius).
    """
    affine = np.linalg.inv(_affine(draws))
    velocity = _random_velocity(int(draws["velocity_seed"]), inside) * float(draws["strength"])
    velocity += float(draws["atrophy"]) * widening
    for push in pushes:
        velocity += _push(push, np.linalg.inv(affine))
    return Shape(affine, channels_last(exponential(velocity)), channels_last(exponential(-velocity)))


def exponential(velocity: Float[Tensor, "3 x y z"]) -> Float[Tensor, "3 x y z"]:
    """Return the displacement (mm, on LATTICE) of the flow of a velocity after unit time, by scaling and squaring."""
    points = LATTICE.points_mm()
    displacement = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = displacement + sample(displacement, LATTICE, points + displacement.flatten(1).T).view_as(
            velocity
        )
    return displacement


def rigid(rotation_deg: Sequence[float], shift_mm: Sequence[float]) -> np.ndarray:
    """Return the 4×4 matrix that rotates about x, then y, then z (about the origin) and then shifts.

    Args:
        rotation_deg: about each axis.
        shift_mm: along each axis.
    """
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(rotation_deg)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift_mm
    return matrix


def _affine(draws: Mapping[str, Any]) -> np.ndarray:
    """Return the 4×4 matrix template → person: scale and shear, then the head's position."""
    local = np.diag([*draws["scale"], 1.0])
    local[0, 1], local[0, 2], local[1, 2] = draws["shear"]
    return rigid(draws["rotation_deg"], draws["shift_mm"]) @ local


def _apply(affine: np.ndarray, points: Tensor) -> Tensor:
    matrix = torch.from_numpy(affine.astype(np.float32))
    return torch.addmm(matrix[:3, 3], points, matrix[:3, :3].T)


def _random_velocity(seed: int, inside: Tensor) -> Tensor:
    """Return a smooth random velocity, the sum of SCALES; all but the smoothest act inside the brain only."""
    rng = generator(seed, "velocity")
    velocity = torch.zeros((3, *LATTICE.shape))
    for number, (sigma_mm, size_mm) in enumerate(SCALES):
        for part in velocity:
            noise = gaussian_filter(rng.standard_normal(LATTICE.shape, np.float32), sigma_mm / LATTICE.spacing_mm)
            part += torch.from_numpy(size_mm * noise / noise.std()) * (inside if number else 1.0)
    return velocity


def _push(push: Mapping[str, Any], to_person: np.ndarray) -> Tensor:
    """Return the velocity of a mass: points look inward, so that tissue appears moved outward; fading away."""
    centre = (to_person @ np.array([*push["centre_mm"], 1.0]))[:3]
    offset = LATTICE.points_mm() - torch.from_numpy(centre.astype(np.float32))
    sigma = 1.3 * float(push["radius_mm"])
    fade = torch.exp(-(offset**2).sum(-1, keepdim=True) / (2 * sigma**2))
    # the profile t·exp(-t²/2) has its maximum exp(-1/2) at one sigma
    flow = -offset / sigma * fade * float(np.exp(0.5)) * float(push["push_mm"])
    return flow.T.reshape(3, *LATTICE.shape)
