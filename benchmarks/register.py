"""Rigid and affine registration of the phantom at 1 mm beside SimpleITK's and ANTsPy's documented defaults.

One head with an enhancing lesion; the movement is known, so that the error is measured: mean distance over the brain.
A method that is not installed is left out and says so. mrsynth's time includes everything from the two images on.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np

from benchmarks.machine import environment, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.phantom import SubjectSettings, simulate_with_truth
from mrsynth.steps.match import Kind, match
from mrsynth.steps.pyramid import pyramid
from mrsynth.steps.transform import apply_affine, mean_shift_mm

SPACING_MM = sized(1.0, 4.0)
CONTRASTS = sized(("t1ce", "ct", "t2", "adc"), ("t1ce",))
"""The others, which take minutes for all four, run on the first two."""

WANTED = {"t1ce": "≤ 0.1 mm", "ct": "≤ 0.05 mm"}
"""The error of a rigid match."""

Method = Callable[[Image, Image, Kind], np.ndarray]
"""(fixed, moving, kind) → the 4×4 matrix that brings the moving image's mm onto the fixed one's."""

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between RAS+ and the LPS+ of ITK."""


def movement(kind: Kind, seed: int) -> np.ndarray:
    """Return 15 mm and 10° in a random direction, for affine with scales and shears of up to 3 %."""
    draw = np.random.default_rng(seed)
    axis, shift = (v / np.linalg.norm(v) for v in draw.normal(size=(2, 3)))
    cross, angle = np.cross(np.eye(3), axis), np.radians(10)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = 15 * shift
    if kind == "affine":
        matrix[:3, :3] @= np.eye(3) + draw.uniform(-0.03, 0.03, (3, 3))
    return matrix


def ours(fixed: Image, moving: Image, kind: Kind) -> np.ndarray:
    return match(pyramid(fixed), pyramid(moving), kind).world


def simpleitk(fixed: Image, moving: Image, kind: Kind, seed: int) -> np.ndarray:
    """The registration framework's example for 3-D multi-modal images: centred by geometry, 50 bins, 1 % of the voxels
    at random (the result depends on which), gradient descent, three levels."""
    import SimpleITK as sitk

    pictures = [_itk(fixed), _itk(moving)]
    start = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    first = sitk.CenteredTransformInitializer(*pictures, start, sitk.CenteredTransformInitializerFilter.GEOMETRY)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.01, seed)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(
        learningRate=1.0, numberOfIterations=100, convergenceMinimumValue=1e-6, convergenceWindowSize=10
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(first, inPlace=False)
    found = method.Execute(*pictures)
    points = np.array([found.TransformPoint(point) for point in ([0.0] * 3, *np.eye(3).tolist())])
    matrix = np.eye(4)
    matrix[:3, 3] = points[0]
    matrix[:3, :3] = (points[1:] - points[0]).T
    return FLIP @ np.linalg.inv(matrix) @ FLIP


def antspy(fixed: Image, moving: Image, kind: Kind) -> np.ndarray:
    """ants.registration with its defaults."""
    import ants

    pictures = [_ants(fixed), _ants(moving)]
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(
            *pictures, type_of_transform={"rigid": "Rigid", "affine": "Affine"}[kind], outprefix=f"{folder}/"
        )
        transform = ants.read_transform(found["fwdtransforms"][0])
        points = np.array([transform.apply_to_point(point) for point in ([0.0] * 3, *np.eye(3).tolist())])
    matrix = np.eye(4)
    matrix[:3, 3] = points[0]
    matrix[:3, :3] = (points[1:] - points[0]).T
    return FLIP @ np.linalg.inv(matrix) @ FLIP


def _geometry(image: Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spacing, origin and directions in LPS+; an affine image's shear goes to the nearest rotation."""
    affine = FLIP @ np.asarray(image.affine, float)
    spacing = np.array(image.spacing_mm)
    return spacing, affine[:3, 3], affine[:3, :3] / spacing


def _itk(image: Image) -> object:
    import SimpleITK as sitk

    picture = sitk.GetImageFromArray(np.ascontiguousarray(image.data.T, dtype=np.float32))
    spacing, origin, directions = _geometry(image)
    picture.SetSpacing(spacing.tolist())
    picture.SetOrigin(origin.tolist())
    picture.SetDirection(directions.ravel().tolist())
    return picture


def _ants(image: Image) -> object:
    import ants

    spacing, origin, directions = _geometry(image)
    return ants.from_numpy(
        np.ascontiguousarray(image.data, dtype=np.float32), origin.tolist(), spacing.tolist(), direction=directions
    )


def measure(name: str, methods: Sequence[Method], kind: Kind, head: tuple[Case, dict[str, np.ndarray]]) -> None:
    """Print time and error of one method over the contrasts: medians where it is given with several seeds."""
    case, moved = head
    points = apply_affine(case.images["t1"].affine, np.argwhere(case.masks["brain"].data)[::211].T)
    packages = {"SimpleITK": "simpleitk", "ANTsPy": "antspyx"}.get(name, "simpleitk")
    place = environment(packages)
    limits = {"rigid": "≤ 8 s", "affine": "≤ 15 s"} if name == "mrsynth" else {}
    for number, contrast in enumerate(CONTRASTS if name == "mrsynth" else CONTRASTS[:2]):
        drawn = movement(kind, number)
        # Resampled, not just moved by its affine: the others' images cannot be sheared.
        away = _resampled(case.images[contrast], drawn)
        taken, errors = [], []
        for turn in methods:
            start = time.perf_counter()
            world = turn(case.images["t1"], away, kind)
            taken.append(time.perf_counter() - start)
            errors.append(mean_shift_mm(world @ drawn @ moved[contrast], points))
        seconds, error = statistics.median(taken), statistics.median(errors)
        what = f"{kind}, {contrast} to t1 at 1 mm, {name}"
        wanted = WANTED.get(contrast, "≤ 0.5 mm") if limits else ""
        row("register", what, seconds, "s", limits.get(kind, ""), **place)
        row("register", f"{what}, mean error in the brain", error, "mm", wanted, **place)


def _resampled(image: Image, matrix: np.ndarray) -> Image:
    """Return the image of a head that a matrix carried, on the same grid shifted by the matrix's shift."""
    from mrsynth.steps.transform import Grid, bring

    affine = np.array(image.affine, float)
    affine[:3, 3] += matrix[:3, 3]
    return bring(replace(image, affine=matrix @ image.affine), Grid(Grid.of(image).shape, affine), "linear", False)


def main() -> None:
    import scipy.ndimage
    import SimpleITK as sitk

    print(f"SimpleITK {sitk.Version_VersionString()} and {scipy.ndimage.__name__} are loaded", file=sys.stderr)
    settings = SubjectSettings(profile="full", spacing_mm=SPACING_MM, lesion="glioma_high", registered=False)
    case, truth = simulate_with_truth(0, settings)
    head = case, {**truth.movement, "adc": truth.movement["dwi"]}
    methods: dict[str, list[Method]] = {
        "mrsynth": [ours],
        "SimpleITK": [partial(simpleitk, seed=seed) for seed in sized((1, 2, 3), (1,))],
    }
    if find_spec("ants") is not None:
        methods["ANTsPy"] = [antspy]
    else:
        print("ANTsPy is not installed; its rows are left out", file=sys.stderr)
    kinds: tuple[Kind, ...] = sized(("rigid", "affine"), ("rigid",))
    for kind in kinds:
        for name, runs in methods.items():
            measure(name, runs, kind, head)


if __name__ == "__main__":
    main()
