"""The anatomy on the template: smooth maps from which each person's tissues are cut.

Grey and white matter are those of ICBM 152; ventricles are the inner part of what is left; nuclei, vessels, dura,
skull and the rest of the head are placed at their known positions in MNI space. The face is schematic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, gaussian_filter, label
from torch import Tensor

from mrsynth.phantom.shape import LATTICE
from mrsynth.phantom.solids import Point, ellipsoid, smooth_union, tubes
from mrsynth.phantom.template import COARSE, FINE, channels_last, load_template, sample

FINE_MAPS: tuple[str, ...] = ("grey", "white", "ventricle", "vein", "artery", "choroid", "sheet")
"""Maps on FINE: two probabilities, a soft ventricle mask (0 to 1) and levels in mm (negative inside)."""

COARSE_MAPS: tuple[str, ...] = ("hull", "mixed", "thalamus", "caudate", "putamen", "pallidum", "head", "air", "eye")
"""Maps on COARSE: `hull` is the distance outside the brain in mm, `mixed` 1 where grey and white matter are truly
mixed, the others levels in mm."""

SKULL_AND_SCALP_MM = 13.5

ARTERIES: list[tuple[float, list[Point]]] = [
    (2.0, [(22, -30, -70), (24, -22, -52), (22, -10, -40), (13, -2, -36), (12, 6, -28), (13, 3, -20)]),
    (1.4, [(13, 3, -20), (26, 5, -20), (38, 3, -16), (43, -4, -4), (42, -18, 6), (44, -34, 14)]),
    (1.2, [(13, 3, -20), (4, 12, -18), (2, 26, -14), (1.6, 37, 0), (1.6, 34, 16), (1.6, 18, 28), (1.6, -8, 34)]),
    (1.3, [(0, -12, -19), (11, -14, -18), (20, -28, -12), (18, -42, -2)]),
    (1.5, [(8, -34, -80), (6, -30, -64), (0, -22, -50)]),
    (1.7, [(0, -22, -50), (0, -10, -36), (0, -12, -19)]),
]
"""Internal carotid, middle, anterior and posterior cerebral, vertebral and basilar artery: (radius, path) in mm."""

VEINS: list[tuple[float, list[Point]]] = [
    (1.0, [(2, 0, 16), (2.5, -22, 16), (1, -38, 8)]),
    (1.6, [(0, -38, 8), (0, -46, 6), (0, -52, 10)]),
    (2.0, [(0, -52, 10), (0, -76, -2), (0, -100, -14)]),
    (2.8, [(60, -50, -30), (57, -42, -42), (44, -38, -52), (34, -40, -58)]),
]
"""Internal cerebral veins, vein of Galen, straight sinus and sigmoid sinus: (radius, path) in mm."""

CHOROID: list[tuple[float, list[Point]]] = [
    (1.3, [(6, -6, 17), (12, -22, 20), (19, -34, 17)]),
    (3.2, [(22, -39, 14), (25, -42, 6)]),
    (1.4, [(25, -42, 6), (31, -36, -6), (33, -26, -14)]),
    (1.2, [(0, -48, -32), (4, -50, -34)]),
]
"""Choroid plexus of the lateral ventricles (with its glomus) and of the fourth."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The template's maps.

    Attributes:
        fine: (7, x, y, z) on FINE.
        coarse: (9, x, y, z) on COARSE.
        widening: (3, x, y, z) on LATTICE.
        inside: (x, y, z) on LATTICE.
        deep_white_mm: positions (n, 3) inside white matter where tumours may start.
        periventricular: (n, 6) positions near the ventricles and the unit direction away from them.
        junction_mm: (n, 3) at the border of white matter and cortex.
    """

    fine: Tensor
    coarse: Tensor
    widening: Tensor
    inside: Tensor
    deep_white_mm: np.ndarray
    periventricular: np.ndarray
    junction_mm: np.ndarray


@cache
def template_anatomy() -> Anatomy:
    """Return the anatomy of the template; built once a process."""
    grey, white, brain = load_template()
    ventricle = _ventricle(grey, white, brain)
    hull = _hull(brain)
    fine_hull = sample(torch.from_numpy(hull)[None], COARSE, FINE.points_mm()).view(FINE.shape).numpy()
    sinuses = np.minimum(_sinuses(fine_hull), tubes(FINE, VEINS))
    fine = {
        "grey": grey,
        "white": white,
        "ventricle": gaussian_filter(ventricle.astype(np.float32), 0.7),
        "vein": sinuses,
        "artery": tubes(FINE, ARTERIES),
        "choroid": tubes(FINE, CHOROID),
        "sheet": _sheets(fine_hull),
    }
    coarse = {
        "hull": hull,
        "mixed": _mixed(),
        "thalamus": ellipsoid(COARSE, (10.5, -18.0, 7.0), (9.0, 14.0, 9.5), mirrored=True),
        "caudate": _caudate(),
        "putamen": ellipsoid(COARSE, (26.0, 3.0, 1.5), (6.5, 17.0, 11.0), mirrored=True),
        "pallidum": ellipsoid(COARSE, (18.5, -4.0, -0.5), (5.5, 9.0, 7.0), mirrored=True),
        "head": _head(hull),
        "air": _air(),
        "eye": ellipsoid(COARSE, (32.0, 62.0, -37.0), (12.0, 12.0, 12.0), mirrored=True),
    }
    return Anatomy(
        channels_last(torch.from_numpy(np.stack([fine[name] for name in FINE_MAPS]))),
        channels_last(torch.from_numpy(np.stack([coarse[name] for name in COARSE_MAPS]).astype(np.float32))),
        _widening(ventricle),
        _inside(hull),
        *_lesion_sites(white, ventricle, fine_hull),
    )


def _ventricle(grey: np.ndarray, white: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return the ventricles (bool): fluid inside the brain in reach of the lateral, third and fourth ventricle."""
    x, y, z = FINE.axes_mm()
    fluid = brain & (grey + white < 0.5)
    lateral = (np.abs(x) < 44) & (y > -82) & (y < 42) & (z > -22) & (z < 34)
    third = (np.abs(x) < 5) & (y > -30) & (y < 6) & (z > -16) & (z < 12)
    fourth = (np.abs(x) < 12) & (y > -56) & (y < -38) & (z > -46) & (z < -18)
    # the cisterns behind the midbrain and around the insula are fluid too, but not ventricle
    cistern = (np.abs(x) < 16) & (y < -28) & (z < 8) & (z > -18)
    sylvian = (np.abs(x) > 30) & (y > -30)
    fissure = (np.abs(x) < 3) & ((y > 22) | (z > 24) | (y < -30))
    # the temporal horns hang on by less than a voxel, so that whole regions are taken rather than one component
    lateral_fluid = fluid & lateral & ~cistern & ~sylvian & ~fissure
    parts, _ = label(lateral_fluid | (fluid & third))
    body = (np.abs(x) > 3) & (np.abs(x) < 14) & (y > -12) & (y < 18) & (z > 11) & (z < 22)
    sizes = [np.bincount(parts[body & (side * x > 0)], minlength=1) for side in (1, -1)]
    keep = {int(np.argmax(size[1:])) + 1 for size in sizes}
    return np.isin(parts, list(keep)) | (fluid & (third | fourth))


def _hull(brain: np.ndarray) -> np.ndarray:
    """Return the signed distance (mm, on COARSE) outside the brain's smooth hull."""
    small = np.zeros(COARSE.shape, np.float32)
    start = [round((f - c) / 2) for f, c in zip(FINE.origin_mm, COARSE.origin_mm, strict=True)]
    half = brain[::2, ::2, ::2]
    small[tuple(slice(s, s + n) for s, n in zip(start, half.shape, strict=True))] = half
    small[..., : start[2]] = small[..., start[2] : start[2] + 1]
    solid = (gaussian_filter(small, 3.0) > 0.42) | (small > 0)
    outside, inside = distance_transform_edt(~solid), distance_transform_edt(solid)
    signed = (np.where(solid, 1.0 - inside, outside) - 0.5) * COARSE.spacing_mm
    return gaussian_filter(signed.astype(np.float32), 0.8)


def _sinuses(hull: np.ndarray) -> np.ndarray:
    """Return the level of the superior sagittal and the transverse sinuses, which follow the inside of the skull."""
    x, y, z = FINE.axes_mm()
    sagittal = (np.hypot(x / 4.5, (hull - 1.5) / 3.0) - 1.0) * 3.0
    sagittal = np.where(z > 12 - (65 - y) * 24 / 170, sagittal, 4.0)
    height = -14.0 - 0.13 * np.maximum(np.abs(x) - 20.0, 0.0)
    transverse = (np.hypot((z - height) / 3.6, (hull - 1.5) / 3.2) - 1.0) * 3.2
    transverse = np.where((y < -48) & (np.abs(x) < 62), transverse, 4.0)
    return np.minimum(sagittal, transverse).clip(max=4.0).astype(np.float32)


def _sheets(hull: np.ndarray) -> np.ndarray:
    """Return the level of falx and tentorium, sheets 1.2 mm thick."""
    x, y, z = FINE.axes_mm()
    free_edge = np.hypot((y + 22.0) / 62.0, (z - 4.0) / 34.0) - 1.0  # the falx ends above the corpus callosum
    falx = np.where((free_edge > 0) & (z > -16) & (hull < 2), np.abs(x), 4.0)
    height = np.interp(y, [-100.0, -50.0], [-13.0, 4.0]) - 0.36 * np.abs(x)
    tent = np.where((y < -42) & (hull < 2) & (np.abs(x) < 62), np.abs(z - height) * 0.92, 4.0)
    return (np.minimum(falx, tent) - 0.6).clip(max=4.0).astype(np.float32)


def _caudate() -> np.ndarray:
    """Return the level of the caudate nuclei: the head, and the body along the lateral ventricle."""
    head = ellipsoid(COARSE, (12.0, 13.0, 6.0), (7.0, 11.0, 11.0), mirrored=True)
    body = tubes(COARSE, [(5.0, [(13, 8, 14), (16, -6, 20), (19, -20, 22)])], far_mm=8.0)
    return np.minimum(head, body)


def _mixed() -> np.ndarray:
    """Return where grey and white matter share voxels (1) instead of meeting at a border (0): brain stem and nuclei."""
    level = ellipsoid(COARSE, (0.0, -18.0, 3.0), (30.0, 30.0, 18.0))
    stem = tubes(COARSE, [(17.0, [(0, -20, -8), (0, -26, -30), (0, -44, -70), (0, -48, -110)])], False, far_mm=20.0)
    return np.clip(0.5 - np.minimum(level, stem) / 8.0, 0.0, 1.0)


def _head(hull: np.ndarray) -> np.ndarray:
    """Return the level of the head's outer surface: scalp over the skull, temples, face, nose and neck."""
    head = hull - SKULL_AND_SCALP_MM
    parts: list[tuple[np.ndarray, float]] = [
        (ellipsoid(COARSE, (56.0, 12.0, -26.0), (22.0, 34.0, 40.0), mirrored=True), 10.0),
        (ellipsoid(COARSE, (0.0, 30.0, -62.0), (66.0, 66.0, 60.0)), 12.0),
        (ellipsoid(COARSE, (0.0, 95.0, -62.0), (13.0, 17.0, 20.0)), 8.0),
        (tubes(COARSE, [(56.0, [(0, -30, -60), (0, -36, -140)])], False, far_mm=60.0), 20.0),
    ]
    for level, width_mm in parts:
        head = smooth_union(head, level, width_mm)
    return gaussian_filter(head, 1.0)


def _air() -> np.ndarray:
    """Return the level of the airways and sinuses."""
    cavities: list[tuple[Point, Point]] = [
        ((6.0, 66.0, -60.0), (4.0, 26.0, 16.0)),  # nasal cavity, septum between
        ((28.0, 56.0, -66.0), (11.0, 13.0, 14.0)),  # maxillary
        ((6.0, 54.0, -40.0), (4.0, 16.0, 8.0)),  # ethmoid
        ((7.0, 14.0, -40.0), (6.0, 10.0, 7.0)),  # sphenoid
        ((0.0, 22.0, -88.0), (9.0, 7.0, 36.0)),  # pharynx
        ((54.0, -36.0, -50.0), (7.0, 9.0, 12.0)),  # mastoid
    ]
    return np.minimum.reduce([ellipsoid(COARSE, centre, radii, mirrored=True) for centre, radii in cavities])


def _widening(ventricle: np.ndarray) -> Float[Tensor, "3 x y z"]:
    """Return the velocity that, at atrophy 1, moves the ventricles' walls outward by about 2.5 mm."""
    blurred = gaussian_filter(ventricle.astype(np.float32), 5.0)
    on_lattice = sample(torch.from_numpy(blurred)[None], FINE, LATTICE.points_mm()).view(LATTICE.shape).numpy()
    gradient = np.stack(np.gradient(on_lattice, LATTICE.spacing_mm)).astype(np.float32)
    # points of a person look toward the ventricles, so that these appear larger
    return torch.from_numpy(gradient * (2.5 / np.linalg.norm(gradient, axis=0).max()))


def _inside(hull: np.ndarray) -> Float[Tensor, "x y z"]:
    """Return, on LATTICE, 1 in the brain and 0 from 8 mm outside it."""
    return (
        (1.0 - sample(torch.from_numpy(hull)[None], COARSE, LATTICE.points_mm()) / 8.0)
        .clamp(0.0, 1.0)
        .view(LATTICE.shape)
    )


def _lesion_sites(white: np.ndarray, ventricle: np.ndarray, hull: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the positions where lesions start (see Anatomy), every second voxel of FINE."""
    step = (slice(None, None, 2),) * 3
    points = FINE.points_mm().view(*FINE.shape, 3).numpy()[step]
    white, hull, ventricle = white[step], hull[step], ventricle[step]
    away = (distance_transform_edt(~ventricle) * 2.0).astype(np.float32)
    upper = (points[..., 2] > -12) & (np.abs(points[..., 0]) > 12)
    deep = upper & (white > 0.85) & (hull < -14) & (away > 9)
    near = (white > 0.8) & (away > 2) & (away < 9) & (points[..., 2] > -4)
    junction = upper & (white > 0.35) & (white < 0.65) & (hull > -16) & (hull < -5)
    direction: np.ndarray = np.stack([*np.gradient(gaussian_filter(away, 1.0))], axis=-1)
    direction /= np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-6)
    return points[deep], np.concatenate([points[near], direction[near]], axis=1), points[junction]
