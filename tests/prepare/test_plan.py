"""What a preparation does to each case: a recipe, or --steps; and what steps learn from the training split."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

from mrsynth.core.errors import InputError, ModelError, RecipeError
from mrsynth.io import CaseRow, Cohort, PreparedCohort, write_image
from mrsynth.io.contract import Contract
from mrsynth.likeness import measure, seen_in
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import load_recipe
from mrsynth.steps import parse_steps
from mrsynth.steps.needs import contrasts_to_read
from mrsynth.steps.pipeline import STEPS as ALL_STEPS
from small_cases import brain_case
from tiny import STEPS, trained


def row(*names: str, case: str = "a", split: str = "train") -> CaseRow:
    return CaseRow(case, case, split, {name: Path(f"{case}_{name}.nii.gz") for name in names})


def test_steps_get_the_settings_that_were_left_out():
    plan = Plan.of_steps("register, resample: {spacing_mm: [2, 2, 2]}, zscore", Cohort((row("t1", "t2"),)))
    assert [next(iter(step)) for step in plan.steps] == ["register", "resample", "zscore"]
    assert plan.steps[0]["register"]["transform"] == "rigid"
    assert plan.steps[1]["resample"]["spacing_mm"] == [2, 2, 2]
    assert plan.steps[1]["resample"]["order"] == "linear"
    assert plan.contrasts == ["t1", "t2"]


def test_steps_may_stand_in_a_file(tmp_path: Path):
    path = tmp_path / "steps.yaml"
    path.write_text("- brain_mask: {source: given}\n- zscore\n")
    cohort = Cohort((row("t1"),))
    assert Plan.of_steps(str(path), cohort).steps == Plan.of_steps("brain_mask: {source: given}, zscore", cohort).steps


@pytest.mark.parametrize(
    "text",
    [
        "# what we agreed on\n\n- brain_mask: {source: given} # by hand\n- zscore\n",
        "\ufeff- brain_mask: {source: given}\r\n- zscore\r\n",
        "---\n[brain_mask: {source: given}, zscore]\n",
        "# in one line\nbrain_mask: {source: given}, zscore # and a remark\n",
    ],
)
def test_a_file_of_steps_may_begin_with_a_comment_or_a_byte_order_mark(tmp_path: Path, text: str):
    path = tmp_path / "Schritte für alle.yaml"
    path.write_bytes(text.encode())
    cohort = Cohort((row("t1"),))
    assert Plan.of_steps(str(path), cohort).steps == Plan.of_steps("brain_mask: {source: given}, zscore", cohort).steps


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zscoer", "did you mean 'zscore'"),
        ("resample: {spacing: 1}", "spacing_mm"),
        ("[zscore", "not YAML"),
        ("", "no list"),
        ("missing.yaml", "cannot be read"),
        ("zscore: 3", "no mapping"),
    ],
)
def test_mistakes_in_steps_are_named(text: str, message: str):
    with pytest.raises(RecipeError, match=message):
        Plan.of_steps(text, Cohort((row("t1"),)))


def test_only_what_every_case_has_is_prepared_unless_asked_for():
    cohort = Cohort((row("t1", "t2"), row("t1", "flair", case="b")))
    assert Plan.of_steps("zscore", cohort).contrasts == ["t1"]
    assert Plan.of_steps("zscore", cohort, ["T2w"]).contrasts == ["t2"]
    with pytest.raises(RecipeError, match="No contrast"):
        Plan.of_steps("zscore", Cohort((row("t1"), row("t2", case="b"))))


def test_an_adc_that_is_fitted_asks_for_the_diffusion_images():
    diffusion = row("t1", "dwi_b0", "dwi_b1000")
    plan = Plan.of_steps("adc, zscore", Cohort((diffusion,)))
    assert plan.contrasts == ["t1", "adc"]
    assert plan.to_read(diffusion) == ["t1", "dwi_b0", "dwi_b1000"]
    assert plan.to_read(row("t1", "adc")) == ["t1", "adc"]
    assert contrasts_to_read(row("t1").files, ["t1", "adc"], plan.steps) == ["t1", "adc"]  # to be missed by its name


def test_every_step_has_its_defaults_and_no_more():
    known = yaml.safe_load(resources.files("mrsynth.steps").joinpath("defaults.yaml").read_text(encoding="utf-8"))
    assert set(known) == set(ALL_STEPS)
    for name, step in ALL_STEPS.items():
        assert set(known[name]) == set(step.settings.model_fields)
        parse_steps([{name: {}}])


def test_a_recipe_comes_with_complete_steps():
    for variant in ("", "/window", "/raw", "/small"):
        for step in load_recipe("osman2022" + variant).prepare:
            ((name, settings),) = step.items()
            assert parse_steps([step])[0][1].model_dump(mode="json") == settings, name


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    rows = []
    for seed, split in enumerate(("train", "train", "val", "test")):
        image = brain_case(seed=seed, contrasts=("t1",)).images["t1"]
        write_image(image, tmp_path / f"{seed}.nii.gz")
        rows.append(CaseRow(f"p{seed}", f"c{seed}", split, {"t1": tmp_path / f"{seed}.nii.gz"}))
    return Cohort(tuple(rows))


def test_landmarks_are_learned_from_the_training_split_alone(cohort: Cohort, tmp_path: Path):
    plan = Plan.of_steps("brain_mask, nyul", cohort)
    prepare(cohort, plan, tmp_path / "a")
    first = PreparedCohort.open(tmp_path / "a")
    landmarks = first.steps[1]["nyul"]["landmarks"]["t1"]
    assert np.all(np.diff(landmarks) > 0)
    assert first.asked[1]["nyul"]["landmarks"] is None

    # Another test patient changes nothing; another training patient does, and every case is made again.
    odd = brain_case(seed=9, contrasts=("t1",)).images["t1"]
    write_image(odd.with_data(odd.data**2), tmp_path / "3.nii.gz")
    done = prepare(cohort, plan, tmp_path / "a")
    assert done.made == ("c3",)
    assert PreparedCohort.open(tmp_path / "a").steps == first.steps
    write_image(odd.with_data(odd.data**2), tmp_path / "0.nii.gz")
    done = prepare(cohort, plan, tmp_path / "a")
    assert set(done.made) == {"c0", "c1", "c2", "c3"}
    assert PreparedCohort.open(tmp_path / "a").steps != first.steps


def test_a_broken_training_case_stops_no_other_and_teaches_nothing(cohort: Cohort, tmp_path: Path):
    """It reads well, but a step fails on it: a brain of one value has no percentiles."""
    image = brain_case(seed=0, contrasts=("t1",)).images["t1"]
    write_image(image.with_data((image.data > 0).astype(np.float32)), tmp_path / "0.nii.gz")
    plan = Plan.of_steps("brain_mask, nyul", cohort)
    done = prepare(cohort, plan, tmp_path / "a")
    assert [case for case, _ in done.failed] == ["c0"]
    assert "no range inside the brain" in done.failed[0][1]
    assert done.made == ("c1", "c2", "c3")
    alone = Cohort(tuple(row for row in cohort.rows if row.case != "c0"))
    assert prepare(alone, plan, tmp_path / "b").cohort.steps == done.cohort.steps
    with pytest.raises(InputError, match="c0: t1 has no range"):
        prepare(cohort, plan, tmp_path / "c", stop_at_first=True)


def test_a_model_prepares_as_its_training_was_and_flags_what_is_unlike_it(tmp_path: Path):
    rows = []
    for seed, name in enumerate("abcd"):
        case = brain_case(seed=seed)
        files = {contrast: tmp_path / f"{name}_{contrast}.nii.gz" for contrast in ("t1", "t2")}
        for contrast, path in files.items():
            write_image(case.images[contrast], path)
        rows.append(CaseRow(name, name, "train", files))
    trained_on = prepare(Cohort(tuple(rows)), Plan.of_steps(str(STEPS), Cohort(tuple(rows))), tmp_path / "p").cohort
    images = [
        ({"t1": np.asarray(trained_on.array(n, "t1"))}, np.asarray(trained_on.array(n, "brain")) > 0) for n in "abcd"
    ]
    known = {"recipe": "tiny", "inputs": ["t1"], "target": "t2", "net": "unet2d", "net_settings": {}, "patch": None}
    rest = {"flags": False, "steps": trained_on.steps, "range": (0, 1), "intensity": [], "weights_sha256": "0" * 64}
    model = Contract.model_validate({**known, **rest, **trained(), "seen": seen_in(measure(*i) for i in images)})
    hot = brain_case(seed=0).images["t1"]
    hot.data[np.unravel_index(np.argmax(hot.data), hot.data.shape)] *= 30
    write_image(hot, tmp_path / "hot.nii.gz")
    odd = [replace(rows[0], files={"t1": tmp_path / "hot.nii.gz"}), rows[1]]
    plan = Plan.of_model(model, Cohort(tuple(odd)))
    assert (plan.contrasts, plan.name) == (["t1"], "tiny")
    assert Plan.of_model(model, Cohort(tuple(rows))).contrasts == ["t1", "t2"]
    assert Plan.of_model(model, Cohort(tuple(rows))).steps == trained_on.steps
    done = prepare(Cohort(tuple(odd)), plan, tmp_path / "q", like=model)
    assert list(done.unlike) == ["a"]
    assert "Unlike the training of tiny: t1 has other values" in done.page.read_text()
    with pytest.raises(ModelError, match="does not say"):
        prepare(Cohort(tuple(odd)), plan, tmp_path / "q", like=model.model_copy(update={"seen": None}))
