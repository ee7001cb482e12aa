"""A head whose orientation got lost is not matched; one that moved far is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.phantom import SubjectSettings, simulate_subject
from mrsynth.steps.match import match
from mrsynth.steps.pyramid import pyramid


@pytest.fixture(scope="module")
def head() -> Case:
    return simulate_subject(3, SubjectSettings(profile="full", spacing_mm=4.0, stripped=False))


def lost(image: Image, axes: tuple[int, int, int], flipped: tuple[int, ...]) -> Image:
    """Return an image whose voxels were stored with other axes and whose header says nothing of it."""
    data = np.flip(image.data.transpose(axes), flipped)
    edge = image.spacing_mm[0]
    return replace(image, data=np.ascontiguousarray(data), affine=np.diag([edge, edge, edge, 1.0]))


@pytest.mark.parametrize(
    ("axes", "flipped", "told"),
    [
        ((0, 1, 2), (0, 1), "turned along x and y"),
        ((0, 1, 2), (2,), "mirrored along z"),
        ((1, 2, 0), (), "axes exchanged"),
    ],
)
def test_a_lost_orientation_is_no_match(
    head: Case, axes: tuple[int, int, int], flipped: tuple[int, ...], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        match(pyramid(head.images["t1"]), pyramid(lost(head.images["t2"], axes, flipped)), "rigid")


def test_a_head_that_moved_far_is_matched(head: Case) -> None:
    turn = np.eye(4)
    angle = np.radians(25.0)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (20.0, -10.0, 15.0)
    moved = replace(head.images["t2"], affine=turn @ np.asarray(head.images["t2"].affine))
    found = match(pyramid(head.images["t1"]), pyramid(moved), "rigid")
    np.testing.assert_allclose(found.world @ turn, np.eye(4), atol=0.6)
