"""The virtual contrast model: its recipe, and a small one from prepared slices to judged predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.core.image import Case
from mrsynth.core.progress import listening
from mrsynth.core.settings import PredictSettings
from mrsynth.evaluate.score_case import judge
from mrsynth.evaluate.truth import Truth
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.model import Contract, load_contract
from mrsynth.nets import build_net
from mrsynth.nets.unet25d import UNet25d
from mrsynth.recipes.recipe import Recipe, dump_recipe, load_recipe
from mrsynth.steps import run_steps
from mrsynth.synthesize import load_model
from mrsynth.train.run import train
from small_cases import ball, brain_case

SMALL = (
    "prepare=[{brain_mask: {source: auto, max_fraction: 0.6}}, {q95: {like: {t1ce: t1, t1ld: t1}}}]",
    "net.settings={width: 2, poolings: 1}",
    "loss={perceptual: {weight: 0}}",
    "train={epochs: 2, samples_per_epoch: 48, accelerator: cpu}",
)
SHAPE = (24, 24, 24)
LATER = ("neighbours", "predict")
"""Keys that contracts of older versions lack."""


def test_the_recipe_is_as_far_as_the_paper_is_known():
    recipe = load_recipe("pasumarthi2021")
    assert recipe.translation == "t1+t1ld-t1ce"
    assert 2 * recipe.samples.neighbours + 1 == 7
    net = build_net(recipe.net.name, **recipe.net.settings)
    assert isinstance(net, UNet25d)
    assert recipe.net.settings == {"inputs": 14, "outputs": 1, "width": 32, "poolings": 3}
    assert len(recipe.predict.planes) * len(recipe.predict.rotations_deg) == 15
    assert recipe.predict.rotations_deg == (0, 18, 36, 54, 72)
    assert {"mae", "slice_ssim", "perceptual", "enhancement_mae"} == set(recipe.loss)
    assert recipe.method.kind == "adversarial"
    shapes = [step["resample"]["shape"] for step in recipe.prepare if "resample" in step]
    assert shapes == [[256, 256, 256]]


@pytest.mark.parametrize("size", ["small", "smoke", "small/axial", "smoke/vgg19", "smoke/no-game"])
def test_smaller_sizes_fit_the_network_in_every_plane(size: str):
    recipe = load_recipe(f"pasumarthi2021/{size}")
    (shape,) = [step["resample"]["shape"] for step in recipe.prepare if "resample" in step]
    assert len(set(shape)) == 1
    assert shape[0] % 8 == 0


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("osman2022", ["samples.neighbours=1"], r"slices \(x, y\)|net.settings.inputs=3"),
        ("osman2022", ["samples.neighbours=1", "net.settings.inputs=2"], "net.settings.inputs=3"),
        ("osman2022", ["samples.neighbours=-1"], "samples.neighbours"),
        ("osman2022", ["samples.planes=[z, q]"], "samples.planes"),
        ("osman2022", ["predict.rotations_deg=[18]"], "0 among them"),
        ("osman2022", ["predict.plane=[z]"], "did you mean 'planes'"),
        ("chen2022", ["samples.neighbours=1"], "for networks that see slices"),
        ("chen2022", ["predict.planes=[z, x]"], "for networks that see slices"),
        (
            "osman2022",
            ["samples.neighbours=1", "net.settings.inputs=6", "method.missing={drop: 0.3, flags: true}"],
            "slices are not dropped",
        ),
        ("chen2022/ours2d/dropout", ["predict.rotations_deg=[0, 18]"], "slices are not dropped"),
    ],
)
def test_neighbours_and_planes_that_cannot_be_are_refused(name: str, overrides: list[str], message: str):
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, overrides)


def test_any_2d_recipe_takes_neighbours_and_planes():
    recipe = load_recipe("osman2022", ["samples.neighbours=1", "net.settings.inputs=3", "predict.planes=[z, y, x]"])
    assert recipe.samples.neighbours == 1
    assert recipe.predict.planes == ("z", "y", "x")


def test_a_recipe_without_the_keys_that_came_later_still_loads(tmp_path: Path):
    """Runs of before keep their recipe.yaml."""
    text = dump_recipe(load_recipe("osman2022"))
    old = text.replace("  planes:\n  - z\n  neighbours: 0\n", "", 1).replace("  data_range: null\n", "")
    old = old[: old.index("predict:\n")] + old[old.index("evaluate:\n") :]
    assert "neighbours" not in old
    (tmp_path / "old.yaml").write_text(old)
    assert load_recipe(str(tmp_path / "old.yaml")) == load_recipe("osman2022")


def contrast_case(seed: int) -> Case:
    """A ball with a bright spot that takes up contrast agent: half of it at the low dose."""
    case = brain_case(SHAPE, ("t1",), seed, spacing_mm=(7.0, 7.0, 7.0))
    t1 = case.images["t1"]
    spot = np.roll(ball(SHAPE, 4), 4, axis=seed % 3) * 300
    mask = t1.with_data((t1.data > 0).astype(np.uint8), "brain")
    images = {"t1": t1, "t1ce": t1.with_data(t1.data + spot, "t1ce"), "t1ld": t1.with_data(t1.data + spot / 2, "t1ld")}
    images = {name: replace(image, data=image.data.astype(np.float32)) for name, image in images.items()}
    return replace(case, images=images, masks={"brain": mask})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Contract]:
    folder = tmp_path_factory.mktemp("vcm")
    recipe = small()
    cohort = PreparedCohort.create(
        folder / "p", recipe="pasumarthi2021", steps=recipe.prepare, contrasts=recipe.contrasts
    )
    for seed, split in enumerate(("train", "train", "val")):
        case, records = run_steps(contrast_case(seed), recipe.prepare)
        cohort.write_case(CaseRow(f"p{seed}", f"c{seed}", split, {}), replace(case, history=()), records, f"f{seed}")
    cohort.finish(["c0", "c1", "c2"])
    return folder / "run", train(recipe, PreparedCohort.open(folder / "p"), folder / "run")


def small() -> Recipe:
    return load_recipe("pasumarthi2021/smoke", SMALL)


def test_a_run_carries_what_prediction_needs(trained: tuple[Path, Contract]):
    run, contract = trained
    assert contract == load_contract(run)
    assert contract.neighbours == 3
    assert contract.predict == load_recipe("pasumarthi2021").predict
    data = json.loads((run / "model" / "contract.json").read_text())
    older = Contract.from_content({name: value for name, value in data.items() if name not in LATER}, run)
    assert (older.neighbours, older.predict) == (0, PredictSettings())


def test_a_prediction_goes_along_all_planes(trained: tuple[Path, Contract]):
    told: list[str] = []
    case = contrast_case(5)
    inputs = Case({name: case.images[name] for name in ("t1", "t1ld")}, case.masks, case.metadata)
    with listening(lambda _, what: told.append(what)):
        image = load_model(trained[0], "cpu")(inputs)
    assert told[-1] == f"{15 * 24}/{15 * 24}"
    assert image.contrast == "t1ce"
    brain = case.images["t1"].data > 0
    assert np.isfinite(image.data).all()
    assert image.data[brain].std() > 0
    assert not image.data[~brain].any()


@pytest.mark.parametrize(
    ("inputs", "target", "judged"),
    [(["t1", "t1ld"], "t1ce", True), (["t1", "t1ce"], "t1ld", True), (["t1ld"], "t1ce", False), (["t1"], "t2", False)],
)
def test_enhancement_is_judged_where_native_and_standard_dose_are_at_hand(
    inputs: list[str], target: str, judged: bool, trained: tuple[Path, Contract]
):
    case, _ = run_steps(contrast_case(4), small().prepare)
    images = {**case.images, "t2": replace(case.images["t1"], contrast="t2")}
    truth = Truth(
        CaseRow("p", "c", "test", {}),
        {n: images[n] for n in inputs},
        images[target],
        case.masks["brain"].data > 0,
        None,
    )
    contract = trained[1].model_copy(update={"inputs": inputs, "target": target})
    candidate = np.clip(images[target].data * 0.9, 0, None)
    records = judge(truth, {"model": candidate}, ["pinetz2023", "default"], contract, small())
    values = {(r.preset, r.metric, r.region): r.value for r in records}
    assert (values["pinetz2023", "mae_ce", "enhancing"] is not None) == judged
    assert (values["pinetz2023", "mae_sigma", "non_enhancing"] is not None) == judged
    assert (("default", "psnr", "enhancing") in values) == judged
    assert (values.get(("default", "enhancement_percent_error", "enhancing")) is not None) == judged
    if judged:
        brain = truth.brain & (images["t1ce"].data - images["t1"].data > 0.1)
        expected = 0.1 * images[target].data[brain].mean()
        assert values["pinetz2023", "mae_ce", "enhancing"] == pytest.approx(expected, rel=1e-4)
        assert {r.data_range for r in records} == {1.0}  # not the width of the range, 3
