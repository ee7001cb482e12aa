"""Brain mask, N4 and the ADC fit on a head with skull at 1 mm: seconds, memory, and how near the truth they come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk

from benchmarks.machine import environment, in_turns, medians, peak_mib, row, sized
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.core.types import dwi_name
from mrsynth.phantom import simulate_with_truth
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.phantom.examination import Truth
from mrsynth.phantom.scanner import add_rician
from mrsynth.steps import run_steps

HEAD = SubjectSettings(profile="full", spacing_mm=sized(1.0, 4.0), stripped=False)
SOURCES = sized((("t1", "deepbet", "≤ 15 s"), ("ct", "watershed", "≤ 15 s")), (("ct", "watershed", "≤ 15 s"),))
OTHER_CONTRASTS, CORRECTED = sized((("t1ce", "t2", "flair"), ("t1", "t2", "flair")), ((), ("t1",)))
N4: dict[str, Any] = sized({}, {"iterations": [1], "shrink_mm": 8})


def only(case: Case, *names: str) -> Case:
    return replace(case, images={name: case.images[name] for name in names}, masks={})


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def mask_rows(head: Case) -> None:
    truth = head.masks["brain"].data > 0
    for contrast, source, wanted in SOURCES:
        case = only(head, contrast)
        done: list[Case] = []
        seconds = medians(in_turns(lambda c=case, d=done: d.append(run_steps(c, [{"brain_mask": {}}])[0]), repeats=3))[
            0
        ]
        place = environment("torch", "deepbet", "scikit-image")
        row("prepare_steps", f"brain mask of a head, {contrast} ({source})", seconds, "s", wanted, **place)
        found = overlap(done[-1].masks["brain"].data > 0, truth)
        row("prepare_steps", f"Dice of that mask, {contrast} ({source})", found, "", **place)
    row("prepare_steps", "peak memory after the brain masks, phantom included", peak_mib(), "MiB", **place)
    for contrast in OTHER_CONTRASTS:
        found = overlap(run_steps(only(head, contrast), [{"brain_mask": {}}])[0].masks["brain"].data > 0, truth)
        row("prepare_steps", f"Dice of a brain mask, {contrast} (deepbet)", found, "", **place)


def itk_default(image: Image, mask: np.ndarray) -> np.ndarray:
    """Return the log field as SimpleITK's N4 example finds it: shrink 4, four levels, all else default."""
    scan = sitk.GetImageFromArray(np.ascontiguousarray(image.data.T))
    inside = sitk.GetImageFromArray(np.ascontiguousarray(mask.T.astype(np.uint8)))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.Execute(sitk.Shrink(scan, [4] * 3), sitk.Shrink(inside, [4] * 3))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)).T


def n4_rows(head: Case, truth: Truth) -> None:
    brain = head.masks["brain"].data > 0
    for contrast in CORRECTED:
        image = head.images[contrast]
        case = replace(head, images={contrast: image})
        inside = brain & (image.data > 0)
        ours: list[Any] = []
        theirs: list[Any] = []
        seconds = medians(
            in_turns(
                lambda c=case, o=ours: o.append(run_steps(c, [{"n4": N4}])[0]),
                lambda i=image, m=inside, t=theirs: t.append(itk_default(i, m)),
                repeats=2,
            )
        )
        place = environment("SimpleITK")
        true = np.log(truth.field[contrast][inside])
        left = np.log(image.data[inside] / ours[-1].images[contrast].data[inside]) - true
        row("prepare_steps", f"N4 of a head, {contrast}", seconds[0], "s", "≤ 8 s", **place)
        row(
            "prepare_steps", f"SimpleITK's example / mrsynth, N4, {contrast}", seconds[1] / seconds[0], "ratio", **place
        )
        row(
            "prepare_steps",
            f"field left over, part of the field, {contrast}",
            float(left.std() / true.std()),
            "",
            **place,
        )
        left_there = float((theirs[-1][inside] - true).std() / true.std())
        row("prepare_steps", f"the same with SimpleITK's example, {contrast}", left_there, "", **place)


def adc_rows(truth: Truth) -> None:
    adc, images = truth.adc_mm2_s, {}
    for b in (0, 500, 1000):
        scan = add_rician((1000.0 * (adc > 0) * np.exp(-b * adc)).astype(np.float32), 20.0, generator(0, b))
        images[dwi_name(b)] = Image(scan, np.eye(4), dwi_name(b))
    methods = ("loglinear", "nonlinear")
    runs = [lambda m=method: run_steps(Case(images), [{"adc": {"method": m}}]) for method in methods]
    for method, seconds in zip(methods, medians(in_turns(*runs, repeats=2)), strict=True):
        row("prepare_steps", f"ADC of a head from three b-values, {method}", seconds, "s", **environment("numpy"))


def main() -> None:
    head, truth = simulate_with_truth(3, HEAD)
    mask_rows(head)
    n4_rows(head, truth)
    adc_rows(truth)


if __name__ == "__main__":
    main()
