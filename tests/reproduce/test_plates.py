from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import RecipeError
from mrsynth.core.image import Image
from mrsynth.core.settings import parse
from mrsynth.drawing.plates import Plate
from mrsynth.io import CaseRow, Cohort, write_image
from mrsynth.model import load_contract, save_model
from mrsynth.reproduce import plates as study_pictures
from mrsynth.reproduce.plan import Cell, Job
from mrsynth.reproduce.plate_settings import CaseChoice, PlateSettings, check_plates
from mrsynth.reproduce.plates import Prediction, draw_plates, picture_study
from mrsynth.reproduce.records import Figures
from mrsynth.reproduce.scans import Scans, choose_cases, largest_part, read_scans, tumour_ml
from mrsynth.reproduce.study import JobSettings
from mrsynth.steps import complete_steps
from small_cases import ball, brain_case
from tiny import trained
from tiny_predictions import predicted

STEPS = complete_steps([{"brain_mask": {"source": "auto", "max_fraction": 0.6}}, {"unit": {"upper_percentile": 100}}])
SHAPE = (24, 28, 20)


def plate(show: dict[str, dict[str, Any]], **changes: Any) -> PlateSettings:
    base = {"title": "a plate", "cases": {"without_tumour": 1, "with_tumour": 2}, "slices": 1, "zoom_mm": None}
    return parse(PlateSettings, {**base, **changes, "show": show}, "the plate")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Three test patients as files, the lesion of the second small and of the third large, and one for training."""
    folder = tmp_path_factory.mktemp("scans")
    rows = []
    for seed, (split, radius) in enumerate((("test", 0.0), ("test", 2.0), ("test", 4.0), ("train", 4.0))):
        case = brain_case(SHAPE, ("t1", "t1ce"), seed)
        affine = case.image("t1").affine
        lesion = ball(SHAPE, radius) * 3 if radius else np.zeros(SHAPE)
        enhanced = case.image("t1ce").data + 400 * (lesion > 0)
        images = {"t1": case.image("t1"), "t1ce": Image(enhanced.astype(np.float32), affine, "t1ce")}
        images["lesion"] = Image(np.roll(lesion, 3, axis=2).astype(np.uint8), affine, "lesion")
        files = {name: folder / f"case-{seed}" / f"{name}.nii.gz" for name in images}
        for name, image in images.items():
            write_image(image, files[name])
        rows.append(CaseRow(f"p{seed}", f"case-{seed}", split, files))
    return Cohort(tuple(rows))


@pytest.fixture
def study(tmp_path: Path, cohort: Cohort) -> dict[str, Prediction]:
    """A study folder: `good` has predicted all test cases (0.1 too much everywhere), `other` one, `late` none."""
    predictions = {}
    for name in ("good", "other", "late"):
        run = tmp_path / "runs" / name
        facts = {"recipe": "r", "inputs": ["t1"], "target": "t1ce", "net": "unet2d", "net_settings": {}, "patch": None}
        facts |= {"flags": False, "steps": STEPS, "range": [0.0, 1.0], "intensity": [], **trained()}
        contract = save_model(run / "model", {}, facts, "card")
        done = {"good": cohort.select("test"), "other": cohort.select("test")[:1], "late": ()}[name]
        for row in done:
            scans = read_scans(row, ["t1ce"], contract, "t1")
            data = np.where(scans.brain, scans.images["t1ce"] + 0.1, 0).astype(np.float32)
            write_image(replace(scans.own.with_data(data, "t1ce")), run / "predictions" / f"{row.case}.nii.gz")
        index = predicted({row.case: [(f"{row.case}.nii.gz", None)] for row in done}, None, contract.weights_sha256)
        index.write(run / "predictions" / "predictions.json")
        predictions[name] = Prediction(run, run / "predictions" if name != "late" else None)
    return predictions


@pytest.fixture
def plates_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cohort: Cohort) -> Any:
    """Return a function that draws plates and returns what was drawn, without the drawing."""

    def draw(predictions: dict[str, Prediction], **plates: PlateSettings) -> list[Plate]:
        seen: list[Plate] = []
        monkeypatch.setattr(study_pictures, "plate_png", lambda one: (seen.append(one), b"png")[1])
        Figures(figures=draw_plates(tmp_path, plates, cohort, predictions)).write(tmp_path / Figures.FILE)
        return seen

    return draw


def test_cases_are_taken_by_tumour_volume_from_the_test_split(
    plates_of: Any, study: dict[str, Prediction], cohort: Cohort, tmp_path: Path
) -> None:
    (one,) = plates_of(study, a=plate({"T1": {"scan": "t1"}}))
    assert [row.caption.split(",")[0] for row in one.rows] == ["case-0", "case-1", "case-2"]
    assert "no tumour" in one.rows[0].caption
    assert f"{tumour_ml(cohort.rows[1]):.3g} ml" in one.rows[1].caption
    assert tumour_ml(cohort.rows[1]) == pytest.approx(ball(SHAPE, 2.0).sum())  # voxels of 1 ml
    (entry,) = Figures.read(tmp_path / Figures.FILE).figures
    assert entry.file == "a.png"
    assert "case-2" in entry.alt


def test_the_error_is_that_of_the_prediction(plates_of: Any, study: dict[str, Prediction]) -> None:
    show = {"truth": {"scan": "t1ce"}, "made": {"prediction": "good"}, "error": {"error": "good"}}
    (one,) = plates_of(study, a=plate(show))
    for row in one.rows:
        truth, made, error = row.tiles
        assert (truth.synthetic, made.synthetic, error.synthetic) == (False, True, False)
        assert np.abs(made.data - truth.data)[row.region] == pytest.approx(0.1, abs=1e-3)
        assert error.data == pytest.approx(np.abs(made.data - truth.data), abs=1e-6)
        assert row.window[0] == 0
        assert row.window[1] == pytest.approx(np.percentile(truth.data[row.region], 99.8), rel=1e-6)


def test_the_mask_is_where_the_enhancement_exceeds_delta(plates_of: Any, study: dict[str, Prediction]) -> None:
    show = {"change": {"enhancement": "t1ce"}, "mask": {"mask": 0.2}}
    (one,) = plates_of(study, a=plate(show))
    for row in one.rows:
        change, mask = row.tiles
        assert np.array_equal(mask.data > 0, change.data > 0.2)
        assert change.lesion is not None


def test_what_is_not_there_says_so(plates_of: Any, study: dict[str, Prediction]) -> None:
    show = {"T2": {"scan": "t2"}, "made": {"prediction": "other"}, "late": {"prediction": "late"}}
    study["late"] = replace(study["late"], state="failed")
    (one,) = plates_of(study, a=plate({"good": {"prediction": "good"}, **show}))
    words = [[tile.words for tile in row.tiles] for row in one.rows]
    assert words[0] == ["", "no t2 of this case", "", "failed"]
    assert words[1] == ["", "no t2 of this case", "no prediction of this case", "failed"]


def test_slices_become_columns_and_the_tumours_is_one_of_them(plates_of: Any, study: dict[str, Prediction]) -> None:
    show = {"truth": {"scan": "t1ce"}, "made": {"prediction": "good"}, "late": {"prediction": "late"}}
    (one,) = plates_of(study, a=plate(show, slices=5, cases={"without_tumour": 0, "with_tumour": 2}))
    assert len(one.rows) == 6
    assert all(len(row.tiles) == 5 for row in one.rows)
    notes = [tile.note for tile in one.rows[0].tiles]
    assert len(set(notes)) == 5
    fullest = int(np.argmax(np.roll(ball(SHAPE, 2.0), 3, axis=2).sum(axis=(0, 1))))
    assert f"slice {fullest}" in notes
    assert {tile.words for tile in one.rows[2].tiles} == {"not run"}


def test_a_zoom_shows_the_tumour_alone(plates_of: Any, study: dict[str, Prediction]) -> None:
    (one,) = plates_of(study, a=plate({"good": {"prediction": "good"}}, zoom_mm=60.0))
    assert [row.side_mm for row in one.rows] == [None, None, 60.0, None, 60.0]
    assert one.rows[2].region.sum() < one.rows[1].region.sum() / 4


def test_a_prediction_on_another_grid_is_not_shown(
    plates_of: Any, study: dict[str, Prediction], cohort: Cohort
) -> None:
    folder = study["good"].folder
    assert folder is not None
    elsewhere = Image(np.arange(210, dtype=np.float32).reshape(5, 6, 7), np.diag([20.0, 20, 20, 1]), "t1ce")
    write_image(elsewhere, folder / "case-1.nii.gz")
    (one,) = plates_of(study, a=plate({"good": {"prediction": "good"}}))
    assert [row.tiles[0].words for row in one.rows] == ["", "lies on the grid of t1", ""]


def test_no_truth_under_another_preparation(plates_of: Any, study: dict[str, Prediction]) -> None:
    run = study["other"].run
    facts = load_contract(run).model_dump(mode="json", exclude={"weights_sha256"})
    save_model(run / "model", {}, {**facts, "steps": STEPS[:1]}, "card")
    show = {"good": {"prediction": "good"}, "error": {"error": "other"}}
    (one,) = plates_of(study, a=plate(show))
    assert one.rows[0].tiles[1].words == "no truth under this preparation"


def test_without_a_finished_run_nothing_is_drawn_and_the_listing_says_why(
    plates_of: Any, study: dict[str, Prediction], tmp_path: Path
) -> None:
    assert plates_of({"late": study["late"]}, a=plate({"late": {"prediction": "late"}})) == []
    none = plate({"good": {"prediction": "good"}}, cases={"without_tumour": 0, "with_tumour": 0})
    assert plates_of(study, b=none) == []
    (entry,) = Figures.read(tmp_path / Figures.FILE).figures
    assert entry.file is None
    assert entry.why


def test_the_pictures_are_written(study: dict[str, Prediction], cohort: Cohort, tmp_path: Path) -> None:
    show = {"T1ce": {"scan": "t1ce"}, "good": {"prediction": "good"}, "error": {"error": "good"}, "M": {"mask": 0.2}}
    few = plate(show, cases={"without_tumour": 0, "with_tumour": 1})
    (figure,) = draw_plates(tmp_path, {"fig4": few}, cohort, study)
    path = tmp_path / "figures" / str(figure.file)
    assert path == tmp_path / "figures" / "fig4.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_cells_left_becomes_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: Any = None
    cells = [Cell(n, seed, recipe, tmp_path / f"{n}{seed}", tmp_path) for n in ("a", "b", "c") for seed in (0, 1)]
    job = Job("no-t2", JobSettings(cell="a", without=["t2"], missing="zeros"), cells[0], {})
    for place, state in ((cells[0].place, "done"), (cells[2].place, "failed"), (job.place, "done")):
        place.mkdir(parents=True)
        (place / "state.json").write_text(json.dumps({"state": state}))
    seen: dict[str, Prediction] = {}
    monkeypatch.setattr(study_pictures, "draw_plates", lambda out, plates, cohort, made: seen.update(made) or [])
    monkeypatch.setattr(study_pictures, "build_study", lambda out: out / "study.html")
    page = picture_study(tmp_path, {}, [*cells, job], Cohort(()))
    assert page == tmp_path / "study.html"
    run = tmp_path / "a0"
    assert seen == {
        "a": Prediction(run, run / "predictions", "done"),
        "b": Prediction(tmp_path / "b0", None, "failed"),
        "c": Prediction(tmp_path / "c0", None, "not run"),
        "no-t2": Prediction(run, run / "jobs" / "no-t2" / "predictions", "done"),
    }


@given(
    st.dictionaries(st.text("abc", min_size=1), st.floats(0, 50), max_size=12),
    st.integers(0, 6),
    st.integers(0, 6),
)
def test_choice_of_cases(volumes: dict[str, float], without: int, within: int) -> None:
    chosen = choose_cases(volumes, CaseChoice(without_tumour=without, with_tumour=within))
    tumours = [case for case in chosen if volumes[case] > 0]
    assert len(chosen) == len(set(chosen))
    assert len(tumours) == min(within, sum(v > 0 for v in volumes.values()))
    assert len(chosen) - len(tumours) == min(without, sum(v == 0 for v in volumes.values()))
    assert [volumes[case] for case in tumours] == sorted(volumes[case] for case in tumours)


def test_the_zoom_is_on_the_largest_part() -> None:
    mask = np.zeros((12, 12), bool)
    mask[1:3, 1:3], mask[6:11, 6:11] = True, True
    assert np.array_equal(np.argwhere(largest_part(mask)).min(axis=0), [6, 6])
    assert not largest_part(np.zeros((3, 3), bool)).any()


def test_one_case_is_the_middle_one() -> None:
    volumes = {"a": 1.0, "b": 5.0, "c": 90.0}
    assert choose_cases(volumes, CaseChoice(without_tumour=1, with_tumour=1)) == ["b"]


@given(st.integers(1, 12))
def test_slices_lie_in_the_brain(count: int) -> None:
    brain = ball(SHAPE, 8)
    image = Image(np.zeros(SHAPE, np.float32), np.eye(4), "t1")
    scans = Scans(CaseRow("p", "c", "test", {}), {}, image, brain, np.zeros(SHAPE, bool))
    at = scans.through(count)
    assert 1 <= len(at) <= count
    assert at == sorted(set(at))
    assert scans.fullest in at
    assert all(brain[..., k].any() for k in at)


def test_a_plate_shows_one_thing_a_picture_and_only_what_the_study_makes() -> None:
    with pytest.raises(RecipeError, match="show"):
        plate({"both": {"scan": "t1", "prediction": "good"}})
    with pytest.raises(RecipeError, match="show"):
        plate({"what": {"foto": "t1"}})
    with pytest.raises(RecipeError, match="ours3d"):
        check_plates({"fig4": plate({"x": {"error": "ours3"}})}, ["ours3d", "unet2d"])
    check_plates({"fig4": plate({"x": {"error": "ours3d"}})}, ["ours3d"])
