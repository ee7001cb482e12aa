"""Images at several doses beside the scans at these doses: what is judged, measured and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.core.image import Image
from mrsynth.core.seeds import generator
from mrsynth.drawing.dose_charts import TRUTH
from mrsynth.evaluate.dose_response import Shown, monotony, responses
from mrsynth.evaluate.dose_scans import Made, by_examination, made_at_doses, truths_of
from mrsynth.evaluate.results import describe as describe_record
from mrsynth.evaluate.run import evaluate_predictions, read_metrics
from mrsynth.io import CaseRow, Cohort, write_image
from mrsynth.io.predictions import PredictionsRecord
from mrsynth.metrics import read_records
from mrsynth.report import build_report
from mrsynth.reproduce.chart_settings import ChartSettings, check_charts
from mrsynth.reproduce.dose_charts import dose_chart, spectra, statistics
from mrsynth.synthesize import Doses
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.train.run import train
from tiny_doses import dose_case, dose_prepared, dose_recipe
from tiny_predictions import predicted

SCANNED = (0.1, 0.2, 0.33)
SPOT = (slice(8, 13), slice(10, 15), slice(7, 12))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and the scans of one test patient: native, full dose, three low doses, all with noise of their own."""
    folder = tmp_path_factory.mktemp("doses")
    recipe = dose_recipe("samples.patch.per_epoch=6", "train.epochs=1")
    train(recipe, dose_prepared(folder / "prepared"), folder / "run")
    case = dose_case(4)
    t1, brain = case.images["t1"], case.images["t1"].data > 0
    spot = np.zeros(brain.shape, np.float32)
    spot[SPOT] = 300
    for number, dose in enumerate((0.0, *SCANNED, 1.0)):
        noise = generator(number, "doses").normal(0, 5, brain.shape)
        data = np.where(brain, t1.data + dose * spot + noise, 0).astype(np.float32)
        write_image(replace(t1, data=data), folder / f"dose-{dose:g}.nii.gz")
    lesion = Image((spot > 0).astype(np.uint8) * 3, t1.affine, "lesion")
    write_image(lesion, folder / "lesion.nii.gz")
    return folder


def rows(world: Path) -> list[CaseRow]:
    """A row a dose, as a cohort table lists the scans of one patient."""
    same = {"t1": world / "dose-0.nii.gz", "t1ce": world / "dose-1.nii.gz", "lesion": world / "lesion.nii.gz"}
    return [CaseRow("p4", f"p4-{d:g}", "test", {**same, "t1ld": world / f"dose-{d:g}.nii.gz"}, 3.0, d) for d in SCANNED]


def made_by_hand(world: Path, folder: Path, share: dict[float, float]) -> Made:
    """Predictions that enhance by a share of the full dose at each dose that is asked for, without noise."""
    native, full = (np.asarray(nib.load(world / f"dose-{d}.nii.gz").dataobj) for d in (0, 1))
    affine, q95 = nib.load(world / "dose-0.nii.gz").affine, float(np.quantile(native[native > 0], 0.95))
    for dose, part in share.items():
        data = (native + part * (full - native)).astype(np.float32) / q95
        write_image(Image(data, affine, "t1ld"), folder / "p4-0.1" / f"t1ld_{dose:g}.nii.gz")
    index = predicted({"p4-0.1": [(f"p4-0.1/t1ld_{dose:g}.nii.gz", dose) for dose in share]})
    index.write(folder / "predictions.json")
    return made_at_doses(folder.name, world / "run", folder, rows(world))


@pytest.fixture(scope="module")
def shown(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder = tmp_path_factory.mktemp("made")
    linear = made_by_hand(world, folder / "linear", {0.1: 0.1, 0.17: 0.17, 0.33: 0.33})
    falling = made_by_hand(world, folder / "falling", {0.1: 0.3, 0.2: 0.2, 0.47: 0.5})
    return Shown([linear, falling], rows(world), SCANNED)


def test_every_dose_stands_beside_the_scan_at_that_dose(world: Path):
    series = [(f"a/{number}.nii.gz", dose) for number, dose in enumerate((0.1, 0.17, 0.2, 1 / 3), start=1)]
    index = predicted({"p4-0.2": [("p4-0.2.nii.gz", None)], "p4-0.1": series})
    found = [(truth.case, case, image.file) for truth, case, image in truths_of(index, rows(world))]
    assert found == [
        ("p4-0.2", "p4-0.2", "p4-0.2.nii.gz"),
        ("p4-0.1", "p4-0.1", "a/1.nii.gz"),
        ("p4-0.33", "p4-0.1", "a/4.nii.gz"),
    ]


def test_a_single_image_at_an_asked_dose_stands_beside_the_scan_at_that_dose(world: Path):
    """`--dose 0.2` makes one image of the case that was scanned at 0.1; `--dose 0.17` one without a true scan."""
    index = predicted({"p4-0.1": [("a.nii.gz", 0.2)]})
    assert [(truth.case, case) for truth, case, _ in truths_of(index, rows(world))] == [("p4-0.2", "p4-0.1")]
    assert truths_of(predicted({"p4-0.1": [("a.nii.gz", 0.17)]}), rows(world)) == []
    unknown = [replace(rows(world)[0], dose=None)]
    assert [truth.case for truth, _, _ in truths_of(index, unknown)] == ["p4-0.1"]


def test_examinations_of_a_patient_are_not_mixed(world: Path, tmp_path: Path):
    """Equal files are one examination, wherever they lie; another T1 is another one, with images of its own."""
    copy = tmp_path / "t1.nii.gz"
    copy.write_bytes((world / "dose-0.nii.gz").read_bytes())
    first, second, third = rows(world)
    second = replace(second, files={**second.files, "t1": copy})
    third = replace(third, files={**third.files, "t1": world / "dose-0.1.nii.gz"})
    examined = by_examination([first, second, third])
    assert [row.patient for row in examined] == ["p4", "p4", "p4, p4-0.33"]
    cases = ("p4-0.1", "p4-0.2", "p4-0.33")
    index = predicted({case: [(f"{case}/{d}.nii.gz", d) for d in (0.2, 0.33)] for case in cases})
    found = {truth.case: case for truth, case, _ in truths_of(index, examined)}
    assert found == {"p4-0.2": "p4-0.2", "p4-0.33": "p4-0.33"}  # each its own, though the first was made at 0.2 too
    made = made_at_doses_of(world, tmp_path, index, examined)
    assert {name: sorted(files) for name, files in made.files.items()} == {
        "p4": [0.2, 0.33],
        "p4, p4-0.33": [0.2, 0.33],
    }


def made_at_doses_of(world: Path, folder: Path, index: PredictionsRecord, examined: list[CaseRow]) -> Made:
    index.write(folder / "predictions.json")
    return made_at_doses("model", world / "run", folder, examined)


def describe(path: Path) -> list[str]:
    return describe_record(read_metrics(path), path)


def test_the_response_of_a_lesion(shown: Shown):
    frame = responses(shown)
    lesion = frame[frame["region"] == "lesion#1"].set_index(["label", "dose"])["enhancement"]
    full = lesion[TRUTH, 1.0]
    assert lesion[TRUTH, 0.0] == 0
    for dose in SCANNED:
        assert lesion[TRUTH, dose] == pytest.approx(dose * full, abs=0.01 * full)
    for dose in (0.1, 0.17, 0.33):
        assert lesion["linear", dose] == pytest.approx(dose * full, rel=0.01)
    assert monotony(frame) == {
        TRUTH: {"lesions": 1, "falling": 0},
        "linear": {"lesions": 1, "falling": 0},
        "falling": {"lesions": 1, "falling": 1},
    }


def test_noise_and_contrast_beside_the_scans(shown: Shown):
    """Without noise of its own a prediction has none of the difference between two scans."""
    power = spectra(shown).groupby("label")["power"].mean()
    assert power["linear"] < 0.2 * power[TRUTH]
    found = statistics(shown)
    assert found.groupby("label")["dose"].apply(list).to_dict() == {"linear": [0.1, 0.33], "falling": [0.1, 0.2]}
    linear = found[found["label"] == "linear"]
    assert (linear["noise"] < 0.5 * linear["noise_truth"]).all()
    np.testing.assert_allclose(linear["contrast"], linear["contrast_truth"], rtol=0.1)


@pytest.mark.parametrize("kind", ["dose_response", "noise_spectrum", "contrast_and_noise", "dose_panels"])
def test_charts_are_drawn_with_their_numbers_beside_them(shown: Shown, tmp_path: Path, kind: str):
    settings = ChartSettings.model_validate({"title": "x", kind: {"linear": "a", "falling": "b"}, "zoom_mm": 100})
    drawn = dose_chart("chart", settings, shown, tmp_path)
    assert not isinstance(drawn, str)
    png, alt, cases = drawn
    assert png.startswith(b"\x89PNG")
    assert "linear" in alt
    assert cases == ["p4"]
    if kind != "dose_panels":
        assert set(pd.read_csv(tmp_path / "chart.csv")["label"]) >= {"linear", "falling"}


def test_a_chart_of_nothing_says_so(tmp_path: Path):
    settings = ChartSettings(title="x", dose_response={"a": "b"})
    assert "no run is finished" in dose_chart("chart", settings, Shown([], [], []), tmp_path)


def test_a_chart_names_a_job_or_a_cell_that_is_there():
    charts = {"one": ChartSettings(title="x", dose_response={"NP": "np-series"})}
    check_charts(charts, ["np"], ["np-series"])
    with pytest.raises(RecipeError, match="np-series"):
        check_charts(charts, ["np"], [])


def test_evaluate_judges_a_series(world: Path):
    cohort, run = Cohort(tuple(rows(world))), world / "run"
    first = replace(cohort, rows=cohort.rows[:1])
    doses = Doses((0.1, 0.17, 0.33), None, 1)
    synthesize_cohort(run, first, run / "predictions", doses=doses)
    path = evaluate_predictions(run / "predictions", cohort, ["pinetz2023"], None)
    assert {record.case for record in read_records(run / "metrics.csv")} == {"p4-0.1", "p4-0.33"}
    assert "of 1" in describe(path)[-1]
    assert (run / "dose_response.png").exists()
    frame = pd.read_csv(run / "dose_response.csv")
    assert sorted(frame.loc[frame["label"] == "model", "dose"].unique()) == [0.1, 0.17, 0.33]
    page = build_report(run).read_text()
    assert '<section id="doses">' in page
    assert describe(path)[-1].split(";")[0] in page

    # One image of the same case into the same folder, at a dose of which there is a scan: it replaces the series.
    synthesize_cohort(run, first, run / "predictions", doses=Doses((0.33,), None, 1))
    index = json.loads((run / "predictions" / "predictions.json").read_text())
    assert [len(made["images"]) for made in index["cases"].values()] == [1]
    path = evaluate_predictions(run / "predictions", cohort, ["pinetz2023"], None)
    assert {record.case for record in read_records(run / "metrics.csv")} == {"p4-0.33"}
    synthesize_cohort(run, first, run / "predictions", doses=doses)
    index = json.loads((run / "predictions" / "predictions.json").read_text())
    assert [len(made["images"]) for made in index["cases"].values()] == [3]

    # A true scan that lies elsewhere is named, and does not stop the others.
    image = nib.load(world / "dose-0.33.nii.gz")
    moved = image.affine.copy()
    moved[0, 3] += 3
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), world / "moved.nii.gz")
    elsewhere = replace(cohort.rows[2], files={**cohort.rows[2].files, "t1ld": world / "moved.nii.gz"})
    path = evaluate_predictions(run / "predictions", Cohort((*cohort.rows[:2], elsewhere)), ["pinetz2023"], None)
    assert {record.case for record in read_records(run / "metrics.csv")} == {"p4-0.1"}
    assert "another grid" in json.loads(path.read_text())["left_out"][0]["why"]

    # A patient who was never scanned at a low dose: nothing to judge, but the response to the dose.
    files = {name: file for name, file in cohort.rows[0].files.items() if name != "t1ld"}
    clinical = Cohort((replace(cohort.rows[0], files=files, dose=None),))
    path = evaluate_predictions(run / "predictions", clinical, ["pinetz2023"], None)
    assert json.loads(path.read_text())["n_cases"] == 0
    assert "falls with a higher dose" in describe(path)[-1]
    page = build_report(run).read_text()
    assert "Nothing could be judged" in page
    assert '<section id="doses">' in page
