"""The recipe li2022 against its paper, and its data path on phantoms."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import CTImageStorage

from dicom_factory import save, slice_file
from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.io import read_image
from mrsynth.phantom import SubjectSettings, simulate_subject, simulate_with_truth
from mrsynth.recipes.recipe import load_recipe
from mrsynth.reproduce.study import PublishedNumbers, load_study
from mrsynth.steps import run_steps
from mrsynth.steps.transform import apply_affine, mean_shift_mm

SYSTEMS = [name for name, changes in load_recipe("li2022").variants.items() if "prepare" not in changes]


def test_the_recipe_is_as_the_paper_says():
    recipe = load_recipe("li2022")
    assert recipe.translation == "ct-t1"
    assert load_recipe("li2022/t2").translation == "ct-t2"
    assert (recipe.net.name, recipe.net.settings["depth"], recipe.net.settings["imagenet"]) == ("drunet", 101, True)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.samples.rotate90) == (100, 5, True)
    steps = {name: settings for step in recipe.prepare for name, settings in step.items()}
    assert (steps["register"]["transform"], steps["register"]["to"]) == ("affine", "ct")
    assert steps["brain_mask"]["source"] == "watershed"
    assert steps["resize"]["size"] == [448, 448]
    contextual = recipe.loss["contextual"]
    assert isinstance(contextual, dict)
    assert (contextual["bandwidth"], contextual["epsilon"]) == (0.5, 1e-5)
    paper = load_recipe("li2022/imagenet")
    features = paper.loss["contextual"]["features"]  # type: ignore[index]
    assert (paper.net.weights, features["network"], features["layer"]) == ("cache", "vgg19", "conv5_4")


@pytest.mark.parametrize("size", ["small", "smoke"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_is_valid_at_a_smaller_size(system: str, size: str):
    recipe, own = load_recipe(f"li2022/{size}/{system}"), load_recipe(f"li2022/{size}")
    assert recipe.prepare == own.prepare  # one preparation for all
    assert recipe.train == own.train


@pytest.mark.parametrize(("size", "edge"), [("pixels192", 192), ("pixels448", 448), ("head-small", 128)])
def test_other_slices_fit_every_network_and_the_papers_feature_layer(size: str, edge: int):
    for system in ("t2/drunet34/vgg16", "unet/vgg16", "drunet101/mse"):
        recipe = load_recipe(f"li2022/small/{size}/{system}")
        (shape,) = [step["resample"]["shape"] for step in recipe.prepare if "resample" in step]
        assert shape[0] == shape[1] == edge
        assert edge % 32 == 0
    features = load_recipe(f"li2022/small/{size}/vgg16").loss["contextual"]["features"]  # type: ignore[index]
    assert (features["network"], features["layer"]) == ("vgg16", "conv5_3")


def test_the_head_mask_changes_the_mask_alone():
    own, head = load_recipe("li2022").prepare, load_recipe("li2022/head").prepare
    assert [step for step in own if "brain_mask" not in step] == [step for step in head if "brain_mask" not in step]
    (mask,), (kept,) = ([step["brain_mask"] for step in steps if "brain_mask" in step] for steps in (own, head))
    assert kept == {**mask, "keep": "head"}


def test_the_sigmoid_stands_behind_the_bce_loss_alone():
    """The paper joins it to that loss "in one single class"; the variant `sigmoid` has it everywhere."""
    heads = {name: load_recipe(f"li2022/{name}").net.settings["head"] for name in ("mse", "drunet34", "bce", "sigmoid")}
    assert heads == {"mse": "linear", "drunet34": "linear", "bce": "sigmoid", "sigmoid": "sigmoid"}


def test_losses_are_alone():
    for name in ("mse", "bce"):
        weights = {n: s["weight"] if isinstance(s, dict) else s for n, s in load_recipe(f"li2022/{name}").loss.items()}
        assert weights == {"contextual": 0, name: 1}


def test_the_papers_numbers_agree_with_each_other():
    """DRUNet-101 with contextual loss stands in Tables 2 and 3 and in the recipe; Table 4's intervals hold the mean of
    the two differences, with its rounding."""
    tables = load_study("li2022").tables
    rows = {name: t.published.rows for name, t in tables.items() if isinstance(t.published, PublishedNumbers)}
    published = load_recipe("li2022").published
    assert published is not None
    for target in ("t1", "t2"):
        own = rows[f"table2-{target}"]["Contextual loss"]
        assert own == rows[f"table3-{target}"]["DRUNet-101"]
        assert {name.lower(): value for name, value in own.items()} == published.translations[f"ct-{target}"]
    for test in tables["table4"].tests:
        where = "table3" if test.b == "U-Net (17)" else "table2"
        found = [
            rows[f"{where}-{t}"]["DRUNet-101" if where == "table3" else test.a][test.column][0]
            - rows[f"{where}-{t}"][test.b][test.column][0]
            for t in ("t1", "t2")
        ]
        assert test.published_interval is not None
        low, high = test.published_interval
        assert low - 0.02 <= np.mean(found) <= high + 0.02


@cache
def phantom() -> Case:
    return simulate_subject(3, SubjectSettings(profile="ct", spacing_mm=4.0, lesion="none"))


def steps_of(size: int = 64) -> list[dict[str, dict[str, object]]]:
    """The recipe's own steps, to fewer voxels."""
    steps = load_recipe("li2022").prepare
    return [{"resize": {"size": [size, size], "antialias": False}} if "resize" in step else step for step in steps]


@cache
def prepared() -> Case:
    images = {name: phantom().images[name] for name in ("ct", "t1", "t2")}
    return run_steps(Case(images, {}, phantom().metadata), steps_of())[0]


def test_moved_scans_are_brought_to_the_ct():
    """The patient moved between CT and MR, T1 by 4 and T2 by 9 mm: what is left of it, mean over the brain."""
    settings = SubjectSettings(profile="ct", spacing_mm=2.0, lesion="none", registered=False)
    case, truth = simulate_with_truth(3, settings)
    ct = truth.movement["ct"]
    brain = apply_affine(ct @ case.images["ct"].affine, np.argwhere(case.masks["brain"].data)[::97].T)
    bare = Case({name: case.images[name] for name in ("ct", "t1", "t2")}, {}, {})
    _, (record,) = run_steps(bare, load_recipe("li2022").prepare[:1])
    for name in ("t1", "t2"):
        moved = truth.movement[name] @ np.linalg.inv(ct)
        assert mean_shift_mm(moved, brain) > 3
        assert mean_shift_mm(np.array(record["grids"][name]["world"]) @ moved, brain) < 0.6


def test_images_lie_in_the_unit_range_and_are_0_outside_the_brain():
    case = prepared()
    outside = case.masks["brain"].data == 0
    for name in ("ct", "t1", "t2"):
        data = case.images[name].data
        assert data.shape[:2] == (64, 64)
        assert data.min() >= 0
        assert 0.6 < data.max() <= 1
        assert data[outside].mean() < 0.01  # cubic interpolation reaches a voxel over the edge
    # 0 to 80 HU: water is black, white matter (about 30 HU) a third of the way
    brain = case.images["ct"].data[~outside]
    assert 0.3 < np.median(brain) < 0.6


def test_a_patient_with_a_ct_alone_is_prepared_as_those_in_training_were():
    alone = run_steps(Case({"ct": phantom().images["ct"]}, {}, {}), steps_of())[0]
    np.testing.assert_array_equal(alone.images["ct"].data, prepared().images["ct"].data)


def test_padding_of_the_scanners_field_of_view_changes_nothing():
    """Stored as −2000 or −3024 HU around the round field of view."""
    ct = phantom().images["ct"]
    padded = ct.data.copy()
    padded[:3, :3] = -3024
    steps = steps_of()
    plain, other = (run_steps(Case({"ct": image}, {}, {}), steps)[0] for image in (ct, ct.with_data(padded)))
    np.testing.assert_array_equal(plain.images["ct"].data, other.images["ct"].data)


def test_a_ct_from_dicom_is_prepared_as_the_same_from_nifti(tmp_path: Path):
    """Stored with an intercept and, around the field of view, the padding of scanners; slices of 4 mm."""
    ct = phantom().images["ct"]
    hu = np.round(ct.data).astype(np.int16)
    hu[:2] = -3024
    x_mm, y_mm, z_mm = (float(size) for size in ct.spacing_mm)
    for k in range(hu.shape[2]):
        data = slice_file(
            (hu[::-1, ::-1, k].T + 1024).astype(np.int16),
            [0.0, 0.0, k * z_mm],
            PixelSpacing=[y_mm, x_mm],
            SliceThickness=z_mm,
            SOPClassUID=CTImageStorage,
            Modality="CT",
            SeriesDescription="Head",
            InstanceNumber=k + 1,
            RescaleSlope="1",
            RescaleIntercept="-1024",
        )
        save(data, tmp_path / "dcm" / f"{k}.dcm")
    read = read_image(tmp_path / "dcm", "ct")
    np.testing.assert_array_equal(read.data, np.maximum(hu, -1024))  # air
    steps = load_recipe("li2022/smoke").prepare
    as_stored = Image(hu.astype(np.float32), ct.affine, "ct")
    one, other = (run_steps(Case({"ct": image}, {}, {}), steps)[0].images["ct"].data for image in (read, as_stored))
    np.testing.assert_allclose(one, other, atol=1e-3)
    assert 0.3 < np.median(one[one > 0]) < 0.6


@pytest.mark.parametrize(("size", "edge"), [("small", 96), ("smoke", 64)])
def test_smaller_sizes_are_cubes(size: str, edge: int):
    """So that three planes can be trained and averaged."""
    case = phantom()
    done, _ = run_steps(Case({"ct": case.images["ct"]}, {}, {}), load_recipe(f"li2022/{size}").prepare)
    assert done.images["ct"].data.shape == (edge,) * 3
    np.testing.assert_allclose(done.images["ct"].spacing_mm, 192 / edge, rtol=0.01)


@pytest.mark.real
def test_the_real_ct_has_no_brain_to_show(real_data):
    """The one real CT at hand is an angiography with bone and brain taken out (96 % of its voxels are 0)."""
    ct = read_image(real_data / "ct" / "CT_AVM.nii.gz", "ct")
    assert isinstance(ct, Image)
    with pytest.raises(InputError, match=r"no brain found in the CT(.|\n)*mrsynth check"):
        run_steps(Case({"ct": ct}, {}, {}), load_recipe("li2022").prepare)
