"""Two verbs in one folder: the second is refused in words, or both write what the other leaves alone."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mrsynth.core.errors import OutputError
from mrsynth.core.locks import LOCK, writing, writing_file
from mrsynth.io import read_cohort
from mrsynth.synthesize.run import synthesize_cohort
from world import OUTPUTS, VERBS, WHOLE

ALL = {**VERBS, **WHOLE}


@pytest.fixture(scope="module")
def place(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "w"
    shutil.copytree(world, folder)
    return folder


def held(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and LOCK not in p.name}


@contextmanager
def another(lock: AbstractContextManager[None]) -> Iterator[None]:
    """Let another writer hold a lock during the block."""
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            begun.set()
            ended.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(30)
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ["simulate", "prepare", "train", "evaluate", *WHOLE])
def test_of_two_writers_the_second_is_refused_and_nothing_is_lost(place: Path, first: str, second: str):
    folder = place / OUTPUTS[second]
    before = held(folder)
    refused = pytest.raises(OutputError, match=f"is being written by mrsynth {first}")
    with another(writing(folder, first)), refused:
        ALL[second](place)
    assert held(folder) == before


def test_of_two_reports_on_one_page_the_second_is_refused(place: Path):
    before = held(place / "run")
    refused = pytest.raises(OutputError, match="is being written by mrsynth report")
    with another(writing_file(place / "run" / "report.html", "report")), refused:
        VERBS["report"](place)
    assert held(place / "run") == before


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ["synthesize", "report"])
def test_pages_and_predictions_are_added_while_others_write_beside_them(place: Path, first: str, second: str):
    before = held(place / "run")
    with another(writing(place / "run", first)):
        VERBS[second](place)
    assert set(held(place / "run")) == set(before)


def test_two_that_predict_other_cases_into_one_folder_both_stand_in_its_list(place: Path):
    out, cohort = place / "both", read_cohort(place / "cohort.csv")
    with ThreadPoolExecutor(2) as pool:
        splits = [pool.submit(synthesize_cohort, place / "run", cohort, out, split=s) for s in ("train", "test")]
        made = [case for one in splits for case in one.result()[0]]
    listed = json.loads((out / "predictions.json").read_text())
    assert len(made) == len(list(out.glob("*.nii.gz"))) == 4
    assert all(case in json.dumps(listed) for case in made)
