"""Pure tensor functions that losses, metrics and reports share: the map of structural similarity and masked means."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Window = Literal["uniform", "gaussian"]
GAUSSIAN_TRUNCATE = 3.5
"""A Gaussian window ends at this many standard deviations (SciPy and scikit-image: 11 taps for sigma 1.5)."""

BLOCK = 32
"""Output rows of one matrix product: wide enough for the processor, narrow enough to skip most zeros of the band."""


class Moments(NamedTuple):
    """Local moments of two images, each of the images' own shape.

    Attributes:
        mean_x, mean_y: windowed means.
        var_x, var_y, cov: windowed variances and covariance.
    """

    mean_x: Float[Tensor, "b c *space"]
    mean_y: Float[Tensor, "b c *space"]
    var_x: Float[Tensor, "b c *space"]
    var_y: Float[Tensor, "b c *space"]
    cov: Float[Tensor, "b c *space"]


def window_radius(window: Window = "uniform", size: int = 7, sigma: float = 1.5) -> int:
    """Return how many voxels a window reaches to each side. A crop with this margin has the whole image's values.

    Args:
        window: uniform or gaussian.
        size: edge of a uniform window in voxels.
        sigma: standard deviation of a gaussian window in voxels.
    """
    return size // 2 if window == "uniform" else int(GAUSSIAN_TRUNCATE * sigma + 0.5)


def local_moments(
    x: Float[Tensor, "b c *space"],
    y: Float[Tensor, "b c *space"],
    *,
    window: Window = "uniform",
    size: int = 7,
    sigma: float = 1.5,
) -> Moments:
    """Return the windowed means, variances and covariance of 2-D or 3-D images at every voxel.

    Beyond the border images are mirrored (edge voxel twice). Both windows are as scikit-image has them.

    Args:
        x: (b, c, *space).
        y: the same shape.
        window: "uniform", a box with the sample covariance (n − 1), or "gaussian", with the population covariance.
        size: edge of the box in voxels, odd.
        sigma: standard deviation of the gaussian in voxels.

    Returns:
        The moments, each (b, c, *space).

    Raises:
        ValueError: for shapes that differ, or an even size.
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes differ: {tuple(x.shape)} and {tuple(y.shape)}")
    if window == "uniform" and (size < 3 or size % 2 == 0):
        raise ValueError(f"a uniform window needs an odd size of at least 3, not {size}")
    weights = _weights(window, size, sigma)
    mean_x, mean_y, xx, yy, xy = (_separable(image, weights) for image in (x, y, x * x, y * y, x * y))
    voxels = float(size) ** (x.ndim - 2)
    unbias = voxels / (voxels - 1) if window == "uniform" else 1.0
    return Moments(
        mean_x,
        mean_y,
        unbias * (xx - mean_x * mean_x),
        unbias * (yy - mean_y * mean_y),
        unbias * (xy - mean_x * mean_y),
    )


def ssim_from_moments(
    moments: Moments, data_range: float, *, k1: float = 0.01, k2: float = 0.03
) -> Float[Tensor, "b c *space"]:
    """Return the similarity at every voxel from local moments: Wang et al. 2004 (IEEE TIP 13:600), equation 13.

    Args:
        moments: of two images (`local_moments`).
        data_range: width of the whole scale, in the images' units.
        k1: share of the range that keeps the luminance term finite.
        k2: share of the range that keeps the contrast term finite.

    Returns:
        (b, c, *space).
    """
    mean_x, mean_y, var_x, var_y, cov = moments
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    below = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
    return above / below


def ssim_map(
    x: Float[Tensor, "b c *space"],
    y: Float[Tensor, "b c *space"],
    *,
    data_range: float,
    window: Window = "uniform",
    size: int = 7,
    sigma: float = 1.5,
) -> Float[Tensor, "b c *space"]:
    """Return the map of structural similarity of 2-D or 3-D images, differentiable.

    Equals scikit-image's `structural_similarity(full=True)`: its default for the window "uniform", and
    `gaussian_weights=True, use_sample_covariance=False` for "gaussian".

    Args:
        x: (b, c, *space).
        y: the same shape.
        data_range: width of the whole scale, in the images' units.
        window: uniform or gaussian.
        size: edge of a uniform window in voxels, odd.
        sigma: standard deviation of a gaussian window in voxels.

    Returns:
        (b, c, *space).

    Raises:
        ValueError: for shapes that differ, or an even size.
    """
    return ssim_from_moments(local_moments(x, y, window=window, size=size, sigma=sigma), data_range)


def masked_mean(values: Float[Tensor, "b c *space"], mask: Bool[Tensor, "b #c *space"]) -> Float[Tensor, " b"]:
    """Return the mean inside the mask for each sample; an empty mask gives 0 with zero gradient.

    So a batch in which one patient has no lesion still has a finite loss. Metrics check for emptiness before.

    Args:
        values: (b, c, *space).
        mask: what counts, (b, 1 or c, *space).

    Returns:
        (b,).
    """
    weight = mask.expand_as(values).to(values.dtype).flatten(1)
    return (values.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=1)


def _weights(window: Window, size: int, sigma: float) -> list[float]:
    if window == "uniform":
        return [1 / size] * size
    radius = window_radius(window, size, sigma)
    bell = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return (bell / bell.sum()).tolist()


def _separable(x: Float[Tensor, "b c *space"], weights: list[float]) -> Float[Tensor, "b c *space"]:
    """Filter along every space axis, BLOCK output rows at a time, each block as one dense matrix product.

    On a CPU this beats pooling, cumulative sums, shifted sums and convolution (docs/explain/metrics.md).
    """
    reach = len(weights) // 2
    for axis in range(2, x.ndim):
        length, blocks = x.shape[axis], []
        band = _band(length, weights).to(x)
        for start in range(0, length, BLOCK):
            stop = min(start + BLOCK, length)
            low, high = max(start - reach, 0), min(stop + reach, length)
            blocks.append(_product(band[start:stop, low:high], x.narrow(axis, low, high - low), axis))
        x = torch.cat(blocks, dim=axis)
    return x


def _product(matrix: Float[Tensor, "m n"], x: Float[Tensor, "b c *space"], axis: int) -> Float[Tensor, "b c *out"]:
    """Return the matrix applied along one axis."""
    if axis == x.ndim - 1:
        return x @ matrix.T
    lead, trail = x.shape[:axis], x.shape[axis + 1 :]
    return (matrix @ x.reshape(lead.numel(), x.shape[axis], trail.numel())).reshape(*lead, -1, *trail)


def _band(length: int, weights: list[float]) -> Float[Tensor, "n n"]:
    """Return the matrix that filters a row of `length` values with mirrored ends (period 2·length)."""
    row = torch.arange(length)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for offset, weight in enumerate(weights, start=-(len(weights) // 2)):
        column = (row + offset) % (2 * length)
        column = torch.where(column < length, column, 2 * length - 1 - column)
        matrix[row, column] += weight
    return matrix
