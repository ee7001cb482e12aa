"""Scans as a scanner gives them, other grids and a moved head, through the whole way and back to their own space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.core.image import Image
from mrsynth.core.jobs import Workers
from mrsynth.evaluate.run import evaluate_run
from mrsynth.evaluate.truth import read_truth
from mrsynth.io import Cohort, PreparedCohort, read_case, read_cohort, read_image, write_image
from mrsynth.phantom import simulate_subject, simulate_with_truth
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import Prepared, prepare
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.steps.alignment import misalignment
from mrsynth.synthesize import load_model
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.train.run import train

STEPS = """[register: {leave_below_mm: 0}, resample: {order: cubic}, brain_mask: {source: given}, n4: {iterations: [5]},
 pad_or_crop: {around: brain, margin_mm: 0}, zscore: {}, window: {}, field_of_view: {size_mm: [208, 208]}]"""
SPLITS = {0: "train", 2: "val", 3: "test"}
"""Seed → split of each patient."""
PHANTOM = SubjectSettings(stripped=False, registered=False, spacing_mm=4)


TURNED = np.array([[0.99875, -0.04998, 0, 4], [0.04998, 0.99875, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]])


def as_scanned(image: Image) -> Image:
    """The image as another series of the study: every second slice left out, and a table that was turned a little."""
    return replace(image, data=image.data[..., ::2], affine=TURNED @ image.affine @ np.diag([1.0, 1.0, 2.0, 1.0]))


def centre_mm(image: Image) -> np.ndarray:
    """The centre of what is not 0, as (x, y, z, 1)."""
    return np.asarray(image.affine) @ np.array([*np.argwhere(image.data > 0).mean(axis=0), 1.0])


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients with T1, T2, FLAIR and a brain mask on the T1, and their table."""
    folder = tmp_path_factory.mktemp("scans")
    lines = ["patient,case,split,t1,t2,flair,brain"]
    for seed, split in SPLITS.items():
        case = simulate_subject(seed, PHANTOM)
        write_image(case.images["t1"], folder / f"{seed}_t1.nii.gz")
        write_image(as_scanned(case.images["t2"]), folder / f"{seed}_t2.nii.gz")
        write_image(case.images["flair"], folder / f"{seed}_flair.nii.gz")
        write_image(case.masks["brain"], folder / f"{seed}_brain.nii.gz")
        lines.append(
            f"p{seed},case-{seed},{split},{seed}_t1.nii.gz,{seed}_t2.nii.gz,{seed}_flair.nii.gz,{seed}_brain.nii.gz"
        )
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    changes = [
        f"prepare={STEPS}",
        "task={inputs: [t1, t2], target: flair}",
        "net.settings.inputs=2",
        "net.settings.widths=[4, 8]",
        "net.settings.dropout=[0.0, 0.0]",
        "train.epochs=2",
        "train.batch_size=8",
    ]
    return load_recipe("osman2022", changes)


@pytest.fixture(scope="module")
def prepared(scans: Path, recipe: Recipe) -> Prepared:
    return prepare(read_cohort(scans / "cohort.csv"), recipe, scans / "prepared")


@pytest.fixture(scope="module")
def run(scans: Path, recipe: Recipe, prepared: Prepared) -> Path:
    train(recipe, PreparedCohort.open(scans / "prepared"), scans / "run")
    return scans / "run"


def test_prepared_contrasts_lie_on_each_other(prepared: Prepared, scans: Path):
    assert not prepared.failed
    cohort = PreparedCohort.open(scans / "prepared")
    for case in cohort.cases():
        history = cohort.record(case).history
        moved = history[0]["grids"]["t2"]["moved_mm"]
        assert moved > 2
        assert not misalignment(cohort.image(case, "t1"), cohort.image(case, "t2")).mirrored
        # The T1 gives the grid and keeps its voxels; the T2 is interpolated, once.
        grids = [record["grids"] for record in history if record["step"] == "resample"]
        assert len(grids) == 1
        assert {name: grid["interpolated"] for name, grid in grids[0].items()} == {
            "t1": False,
            "t2": True,
            "flair": True,
        }


def test_the_page_shows_every_case(prepared: Prepared):
    page = prepared.page.read_text()
    for case in prepared.made:
        assert f"{case} <span" in page
        assert page.count(f'alt="{case}, t2, ') == 3
    assert page.count("<summary>After each step") == len(SPLITS)
    for outside in ("http://", "https://", "<script"):
        assert outside not in page


@pytest.mark.parametrize("like", ["t1", "t2"])
def test_a_prediction_comes_back_to_the_own_space_of_the_chosen_input(run: Path, scans: Path, like: str):
    row = read_cohort(scans / "cohort.csv").select("test")[0]
    case = read_case(row, ["t1", "t2"], ("brain",))
    image = load_model(run)(case, like=like)
    assert np.array_equal(image.affine, case.images[like].affine)
    assert image.data.shape == case.images[like].data.shape
    # The brain is where it lies in that scan, not where it lay in the T1.
    _, truth = simulate_with_truth(3, PHANTOM)
    moved = TURNED @ truth.movement["t2"] @ np.linalg.inv(truth.movement["t1"]) if like == "t2" else np.eye(4)
    middle = (moved @ centre_mm(case.masks["brain"]))[:3]
    assert np.linalg.norm(centre_mm(image)[:3] - middle) < 1.0
    assert like == "t1" or np.linalg.norm(middle - centre_mm(case.masks["brain"])[:3]) > 3
    write_image(image, scans / "out.nii.gz")
    assert np.array_equal(nib.load(scans / "out.nii.gz").affine, nib.load(row.files[like]).affine)


def test_units_of_the_input_are_its_own(run: Path, scans: Path):
    synthesizer = load_model(run)
    row = read_cohort(scans / "cohort.csv").select("test")[0]
    case = read_case(row, ["t1", "t2"], ("brain",))
    inside = synthesizer(case).data
    in_units = synthesizer(case, units="input").data
    brain = inside > 0
    assert 0 <= inside[brain].min() <= inside[brain].max() <= 1
    assert in_units[brain].max() > 20 * inside[brain].max()
    assert np.corrcoef(inside[brain], in_units[brain])[0, 1] > 0.9  # apart from the bias field put back


def test_truth_is_judged_on_the_grid_of_the_input_after_one_interpolation(run: Path, scans: Path):
    contract = load_model(run).contract
    row = read_cohort(scans / "cohort.csv").select("test")[0]
    truth = read_truth(row, contract, "t1")
    own = read_image(row.files["t1"], "t1")
    assert truth.target.data.shape == own.data.shape
    assert np.array_equal(truth.target.affine, own.affine)
    still = simulate_subject(3, PHANTOM.model_copy(update={"registered": True})).images["flair"].data
    moved = read_image(row.files["flair"], "flair").data
    inside = truth.brain
    apart, together = (np.corrcoef(still[inside], other[inside])[0, 1] for other in (moved, truth.target.data))
    assert together > 0.9
    assert together > apart + 0.05


def test_a_cohort_is_predicted_and_judged(run: Path, scans: Path):
    cohort = read_cohort(scans / "cohort.csv")
    made, failed = synthesize_cohort(run, cohort, run / "predictions", split="test", place=Place())
    assert made == ["case-3"]
    assert not failed
    assert evaluate_run(run, cohort, run / "predictions", ["default"]).is_file()


def test_two_workers_write_the_same_bytes_as_one(scans: Path):
    cohort = Cohort(read_cohort(scans / "cohort.csv").rows[:2])
    plan = Plan.of_steps("register, resample, brain_mask: {source: given}, zscore", cohort)
    for name, workers in (("one", 1), ("two", 2)):
        done = prepare(cohort, plan, scans / name, workers=Workers(workers))
        assert len(done.made) == 2
    first, second = (PreparedCohort.open(scans / name) for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint
    for case in first.cases():
        for name in ("t1", "t2", "brain"):
            assert np.array_equal(first.array(case, name), second.array(case, name))
