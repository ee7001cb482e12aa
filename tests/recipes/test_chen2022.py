"""The recipe chen2022 against its paper, and its data path on phantoms."""

from __future__ import annotations

import inspect
from functools import cache

import numpy as np
import pytest

from mrsynth.core.image import Case
from mrsynth.nets.registry import NETS
from mrsynth.phantom import SubjectSettings, Truth, simulate_with_truth
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.sections import stage_terms, stages_in_order
from mrsynth.steps import run_steps

DATA_PATHS = ("equalize", "equalize-3mm", "flair", "real", "real-2mm", "own-scale", "raw", "small", "smoke", "long")
SYSTEMS = [name for name in load_recipe("chen2022").variants if name not in DATA_PATHS]
DELTA = 0.1


def test_the_recipe_is_as_the_paper_says():
    """The numbers of §III, one by one."""
    recipe = load_recipe("chen2022")
    assert recipe.translation == "t1+t2+adc-t1ce"
    net = recipe.net.settings
    assert (recipe.net.name, net["widths"], net["blocks"]) == ("hrfcn", [64, 128, 256], 4)
    train = recipe.train
    assert (train.epochs, train.batch_size, train.learning_rate) == (50, 3, 1e-4)
    assert recipe.samples.patch is not None
    assert recipe.samples.patch.size == (None, None, 3)
    assert recipe.loss == {"mae": 1, "slice_ssim": 1, "enhancement_mae": {"weight": 1, "delta": DELTA}}
    (stage,) = stages_in_order(train).values()
    assert (stage.from_epoch, stage.learning_rate) == (40, 1e-5)
    later = stage_terms(recipe.loss, stage.loss)
    assert [later[name]["weight"] for name in recipe.loss] == [0.1, 0.1, 10]  # type: ignore[index]
    assert later["enhancement_mae"]["delta"] == DELTA  # type: ignore[index]
    shapes = [step["resample"]["shape"] for step in recipe.prepare if "resample" in step]
    assert shapes == [[192, 256, 192]]
    assert recipe.published is not None
    assert recipe.published.translations[recipe.translation]["psnr"] == (28.24, 1.26)


@pytest.mark.parametrize("variant", ["", "/unet3d", "/unet2d", "/pix2pix", "/decnn", "/lagan", "/medgan"])
def test_each_networks_settings_are_its_own_defaults(variant: str):
    """The YAML and the constructor are two homes of one truth; here they are held together."""
    net = load_recipe(f"chen2022{variant}").net
    defaults = {k: p.default for k, p in inspect.signature(NETS[net.name]).parameters.items()}
    for key, value in net.settings.items():
        default = list(defaults[key]) if isinstance(value, list) else defaults[key]
        assert default == value, key


@pytest.mark.parametrize("size", ["small", "smoke"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_valid_at_a_smaller_size(system: str, size: str):
    recipe = load_recipe(f"chen2022/{size}/{system}")
    assert recipe.prepare == load_recipe(f"chen2022/{size}").prepare  # one preparation for all
    assert recipe.train.epochs == load_recipe(f"chen2022/{size}").train.epochs


def test_other_systems_have_their_own_losses_and_one_stage():
    for system in ("pix2pix", "decnn", "lagan", "medgan"):
        recipe = load_recipe(f"chen2022/{system}")
        assert not stages_in_order(recipe.train)
        weights = {n: s["weight"] if isinstance(s, dict) else s for n, s in recipe.loss.items()}
        assert weights["enhancement_mae"] == weights["slice_ssim"] == 0
    assert load_recipe("chen2022/decnn").method.kind == "supervised"
    assert load_recipe("chen2022/impute-t2").translation == "t1-t2"


def test_medgan_looks_through_a_vgg_where_its_weights_are_given():
    """Armanious et al. 2020: perceptual 20 on the critic's maps, style and content 1e-4 on a VGG's; 3 steps to 1."""
    plain = load_recipe("chen2022/small/medgan")
    vgg = load_recipe("chen2022/small/medgan-vgg", ["loss.perceptual.features.weights=/there/vgg.safetensors"])
    assert {name for name, spec in vgg.loss.items() if spec != plain.loss.get(name)} == {"perceptual", "style"}
    terms = stage_terms(vgg.loss, {})
    assert [terms[name]["weight"] for name in ("mae", "perceptual", "style")] == [20, 1e-4, 1e-4]  # type: ignore[index]
    assert (plain.method.style, vgg.method.style) == (1e-4, 0)  # type: ignore[attr-defined]
    assert (plain.method.critic_every, vgg.method.critic_every) == (1, 3)  # type: ignore[attr-defined]


def test_what_is_known_of_the_u_nets_training_is_one_stage_without_the_mask():
    recipe = load_recipe("chen2022/unet2d/mae-ssim")
    assert not stages_in_order(recipe.train)
    assert {n: (s["weight"] if isinstance(s, dict) else s) for n, s in recipe.loss.items()} == {
        "mae": 1, "slice_ssim": 1, "enhancement_mae": 0,
    }  # fmt: skip


def test_mse_takes_the_place_of_mae_in_both_stages():
    recipe = load_recipe("chen2022/mse")
    (stage,) = stages_in_order(recipe.train).values()
    for terms, weight in ((stage_terms(recipe.loss, {}), 1), (stage_terms(recipe.loss, stage.loss), 0.1)):
        assert [terms[name]["weight"] for name in ("mae", "mse", "slice_ssim")] == [0, weight, weight]  # type: ignore[index]


def test_real_patients_are_prepared_alike_but_for_the_scale():
    shared, own = load_recipe("chen2022/small/real-2mm"), load_recipe("chen2022/small/real-2mm/own-scale")
    assert shared.prepare[:5] == own.prepare[:5]
    assert [next(iter(step)) for step in shared.prepare[5:]] == ["radiometric", "q95", "window", "unit"]
    assert [next(iter(step)) for step in own.prepare[5:]] == ["unit"]
    assert shared.net == own.net == load_recipe("chen2022/small").net


@cache
def phantom(lesion: str) -> tuple[Case, Truth]:
    return simulate_with_truth(5, SubjectSettings(profile="tumour", lesion=lesion, site="site-A", spacing_mm=3.0))


INTENSITIES = ("adc", "brain_mask", "radiometric", "q95", "window", "unit", "equalize")


@cache
def normalised(variant: str, lesion: str = "glioma_high") -> tuple[Case, dict[str, np.ndarray]]:
    """Return the case as a variant normalises it, on its own grid, and where it truly enhances."""
    case, truth = phantom(lesion)
    scans = case.metadata["draws"]["scans"]
    before, after = (truth.clean[name] / scans[name]["gain"] for name in ("t1", "t1ce"))
    white = np.median(before[truth.fractions[truth.tissues.index("white")] > 0.9])
    steps = [step for step in load_recipe(f"chen2022/{variant}").prepare if next(iter(step)) in INTENSITIES]
    done, _ = run_steps(case, steps)
    brain = done.masks["brain"].data > 0
    tumour = case.masks["enhancing"].data > 0
    return done, {"tumour": tumour, "uptake": (after - before > 0.15 * white) & brain, "brain": brain}


def mask_m(case: Case, brain: np.ndarray) -> np.ndarray:
    return (case.images["t1ce"].data - case.images["t1"].data > DELTA) & brain


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("variant", ["small", "equalize"])
def test_images_lie_in_the_unit_range_and_are_0_outside_the_brain(variant: str):
    case, where = normalised(variant)
    for name in ("t1", "t1ce", "t2", "adc"):
        data = case.images[name].data
        assert data.min() >= 0
        assert 0.4 < data.max() <= 1
        assert not data[~where["brain"]].any()


@pytest.mark.parametrize(("variant", "size", "spacing_mm"), [("equalize", (192, 256), 1), ("small", (56, 72), 3)])
def test_sizes_and_proportions(variant: str, size: tuple[int, int], spacing_mm: float):
    case, _ = phantom("none")
    one = Case({"t1": case.images["t1"]}, {"brain": case.masks["brain"]}, case.metadata)
    steps = load_recipe(f"chen2022/{variant}").prepare
    geometry = [step for step in steps if next(iter(step)) not in ("adc", *INTENSITIES[2:])]
    image = run_steps(one, geometry)[0].images["t1"]
    assert image.data.shape[:2] == size
    np.testing.assert_allclose(image.spacing_mm, spacing_mm, rtol=0.01)


def test_m_shows_what_enhances_and_little_else():
    """With T1 and T1ce on one scale (Figure 3); equalized each by itself, M holds more healthy tissue."""
    case, where = normalised("small")
    found = mask_m(case, where["brain"])
    assert found[where["tumour"]].mean() > 0.98
    assert dice(found, where["uptake"]) > 0.8
    alone = mask_m(normalised("equalize")[0], where["brain"])
    wrong, wrong_alone = ((mask & ~where["uptake"]).sum() / mask.sum() for mask in (found, alone))
    assert wrong < 0.1
    assert wrong_alone > 3 * wrong


def test_without_an_enhancing_tumour_m_shows_no_tumour():
    case, where = normalised("small", "glioma_low")
    found = mask_m(case, where["brain"])
    assert 0.005 < found[where["brain"]].mean() < 0.05  # vessels, dura, choroid plexus
    assert not where["tumour"].any()
    assert dice(found, where["uptake"]) > 0.8


def test_the_adc_is_fitted_from_the_diffusion_images():
    case, truth = phantom("none")
    steps = [step for step in load_recipe("chen2022").prepare if "adc" in step]
    fitted, record = run_steps(case, steps)
    white = truth.fractions[truth.tissues.index("white")] > 0.9  # away from fluid, which thick slices mix in
    error = fitted.images["adc"].data[white] / truth.adc_mm2_s[white] - 1
    assert abs(np.median(error)) < 0.05
    assert record[0]["b_s_mm2"] == [0, 500, 1000]


def test_inputs_are_the_same_where_there_is_no_t1ce_yet():
    """A patient whose contrast-enhanced image is to be synthesized is prepared as those in training were."""
    case, _ = phantom("glioma_high")
    steps = load_recipe("chen2022/small").prepare
    rest = {name: image for name, image in case.images.items() if name != "t1ce"}
    after, _ = run_steps(Case(rest, {"brain": case.masks["brain"]}, case.metadata), steps)
    before, _ = run_steps(case, steps)
    for name in ("t1", "t2", "adc"):
        np.testing.assert_array_equal(after.images[name].data, before.images[name].data)
