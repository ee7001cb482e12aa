"""A person's shape: invertible, smooth, and wider ventricles with atrophy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrsynth.phantom.anatomy import template_anatomy
from mrsynth.phantom.shape import LATTICE, build_shape, draw_shape, exponential, rigid

CENTRE = (slice(5, -5),) * 3


def shape_of(seed: int, atrophy: float = 0.3, pushes=()):
    anatomy = template_anatomy()
    draws = draw_shape(np.random.default_rng(seed), atrophy, 1.0)
    return build_shape(draws, anatomy.widening, anatomy.inside, pushes)


def jacobian_determinant(displacement: torch.Tensor) -> np.ndarray:
    """Return the determinant of the gradient of x + displacement(x) at every point of LATTICE."""
    rows = [np.stack(np.gradient(part, LATTICE.spacing_mm), axis=-1) for part in displacement.numpy()]
    return np.linalg.det(np.stack(rows, axis=-2) + np.eye(3))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_map_keeps_orientation_everywhere(seed: int) -> None:
    push = {"centre_mm": [30.0, -20.0, 20.0], "radius_mm": 18.0, "push_mm": 5.5}
    shape = shape_of(seed, 1.2, [push])
    for displacement in (shape.forward, shape.inverse):
        assert jacobian_determinant(displacement)[CENTRE].min() > 0.05
    assert np.linalg.det(shape.affine) > 0


def test_the_inverse_undoes_the_map() -> None:
    shape = shape_of(3)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-60, 60, (4000, 3)).astype(np.float32))
    error_mm = (shape.to_person(shape.to_template(points)) - points).norm(dim=-1)
    assert error_mm.mean() < 0.1
    assert error_mm.max() < 0.8


def test_the_flow_of_a_constant_velocity_is_a_shift() -> None:
    velocity = torch.zeros((3, *LATTICE.shape))
    velocity[0] = 3.0
    np.testing.assert_allclose(exponential(velocity)[0].numpy(), 3.0, atol=1e-4)
    assert not exponential(velocity)[1:].any()


def test_no_variation_leaves_scale_only() -> None:
    draws = draw_shape(np.random.default_rng(0), 0.0, 0.0)
    draws |= {"strength": 0.0, "shear": [0.0] * 3, "shift_mm": [0.0] * 3, "rotation_deg": [0.0] * 3}
    anatomy = template_anatomy()
    shape = build_shape(draws, anatomy.widening, anatomy.inside)
    points = torch.tensor([[10.0, 20.0, 30.0]])
    np.testing.assert_allclose(shape.to_template(points)[0], points[0] / torch.tensor(draws["scale"]), rtol=1e-5)


def test_a_mass_moves_its_surroundings_outward() -> None:
    centre = torch.tensor([[30.0, -10.0, 25.0]])
    push = {"centre_mm": centre[0].tolist(), "radius_mm": 15.0, "push_mm": 5.0}
    plain, pushed = shape_of(4), shape_of(4, pushes=[push])
    middle = plain.to_person(centre)[0]
    for step in (torch.tensor([0.0, 18.0, 0.0]), torch.tensor([0.0, -18.0, 0.0]), torch.tensor([-18.0, 0.0, 0.0])):
        beside = plain.to_person(centre + step)
        before = (beside[0] - middle).norm()
        after = (pushed.to_person(centre + step)[0] - middle).norm()
        assert after - before > 2.0


def test_rigid_matrices_are_rotations() -> None:
    matrix = rigid([3.0, -5.0, 8.0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 3], [1, 2, 3])
