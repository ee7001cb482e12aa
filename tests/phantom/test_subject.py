"""Whole subjects, at 3 mm: truth, physics in the images, replay."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from mrsynth.core.image import same_grid
from mrsynth.core.types import LESION_LABELS
from mrsynth.phantom import (
    SubjectSettings,
    Truth,
    replay_subject,
    simulate_doses,
    simulate_subject,
    simulate_with_truth,
)
from mrsynth.phantom.draw import PROFILES


@cache
def made(profile: str = "brats", lesion: str = "glioma_high", site: str = "site-A", spacing_mm: float = 3.0):
    settings = SubjectSettings(profile=profile, lesion=lesion, site=site, spacing_mm=spacing_mm)
    return simulate_with_truth(7, settings)


def rows(truth: Truth, *names: str) -> np.ndarray:
    return truth.fractions[[truth.tissues.index(name) for name in names]].sum(0)


def median_in(image: np.ndarray, truth: Truth, *names: str) -> float:
    return float(np.median(image[rows(truth, *names) > 0.9]))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_case_has_the_profiles_images_on_one_grid(profile: str) -> None:
    case, truth = made(profile)
    assert tuple(case.images) == PROFILES[profile]
    assert set(case.masks) == {"brain", "lesion", "enhancing"}
    first = next(iter(case.images.values()))
    for name, image in {**case.images, **case.masks}.items():
        assert image.contrast == name
        assert same_grid(image, first)
        assert image.data.dtype == (np.float32 if name in case.images else np.uint8)
        assert np.isfinite(image.data).all()
    np.testing.assert_allclose(truth.fractions.sum(0), 1.0, atol=1e-4)
    assert truth.fractions.min() >= 0.0
    assert truth.fractions.shape[1:] == first.data.shape


def test_the_brats_grid_and_its_background() -> None:
    case, _ = made()
    assert SubjectSettings().spacing_mm == 1.0
    assert case.images["t1"].data.shape == (80, 80, 52)
    assert case.images["t1"].spacing_mm == (3.0, 3.0, 3.0)
    brain = case.masks["brain"].data > 0
    assert 1200 < brain.sum() * 27 / 1e3 < 2000
    for image in case.images.values():
        assert not image.data[~brain].any()
        assert (image.data[brain] > 0).all()
        assert np.array_equal(image.data, np.rint(image.data))
        assert 100 < image.data.max() < 6000


def test_tissue_volumes_are_those_of_people() -> None:
    _, truth = made("full", "none")
    volume = {name: float(part.sum()) * 27 / 1e3 for name, part in zip(truth.tissues, truth.fractions, strict=True)}
    limits = {
        "grey": (550, 950),
        "white": (400, 750),
        "ventricles": (8, 60),
        "thalamus": (3, 16),
        "skull_outer": (80, 250),
    }
    for name, (low, high) in limits.items():
        assert low < volume[name] < high, (name, volume[name])
    missing = {name for name, ml in volume.items() if ml == 0.0}
    assert missing == {"necrosis", "oedema", "enhancing_tumour", "non_enhancing_tumour", "ms_plaque"}


@pytest.mark.parametrize("site", ["site-A", "site-B"])
def test_images_order_the_tissues(site: str) -> None:
    case, truth = made("full", "none", site)
    names = ("white", "grey", "ventricles")
    value = {c: {t: median_in(image.data, truth, t) for t in names} for c, image in case.images.items()}
    assert value["t1"]["white"] > value["t1"]["grey"] > value["t1"]["ventricles"]
    assert value["t2"]["white"] < value["t2"]["grey"] < value["t2"]["ventricles"]
    assert value["flair"]["ventricles"] < 0.35 * value["flair"]["white"] < 0.35 * value["flair"]["grey"]
    assert value["adc"]["ventricles"] > 2 * value["adc"]["white"]


def test_the_head_stands_in_air_and_ct_is_in_hounsfield_units() -> None:
    case, truth = made("ct")
    ct = case.images["ct"].data
    assert ct[0, 0, -1] == -1024.0
    assert 800 < np.percentile(ct[rows(truth, "skull_inner", "diploe", "skull_outer") > 0.9], 90) < 1600
    brain = rows(truth, "grey", "white") > 0.95
    assert 20 < ct[brain].mean() < 45
    air = case.images["t1"].data[:8, :8, -8:]
    sigma = case.metadata["draws"]["scans"]["t1"]["noise"]
    assert sigma > 0
    assert air.min() >= 0
    assert air.std() > 0


def test_the_adc_map_follows_the_truth() -> None:
    case, truth = made("full", "none")
    inner = (rows(truth, "white", "grey") > 0.95) & (case.masks["brain"].data > 0)
    error = case.images["adc"].data[inner] / truth.adc_mm2_s[inner] - 1.0
    assert abs(np.median(error)) < 0.05
    assert 0.6e-3 < np.median(case.images["adc"].data[inner]) < 1.0e-3


def test_the_enhancing_mask_is_where_contrast_changes_t1() -> None:
    case, truth = made()
    scans = case.metadata["draws"]["scans"]
    before, after = (truth.clean[name] / scans[name]["gain"] for name in ("t1", "t1ce"))
    uptake = after - before
    enhancing = case.masks["enhancing"].data > 0
    healthy = rows(truth, "white", "grey") > 0.95
    assert enhancing.sum() > 50
    white = median_in(before, truth, "white")
    assert np.percentile(uptake[enhancing], 10) > 0.15 * white
    assert np.percentile(uptake[healthy], 99) < 0.1 * white
    assert np.array_equal(enhancing, case.masks["lesion"].data == 3)


@pytest.mark.parametrize(
    ("lesion", "labels"),
    [("glioma_high", {1, 2, 3}), ("glioma_low", {5}), ("metastases", {3}), ("ms", {6}), ("none", set())],
)
def test_lesion_masks(lesion: str, labels: set[int]) -> None:
    spacing_mm = 2.0 if lesion in ("ms", "metastases") else 3.0
    case, _ = made(lesion=lesion, spacing_mm=spacing_mm)
    found = set(np.unique(case.masks["lesion"].data).tolist()) - {0}
    assert labels <= found <= set(LESION_LABELS)
    assert bool(found) == bool(labels)
    assert not (case.masks["lesion"].data[case.masks["brain"].data == 0]).any()
    assert (3 in found) == bool(case.masks["enhancing"].data.any())


def test_the_dose_series_is_physical() -> None:
    settings = SubjectSettings(profile="dose", lesion="glioma_high", site="site-A", spacing_mm=3.0, doses=(0.25,))
    case, truth = simulate_with_truth(7, settings)
    series = simulate_doses(7, settings, (0.0, 0.1, 0.25, 0.5, 1.0))
    enhancing = case.masks["enhancing"].data > 0
    means = [series[dose].data[enhancing].mean() for dose in sorted(series)]
    assert means == sorted(means)
    for name, dose in (("t1", 0.0), ("t1ld", 0.25), ("t1ce", 1.0)):
        assert np.array_equal(case.images[name].data, series[dose].data)
    assert [series[dose].contrast for dose in sorted(series)] == ["t1", "t1ld", "t1ld", "t1ld", "t1ce"]
    assert case.metadata["dose"] == 0.25
    tiny = simulate_doses(7, settings, (1e-9,))[1e-9]
    inner = rows(truth, "white") > 0.9
    assert tiny.data[inner].mean() == pytest.approx(case.images["t1"].data[inner].mean(), rel=0.12)


@pytest.mark.parametrize("dose", [0.0, 1.0])
def test_a_low_dose_of_none_or_all_is_still_the_low_doses_image(dose: float) -> None:
    case = simulate_subject(7, SubjectSettings(profile="dose", lesion="none", spacing_mm=4.0, doses=(dose,)))
    assert {name: image.contrast for name, image in case.images.items()} == {n: n for n in ("t1", "t1ld", "t1ce")}
    assert np.array_equal(case.images["t1ld"].data, case.images["t1ce" if dose else "t1"].data)


def test_the_same_seed_gives_the_same_bytes_and_draws_replay_through_json() -> None:
    case, _ = made()
    again = simulate_subject(7, SubjectSettings(lesion="glioma_high", site="site-A", spacing_mm=3.0))
    replayed = replay_subject(json.loads(json.dumps(case.metadata["draws"])))
    other = simulate_subject(8, SubjectSettings(lesion="glioma_high", site="site-A", spacing_mm=3.0))
    for name, image in {**case.images, **case.masks}.items():
        for twin in (again, replayed):
            assert {**twin.images, **twin.masks}[name].data.tobytes() == image.data.tobytes(), name
    assert not np.array_equal(case.images["t1"].data, other.images["t1"].data)


@pytest.mark.parametrize("profile", ["brats", "full"])
def test_a_drawn_site_gives_the_same_bytes_again_and_replays_through_json(profile: str) -> None:
    settings = SubjectSettings(profile=profile, lesion="glioma_high", site="drawn", spacing_mm=4.0)
    case, truth = simulate_with_truth(7, settings)
    draws = json.loads(json.dumps(case.metadata["draws"]))
    assert draws["protocol"]["b0_tesla"] == case.metadata["b0_tesla"] == truth.table.b0_tesla
    for twin in (simulate_subject(7, settings), replay_subject(draws)):
        for name, image in {**case.images, **case.masks}.items():
            assert {**twin.images, **twin.masks}[name].data.tobytes() == image.data.tobytes(), name
    assert not np.array_equal(case.images["t2"].data, simulate_subject(8, settings).images["t2"].data)


def test_drawn_images_order_the_tissues() -> None:
    for seed in range(3):
        case, truth = simulate_with_truth(seed, SubjectSettings(lesion="none", site="drawn", spacing_mm=3.0))
        names = ("white", "grey", "ventricles")
        value = {c: {t: median_in(truth.clean[c], truth, t) for t in names} for c in case.images}
        assert value["t1"]["white"] > value["t1"]["grey"] > value["t1"]["ventricles"]
        assert value["t2"]["white"] < value["t2"]["grey"] < value["t2"]["ventricles"]
        assert (
            value["flair"]["ventricles"] < 0.65 * value["flair"]["white"]
        )  # TI up to 9 % off the null, as in test_protocols


def test_anatomy_does_not_depend_on_the_contrasts_that_are_made() -> None:
    _, few = made("brats")
    _, dose = made("dose")
    np.testing.assert_array_equal(few.fractions, dose.fractions)


def test_unregistered_contrasts_move_and_say_how() -> None:
    settings = SubjectSettings(lesion="none", spacing_mm=4.0, registered=False, stripped=False, site="site-B")
    _, truth = simulate_with_truth(1, settings)
    assert np.array_equal(truth.movement["t1"], np.eye(4))
    assert np.abs(truth.movement["t2"][:3, 3]).max() > 0.3


def test_settings_are_checked() -> None:
    for wrong in ({"profile": "x"}, {"spacing_mm": 0.5}, {"lesion": "x"}, {"doses": ()}, {"spacng_mm": 1.0}):
        with pytest.raises(ValueError):
            SubjectSettings.model_validate(wrong)


def test_metadata_names_the_examination() -> None:
    case = made()[0]
    assert case.name == "phantom-0007"
    assert case.metadata["b0_tesla"] == 3.0
    assert case.metadata["agent"] == "gadobutrol"
    assert case.metadata["site"] == "site-A"
    assert case.metadata["seed"] == 7
