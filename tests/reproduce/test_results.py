"""Numbers that travel: another machine has the tables of the first and goes on; what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from typer.testing import CliRunner

from mrsynth.cli.root import app
from mrsynth.core.errors import CohortError, InputError, ModelError, RecipeError
from mrsynth.core.progress import listening
from mrsynth.io import read_cohort
from mrsynth.recipes.recipe import load_recipe
from mrsynth.reproduce.plan import Job, plan_study
from mrsynth.reproduce.records import State
from mrsynth.reproduce.results import ResultRecord, _records, settings_of
from mrsynth.reproduce.run import give_results, reproduce, take_results
from mrsynth.reproduce.study import JobSettings, load_study
from mrsynth.reproduce.work import run_job
from tiny import write_scan
from tiny_study import study_cohort, study_data, study_recipe, write_study


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A study of one cell, a job and a cell that was not run; its numbers."""
    folder = tmp_path_factory.mktemp("study")
    data = study_data(study_recipe(folder)) | {"curves": {}}
    data["cells"] = {name: data["cells"][name] for name in ("both", "t1")}
    data["jobs"] = {"no-t2": data["jobs"]["no-t2"]}
    data["scales"] = {"smoke": data["scales"]["smoke"]}
    table = data["tables"]["table1"]
    table["rows"] = {"Both": "both", "T1": "t1", "No T2": "no-t2"}
    table["published"] = None
    data["charts"] = {"losses": {"title": "Losses", "losses": {"Both": "both"}}}
    study, cohort = write_study(folder, data), study_cohort(folder)
    reproduce(study, "smoke", folder / "out", cohort, only=["no-t2"])
    files = give_results(study, "smoke", folder / "out", folder / "results")
    return {"study": study, "data": data, "cohort": cohort, "files": files, "folder": folder}


def test_another_machine_has_the_same_tables_and_does_not_do_it_again(given: dict[str, Any], tmp_path: Path):
    results, there, here = given["folder"] / "results", given["folder"] / "out", tmp_path / "out"
    assert [path.name for path in given["files"]] == ["both.json", "both--no-t2.json"]
    assert all(path.stat().st_size < 40_000 for path in given["files"])
    assert take_results(given["study"], "smoke", here, results, given["cohort"]) == ["both", "both/no-t2"]
    done = reproduce(given["study"], "smoke", here, tables_only=True)
    tables = [(out / "tables" / "table1.md").read_text() for out in (there, here)]
    assert tables[0] == tables[1]
    assert "measured elsewhere" not in tables[0]
    assert "numbers from elsewhere: trained at" in done.page.read_text()
    assert (here / "figures" / "losses.png").exists()
    said: list[str] = []
    with listening(lambda label, _: said.append(label)):
        done = reproduce(given["study"], "smoke", here, given["cohort"], only=["both", "no-t2"])
    assert not {"both", "both/no-t2"} & set(said)
    assert done.failed == ()
    # What is given again is what was taken, and a folder that has numbers keeps its own.
    again = give_results(given["study"], "smoke", here, tmp_path / "again")
    for path in again:
        first, second = (json.loads((folder / path.name).read_text()) for folder in (results, tmp_path / "again"))
        for one in (first, second):
            del one["state"]["imported"]
        assert first == second
    assert take_results(given["study"], "smoke", here, results) == []


def test_what_needs_a_model_that_stayed_there_says_so(given: dict[str, Any], tmp_path: Path):
    here = tmp_path / "out"
    take_results(given["study"], "smoke", here, given["folder"] / "results", given["cohort"])
    cell = plan_study(load_study(given["study"]), "smoke", here)[0].maker
    job = Job("no-t1", JobSettings(cell="both", without=["t1"], missing="zeros"), cell, {})
    with pytest.raises(ModelError, match=r"its numbers were imported alone(.|\n)*remove "):
        run_job(job, read_cohort(given["cohort"]))


def test_numbers_of_other_settings_are_refused(given: dict[str, Any], tmp_path: Path):
    cells = {**given["data"]["cells"], "both": {"set": ["train.batch_size=4"]}}
    study = write_study(tmp_path, given["data"] | {"cells": cells})
    with pytest.raises(RecipeError, match=r"other settings(.|\n)*train.batch_size: 8\n(.|\n)*train.batch_size: 4"):
        take_results(study, "smoke", tmp_path / "out", given["folder"] / "results", given["cohort"])
    jobs = {"no-t2": {**given["data"]["jobs"]["no-t2"], "without": ["t1"]}}
    study = write_study(tmp_path, given["data"] | {"jobs": jobs})
    with pytest.raises(RecipeError, match=r"both/no-t2 was measured with other settings(.|\n)*job: "):
        take_results(study, "smoke", tmp_path / "out", given["folder"] / "results", given["cohort"])
    study = write_study(tmp_path, given["data"] | {"name": "other"})
    with pytest.raises(RecipeError, match="does not have"):
        take_results(study, "smoke", tmp_path / "out", given["folder"] / "results", given["cohort"])
    assert not State.of(tmp_path / "out" / "runs" / "both").is_done


def test_numbers_of_other_scans_or_patients_are_refused(given: dict[str, Any], tmp_path: Path):
    results = given["folder"] / "results"
    table = given["folder"] / "other.csv"  # beside its scans
    table.write_text(given["cohort"].read_text().replace(",test,", ",val,", 1))
    with pytest.raises(CohortError, match="other patients, or on another split"):
        take_results(given["study"], "smoke", tmp_path / "out", results, table)
    moved = study_cohort(tmp_path / "moved")
    assert take_results(given["study"], "smoke", tmp_path / "same", results, moved)
    scan = read_cohort(moved).rows[0].files["t1"]
    write_scan(1.1 * read_image(scan), scan)
    with pytest.raises(CohortError, match=r"other scans of the same names(.|\n)*t1: mean and SD"):
        take_results(given["study"], "smoke", tmp_path / "out", results, moved)


def read_image(path: Path) -> Any:
    return nib.load(path).get_fdata()


def test_damaged_and_missing_files_are_told(given: dict[str, Any], tmp_path: Path):
    with pytest.raises(InputError, match="holds no results"):
        take_results(given["study"], "smoke", tmp_path / "out", tmp_path, given["cohort"])
    folder = tmp_path / "results"
    shutil.copytree(given["folder"] / "results", folder)
    content = json.loads((folder / "both.json").read_text())
    content["series"][0]["values"] = {"case": ["much", 3]}
    (folder / "both.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a study result that mrsynth wrote"):
        take_results(given["study"], "smoke", tmp_path / "out", folder, given["cohort"])


def test_a_perfect_match_and_where_weights_lie_survive(given: dict[str, Any]):
    record = ResultRecord.read(given["files"][0])
    inf = record.series[0].model_copy(update={"values": {"a": ("inf", 3)}})
    assert _records([inf])[0].value == float("inf")
    one, other = (load_recipe("li2022", [f"net.weights={place}/resnet.pth"]) for place in ("/here", "/there"))
    assert settings_of(one) == settings_of(other)


def test_the_command_line_plans_gives_and_takes(given: dict[str, Any], tmp_path: Path):
    """What is left is planned before and after the numbers of another machine; nothing is trained."""

    def reproduced(*words: str) -> str:
        out = ["--scale", "smoke", "-o", str(tmp_path / "out"), "--cohort", str(given["cohort"]), "--quiet"]
        found = CliRunner().invoke(app, ["reproduce", str(given["study"]), *out, *words], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    before = reproduced("--plan")
    assert "| both | not run |" in before
    assert "| t1 | not run |" in before
    assert not (tmp_path / "out").exists()
    taken = reproduced("--import-results", str(given["folder"] / "results"))
    assert "Taken: both, both/no-t2." in taken
    assert (given["folder"] / "out" / "tables" / "table1.md").read_text() in taken
    after = reproduced("--plan")
    assert "| both | done |" in after
    assert "| t1 | not run |" in after
    assert "2 results are in" in reproduced("--export-results", str(tmp_path / "again"))
    assert "Taken: nothing new." in reproduced("--import-results", str(tmp_path / "again"))
