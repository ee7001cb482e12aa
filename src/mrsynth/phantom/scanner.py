"""The scanner: a site's protocol, and what it does to an ideal image (coil field, noise, slices, motion, scale)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import torch
import yaml
from scipy.ndimage import gaussian_filter1d, zoom
from torch.nn.functional import affine_grid, grid_sample, interpolate

from mrsynth.core.errors import InputError
from mrsynth.core.seeds import generator
from mrsynth.core.settings import Plane, Settings, nearest, parse
from mrsynth.phantom import signals
from mrsynth.phantom.template import Grid
from mrsynth.phantom.tissues import TissueTable

CT_NOISE_HU = 6.0
"""Standard deviation of a CT's noise in a voxel of 1 mm."""

USUAL_SITES = ("site-A", "site-B")
"""Where patients are scanned if nothing else is asked for. The others of assets/sites.yaml are for studies of dose."""

PLANES = "xyz"
"""The axis that a stack of slices is counted along, in the order of the image's axes."""


class Protocol(Settings):
    """One contrast's sequence, times in seconds.

    Attributes:
        sequence: which signal equation.
        tr_s, te_s: repetition and echo time.
        slice_mm: slice thickness along the axis `plane`.
        scale: white matter's value.
        in_plane_mm: edge of the pixels. Where it is None, noise is added on the image's grid, else in the voxels that
            were acquired.
        plane: the axis that slices are counted along.
        ti_s: inversion time, None without inversion.
        flip_deg: flip angle, None for spin echoes.
        spacing_s, pulses: spacing and number of the echoes of an MPRAGE's train, None for other sequences.
        b_s_mm2: b-value of a diffusion image, None for others.
    """

    sequence: Literal["mprage", "spoiled_gradient_echo", "spin_echo", "fast_spin_echo", "flair", "dwi"]
    tr_s: float
    te_s: float
    slice_mm: float
    scale: float
    in_plane_mm: float | None = None
    plane: Plane = "z"
    ti_s: float | None = None
    flip_deg: float | None = None
    spacing_s: float | None = None
    pulses: int | None = None
    b_s_mm2: float | None = None


class SiteProfile(Settings):
    """One scanner.

    Attributes:
        b0_tesla: field strength.
        agent: the contrast agent, by its name in the table of tissues.
        bias: standard deviation of the coil field's log.
        noise: relative to white matter, a channel.
        rotation_deg, shift_mm: standard deviations of what registration leaves between contrasts, each axis.
        tissue_spread: standard deviation of the log of a person's tissue times.
        mask_mm: how far the brain mask reaches beyond the tissue (None: to the dura).
        contrasts: contrast → sequence.
    """

    b0_tesla: float
    agent: str
    bias: float
    noise: float
    rotation_deg: float = 0.15
    shift_mm: float = 0.15
    tissue_spread: float = 0.03
    mask_mm: float | None = None
    contrasts: dict[str, Protocol]


def ct_noise_hu(spacing_mm: float) -> float:
    """Return the standard deviation of a CT's noise in a voxel, as if voxels of 1 mm were averaged: independent noise
    falls with the root of the volume."""
    return CT_NOISE_HU * spacing_mm**-1.5


@cache
def sites() -> dict[str, SiteProfile]:
    """Return the sites of assets/sites.yaml by name."""
    text = (files("mrsynth.phantom") / "assets" / "sites.yaml").read_text(encoding="utf-8")
    return {name: parse(SiteProfile, data, f"site {name}") for name, data in yaml.safe_load(text).items()}


def site_profile(name: str) -> SiteProfile:
    """Return a site; raises InputError that names the nearest one."""
    if name not in sites():
        raise InputError(f"'{name}' is not a site.", expected=", ".join(sites()), do=nearest(name, [*sites()]))
    return sites()[name]


def tissue_signals(protocol: Protocol, table: TissueTable, b_s_mm2: float | None = None) -> np.ndarray:
    """Return each tissue's signal in a protocol.

    Spin echoes lose the signal of flowing blood. Diffusion images are fat-suppressed, which leaves 5 % of fat and
    half of the fatty marrow.

    Args:
        protocol: the sequence and its times.
        table: the tissues' properties.
        b_s_mm2: in place of the protocol's b (for b = 0 images).

    Returns:
        (tissues,), where fully relaxed cerebrospinal fluid gives 1.
    """
    others = {"sequence", "slice_mm", "in_plane_mm", "plane", "scale"}
    values = protocol.model_dump(exclude=others, exclude_none=True)
    if protocol.sequence == "mprage":
        train = signals.Train(values.pop("pulses"), values.pop("spacing_s"), values.pop("flip_deg"))
        return signals.mprage(table.pd, table.t1_s, table.t2star_s, train=train, **values)
    if protocol.sequence == "spoiled_gradient_echo":
        return signals.spoiled_gradient_echo(table.pd, table.t1_s, table.t2star_s, **values)
    table = replace(table, pd=table.pd * table.flow)
    if protocol.sequence in ("spin_echo", "fast_spin_echo"):
        return signals.fast_spin_echo(table.pd, table.t1_s, table.t2_s, **values)
    if protocol.sequence == "flair":
        return signals.flair(table.pd, table.t1_s, table.t2_s, **values)
    pd = table.pd.copy()
    pd[table.index("fat")] *= 0.05
    pd[table.index("diploe")] *= 0.5
    if b_s_mm2 is not None:
        values["b_s_mm2"] = b_s_mm2
    return signals.dwi(pd, table.t1_s, table.t2_s, table.adc_mm2_s, **values)


def coil_field(seed: int, strength: float, grid: Grid) -> np.ndarray:
    """Return a smooth positive field with geometric mean 1.

    A cubic spline runs through random values about 60 mm apart, drawn for the same box in mm at every spacing.

    Args:
        seed: of the field.
        strength: standard deviation of its logarithm.
        grid: where it is wanted.

    Returns:
        float32, of the grid's shape.
    """
    rng = generator(seed, "coil")
    knots = rng.standard_normal((5, 5, 5)).astype(np.float32)
    smooth = zoom(knots, 5, order=3)[4:-4, 4:-4, 4:-4]
    smooth = strength * (smooth - smooth.mean()) / smooth.std()
    # stretched edge to edge of the box, so that the voxel size does not matter
    full = interpolate(torch.from_numpy(smooth)[None, None], size=grid.shape, mode="trilinear", align_corners=False)
    return torch.exp(full[0, 0]).numpy()


def add_rician(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return the magnitude of an image with complex Gaussian noise (Gudbjartsson and Patz, MRM 34:910, 1995).

    Args:
        image: signal without noise.
        sigma: standard deviation in each channel, in the image's unit.
        rng: the generator of random numbers.
    """
    real = image + sigma * rng.standard_normal(image.shape, np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, np.float32)
    return np.sqrt(real * real + imaginary * imaginary)


def thick_slices(image: np.ndarray, slice_mm: float, spacing_mm: float, keep_grid: bool = True) -> np.ndarray:
    """Return an image acquired in slices along z: blurred by the slice profile, and one voxel a slice.

    Args:
        image: (x, y, z).
        slice_mm: full width of the profile. Slices no thicker than a voxel leave the image as it is.
        spacing_mm: edge of the image's voxels.
        keep_grid: interpolate the slices back to the grid that came in (linearly), as atlas-space data sets do;
            otherwise the image has one voxel a slice.
    """
    step = slice_mm / spacing_mm
    if step <= 1.0:
        return image
    blurred = gaussian_filter1d(image, step / 2.355, axis=2, mode="nearest", truncate=2.0)
    count = max(2, round(image.shape[2] / step))
    centres = np.linspace(0.0, image.shape[2] - 1.0, count)
    slices = _along_z(blurred, centres)
    return _along_z(slices, np.linspace(0.0, count - 1.0, image.shape[2])) if keep_grid else slices


def acquire(
    image: np.ndarray, field: np.ndarray, protocol: Protocol, spacing_mm: float, sigma: float, rng: np.random.Generator
) -> np.ndarray:
    """Return what a protocol makes of an ideal image: coil field, slices and pixels, Rician noise, on the same grid.

    Args:
        image: (x, y, z), without noise.
        field: the coil's, of the image's shape.
        protocol: whose slices and pixels; those finer than the grid leave it as it is.
        spacing_mm: edge of the image's voxels.
        sigma: standard deviation of the noise in each channel, in the image's unit.
        rng: the generator of random numbers.
    """
    if protocol.in_plane_mm is None:
        return add_rician(thick_slices(image, protocol.slice_mm, spacing_mm) * field, sigma, rng)
    acquired = image * field
    for axis, plane in enumerate(PLANES):
        edge_mm = protocol.slice_mm if plane == protocol.plane else protocol.in_plane_mm
        turned = thick_slices(acquired.swapaxes(axis, 2), edge_mm, spacing_mm, keep_grid=False)
        acquired = turned.swapaxes(axis, 2)
    seen = add_rician(acquired, sigma, rng)
    for axis, count in enumerate(image.shape):
        if seen.shape[axis] != count:
            at = np.linspace(0.0, seen.shape[axis] - 1.0, count)
            seen = _along_z(seen.swapaxes(axis, 2), at).swapaxes(axis, 2)
    return np.ascontiguousarray(seen)


def move(image: np.ndarray, matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the image of a head that has moved: new(p) = old(matrix⁻¹ p).

    Args:
        image: (x, y, z).
        matrix: rigid, 4×4, mm.
        grid: of the image.
    """
    if np.array_equal(matrix, np.eye(4)):
        return image
    # in grid_sample's units (-1 to 1 between the outer voxel centres) the movement is another affine matrix
    half = (np.array(grid.shape) - 1.0) / 2.0 * grid.spacing_mm
    to_mm = np.diag([*half, 1.0])
    to_mm[:3, 3] = half + grid.origin_mm
    back = np.linalg.inv(to_mm) @ np.linalg.inv(matrix) @ to_mm
    theta = torch.from_numpy(np.ascontiguousarray(back[2::-1, [2, 1, 0, 3]], np.float32))[None]
    volume = torch.from_numpy(image)[None, None]
    points = affine_grid(theta, list(volume.shape), align_corners=True)
    return grid_sample(volume, points, mode="bilinear", padding_mode="border", align_corners=True)[0, 0].numpy()


def _along_z(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return an image interpolated linearly at fractional indices along its last axis."""
    low = np.clip(np.floor(at).astype(int), 0, image.shape[2] - 2)
    weight = (at - low).astype(np.float32)
    return image[:, :, low] * (1.0 - weight) + image[:, :, low + 1] * weight
