"""The power spectrum of noise within a region of any form: how much of it lies at which fineness of grain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from mrsynth.core.errors import InputError
from mrsynth.metrics.regions import bounding_box


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A spectrum over all directions.

    Attributes:
        frequency_per_mm: (bin,) cycles per mm, ascending.
        power: (bin,) mean power, in the image's units² · mm³; white noise of standard deviation σ has σ² times a
            voxel's volume everywhere.
    """

    frequency_per_mm: np.ndarray
    power: np.ndarray


def power_spectrum(image: np.ndarray, weight: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the power at each frequency (u, v, w) of the discrete Fourier transform of the box around the weight.

    It is the periodogram of weight · (image − its weighted mean), divided by the sum of squared weights. For stationary
    noise its expectation is the noise's spectrum, blurred by that of the weight, which for a brain is a few hundredths
    of a cycle per cm wide. Its sum is the weighted variance times the number of frequencies times a voxel's volume
    (Parseval).

    Args:
        image: (x, y, z).
        weight: of the same shape, at least 0, e.g. a mask.
        spacing_mm: edges of a voxel.

    Returns:
        (u, v, w), of the box's shape, in the image's units² · mm³.

    Raises:
        InputError: where the weight is 0 everywhere.
    """
    box = bounding_box(weight > 0)
    if box is None:
        raise InputError("There is no voxel to take a spectrum of.", do="give a mask that is not empty")
    w, values = weight[box].astype(np.float64), image[box].astype(np.float64)
    seen = w * (values - np.average(values, weights=w))
    power = np.abs(fft.fftn(seen)) ** 2
    return np.asarray(power * np.prod(spacing_mm) / (w**2).sum())


def radial_spectrum(image: np.ndarray, weight: np.ndarray, spacing_mm: tuple[float, float, float]) -> Spectrum:
    """Return the spectrum as `power_spectrum` does, averaged over all directions.

    Bins are as wide as the longest edge of the box resolves. The first one (the mean, which was taken off) is left out.
    They end where the coarsest axis does, at its Nyquist frequency.

    Args:
        image: (x, y, z).
        weight: of the same shape, at least 0, e.g. a mask.
        spacing_mm: edges of a voxel.

    Raises:
        InputError: where the weight is 0 everywhere.
    """
    power = power_spectrum(image, weight, spacing_mm)
    axes = [fft.fftfreq(n, mm) for n, mm in zip(power.shape, spacing_mm, strict=True)]
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    step = 1 / max(n * mm for n, mm in zip(power.shape, spacing_mm, strict=True))
    last = int(0.5 / max(spacing_mm) / step)
    bins = np.rint(radius / step).astype(int).ravel()
    counts, powers, radii = (np.bincount(bins, weights=v)[1 : last + 1] for v in (None, power.ravel(), radius.ravel()))
    full = counts > 0
    return Spectrum(radii[full] / counts[full], powers[full] / counts[full])
