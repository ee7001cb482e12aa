"""The template's anatomy: where things are and how large they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from mrsynth.phantom.anatomy import COARSE_MAPS, FINE_MAPS, template_anatomy
from mrsynth.phantom.template import COARSE, FINE, load_template, sample


def at(name: str, *point_mm: float) -> float:
    anatomy = template_anatomy()
    fine = name in FINE_MAPS
    maps, grid = (anatomy.fine, FINE) if fine else (anatomy.coarse, COARSE)
    row = (FINE_MAPS if fine else COARSE_MAPS).index(name)
    return float(sample(maps[[row]], grid, torch.tensor([point_mm]))[0, 0])


def test_the_template_is_symmetric_and_probabilities_are_shares() -> None:
    grey, white, brain = load_template()
    for part in (grey, white, brain):
        assert np.array_equal(part, part[::-1])
    assert (grey + white).max() <= 1.0 + 1e-6
    assert not ((grey + white > 0.5) & ~brain).any()
    assert 1500 < brain.sum() / 1e3 < 2200  # MNI space is larger than a person


def test_ventricles_are_where_they_should_be() -> None:
    ventricle = template_anatomy().fine[FINE_MAPS.index("ventricle")] > 0.5
    assert 12 < float(ventricle.sum()) / 1e3 < 40
    assert at("ventricle", 7.0, 10.0, 16.0) > 0.5  # frontal horn
    assert at("ventricle", -7.0, 10.0, 16.0) > 0.5
    assert at("ventricle", 0.0, -46.0, -32.0) > 0.5  # fourth
    assert at("ventricle", 40.0, 0.0, -10.0) < 0.1  # Sylvian fissure
    largest = np.bincount(label(ventricle.numpy())[0].ravel())[1:].max()
    assert largest > 0.3 * float(ventricle.sum())


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("thalamus", (11, -18, 8)), ("caudate", (-12, 12, 8)), ("putamen", (26, 4, 1)), ("pallidum", (-19, -4, 0)),
        ("vein", (0, -85, -5.5)), ("artery", (0, -10, -36)), ("choroid", (-23, -40, 11)), ("sheet", (0, 40, 40)),
        ("eye", (32, 62, -37)), ("air", (28, 56, -66)),
    ],
)  # fmt: skip
def test_structures_are_at_their_known_positions(name: str, point: tuple[float, float, float]) -> None:
    assert at(name, *point) < 0


def test_the_head_encloses_the_brain() -> None:
    hull, head = (template_anatomy().coarse[COARSE_MAPS.index(name)] for name in ("hull", "head"))
    assert (head[hull < 0] < -4).all()


def test_lesions_start_in_the_right_tissue() -> None:
    anatomy = template_anatomy()
    for points, floor in ((anatomy.deep_white_mm, 0.85), (anatomy.periventricular[:, :3], 0.8)):
        assert len(points) > 500
        found = sample(anatomy.fine[[1]], FINE, torch.from_numpy(np.ascontiguousarray(points)))
        assert float(found.min()) >= floor - 0.01
    np.testing.assert_allclose(np.linalg.norm(anatomy.periventricular[:, 3:], axis=1), 1.0, atol=0.05)
