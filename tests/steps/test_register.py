"""Registration undoes known movement of the phantom at 2 mm (benchmarks/register.py does it at 1 mm)."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.phantom import SubjectSettings, simulate_with_truth
from mrsynth.steps import invert_steps, run_steps
from mrsynth.steps.match import match
from mrsynth.steps.pyramid import pyramid
from mrsynth.steps.register import groups_of
from mrsynth.steps.template import template, template_grid
from mrsynth.steps.transform import Grid, apply_affine, bring, mean_shift_mm


def moved_by(turn_deg: float, shift_mm: float, stretch: float = 0.0, seed: int = 0) -> np.ndarray:
    """A 4×4 matrix: a turn about a random axis, a shift, and scales and shears up to `stretch`."""
    rng = generator(seed, "movement")
    axis, shift = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    cross = np.cross(np.eye(3), axis)
    angle = np.radians(turn_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, :3] @= np.eye(3) + rng.uniform(-stretch, stretch, (3, 3))
    matrix[:3, 3] = shift_mm * shift
    return matrix


@pytest.fixture(scope="module")
def head() -> tuple[Case, dict[str, np.ndarray]]:
    """A head with an enhancing lesion that moved between contrasts; the movement of each."""
    settings = SubjectSettings(profile="full", spacing_mm=2.0, lesion="glioma_high", registered=False)
    case, truth = simulate_with_truth(3, settings)
    return case, {**truth.movement, "adc": truth.movement["dwi"]}


def brain_points(case: Case) -> np.ndarray:
    return apply_affine(case.images["t1"].affine, np.argwhere(case.masks["brain"].data)[::97].T)


def pair(head: tuple[Case, dict], name: str, matrix: np.ndarray) -> tuple[Case, np.ndarray]:
    """T1 and one contrast whose head was carried on by a matrix (in its affine); the whole movement."""
    case, movement = head
    other = replace(case.images[name], affine=matrix @ case.images[name].affine)
    return Case({"t1": case.images["t1"], name: other}, {}, {"case": "pair"}), matrix @ movement[name]


@pytest.mark.parametrize(("name", "bound_mm"), [("t1ce", 0.1), ("t2", 0.5), ("adc", 0.5), ("ct", 0.5)])
def test_rigid_movement_is_undone(head, name: str, bound_mm: float):
    case, movement = pair(head, name, moved_by(15, 20))
    done, records = run_steps(case, [{"register": {}}])
    world = np.array(records[0]["grids"][name]["world"])
    points = brain_points(head[0])
    assert mean_shift_mm(movement, points) > 10
    assert mean_shift_mm(world @ movement, points) < bound_mm
    assert records[0]["grids"][name]["after"] > records[0]["grids"][name]["before"]
    assert done.images[name].data is case.images[name].data  # affines move, voxels do not
    np.testing.assert_allclose(invert_steps(done.images[name], records).affine, case.images[name].affine, atol=1e-9)
    assert json.loads(json.dumps(records)) == list(records)


@pytest.mark.parametrize(("name", "bound_mm"), [("t1ce", 0.2), ("t2", 0.5)])
def test_affine_movement_is_undone(head, name: str, bound_mm: float):
    case, movement = pair(head, name, moved_by(10, 15, stretch=0.03, seed=1))
    found = match(pyramid(case.images["t1"]), pyramid(case.images[name]), "affine")
    assert mean_shift_mm(found.world @ movement, brain_points(head[0])) < bound_mm


def test_a_shift_alone_is_found_by_translation(head):
    matrix = np.eye(4)
    matrix[:3, 3] = (11, -7, 4)
    t1 = head[0].images["t1"]
    found = match(pyramid(t1), pyramid(replace(t1, affine=matrix @ t1.affine)), "translation")
    np.testing.assert_allclose(found.world @ matrix, np.eye(4), atol=0.02)


def test_a_tilted_anisotropic_scan_far_from_the_frame_is_found(head):
    """Slices of 6 mm with gantry tilt, as of a table elsewhere."""
    t1, t2 = head[0].images["t1"], head[0].images["t2"]
    tilt = np.eye(4)
    tilt[1, 2] = 0.25
    at = Grid.of(t2).affine @ np.diag([1, 1, 3, 1])
    centre = np.append(Grid.of(t2).centre_mm(), 1)
    at[:3, 3] += (centre - tilt @ centre)[:3]
    at[:3, :3] = (tilt @ at)[:3, :3]
    slices = bring(t2, Grid((88, 116, 31), at), "linear", False)
    far = np.eye(4)
    far[:3, 3] = (400, -300, 900)
    found = match(pyramid(t1), pyramid(replace(slices, affine=far @ slices.affine)), "rigid")
    assert found.before == 0
    assert mean_shift_mm(found.world @ far @ head[1]["t2"], brain_points(head[0])) < 0.5


def test_one_common_mask_does_not_hold_images_apart(head):
    """The outline of both is the mask's, and fits at once; the brains inside are 3 mm apart."""
    case, movement = head
    t1, brain = case.images["t1"], case.masks["brain"].data > 0
    away = moved_by(1, 3, seed=2)
    t2 = replace(case.images["t2"], affine=away @ np.linalg.inv(movement["t2"]) @ case.images["t2"].affine)
    t2 = bring(t2, Grid.of(t1), "linear", False)
    found = match(pyramid(t1.with_data(t1.data * brain)), pyramid(t2.with_data(t2.data * brain)), "rigid")
    assert mean_shift_mm(found.world @ away, brain_points(case)) < 0.4


def test_aligned_images_stay_and_say_so(head):
    case, movement = head
    on_t1 = replace(case.images["t2"], affine=np.linalg.inv(movement["t2"]) @ case.images["t2"].affine)
    t2 = bring(on_t1, Grid.of(case.images["t1"]), "linear", False)
    done, records = run_steps(Case({"t1": case.images["t1"], "t2": t2}), [{"register": {}}])
    assert records[0]["grids"]["t2"]["left"]
    assert records[0]["grids"]["t2"]["moved_mm"] < 0.5
    np.testing.assert_array_equal(done.images["t2"].affine, t2.affine)


def test_the_same_images_give_the_same_bytes_with_any_number_of_threads(head):
    import SimpleITK as sitk

    case, _ = pair(head, "flair", moved_by(6, 8))
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    worlds = []
    for number in (1, 3, 3):
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
        worlds.append(match(pyramid(case.images["t1"]), pyramid(case.images["flair"]), "rigid").world.tobytes())
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert len(set(worlds)) == 1


def test_register_and_resample_interpolate_once_and_masks_follow(head):
    """The step pair gives the bytes of one resampling through the composed matrix."""
    case, _ = pair(head, "t1ce", moved_by(8, 9))
    lesion = replace(head[0].masks["lesion"], affine=case.images["t1ce"].affine)
    steps = [{"register": {}}, {"resample": {"order": "cubic"}}]
    done, records = run_steps(replace(case, masks={"lesion": lesion}), steps)
    world = np.array(records[0]["grids"]["t1ce"]["world"])
    once = bring(
        replace(case.images["t1ce"], affine=world @ case.images["t1ce"].affine),
        Grid.of(case.images["t1"]),
        "cubic",
        True,
    )
    np.testing.assert_array_equal(done.images["t1ce"].data, once.data)
    np.testing.assert_array_equal(done.images["t1"].data, case.images["t1"].data)
    assert records[0]["masks"] == {"lesion": "t1ce"}
    back = invert_steps(done.masks["lesion"], records, like="t1ce")
    np.testing.assert_allclose(back.affine, lesion.affine, atol=1e-9)
    both = ((back.data > 0) & (lesion.data > 0)).sum()
    assert 2 * both / ((back.data > 0).sum() + (lesion.data > 0).sum()) > 0.85


def test_to_the_template(head):
    case = replace(head[0], images={"t1": head[0].images["t1"]}, masks={"brain": head[0].masks["brain"]})
    done, records = run_steps(case, [{"register": {"to": "template"}}, {"resample": {}}])
    assert records[1]["to"] == "template"
    assert done.images["t1"].data.shape == template_grid().shape
    there = bring(template()[0], template_grid(), "linear", False).data > 0
    brain = done.masks["brain"].data > 0
    assert 2 * (there & brain).sum() / (there.sum() + brain.sum()) > 0.9
    back = invert_steps(done.images["t1"], records)
    np.testing.assert_allclose(back.affine, case.images["t1"].affine, atol=1e-9)


def test_diffusion_images_of_one_grid_move_with_the_lowest_b():
    here, there = np.eye(4), np.diag([2.0, 2.0, 2.0, 1.0])
    data = np.ones((4, 4, 4), np.float32)
    names = {"t1": here, "dwi_b1000": there, "dwi_b0": there, "adc": there, "dwi_b500": here}
    images = {name: Image(data, affine, name) for name, affine in names.items()}
    assert groups_of(images, True) == [["t1"], ["dwi_b0", "dwi_b1000", "adc"], ["dwi_b500"]]
    assert sorted(map(len, groups_of(images, False))) == [1] * 5


def test_the_group_shares_its_leaders_matrix(head):
    case, movement = head
    away = moved_by(5, 6, seed=4)
    adc, dwi = (replace(case.images[n], affine=away @ case.images[n].affine) for n in ("adc", "dwi"))
    _, records = run_steps(Case({"t1": case.images["t1"], "adc": adc, "dwi": dwi}), [{"register": {}}])
    grids = records[0]["grids"]
    assert grids["adc"]["world"] == grids["dwi"]["world"]
    assert grids["adc"]["with"] == "dwi"
    assert mean_shift_mm(np.array(grids["adc"]["world"]) @ away @ movement["adc"], brain_points(case)) < 0.5


def test_what_cannot_be_registered_is_an_error(head):
    t1 = head[0].images["t1"]
    empty = Image(np.zeros_like(t1.data), t1.affine, "t2")
    with pytest.raises(InputError, match="t2 is empty"):
        run_steps(Case({"t1": t1, "t2": empty}), [{"register": {}}])
    noise = Image(generator(0, "noise").random(t1.data.shape, dtype=np.float32), t1.affine, "t2")
    with pytest.raises(InputError, match="could not be registered") as error:
        run_steps(Case({"t1": t1, "t2": noise}), [{"register": {}}])
    assert "look at both images" in str(error.value)
    with pytest.raises(InputError, match="no flair"):
        run_steps(Case({"t1": t1}), [{"register": {"to": "flair"}}])
