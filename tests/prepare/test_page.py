"""The page of a prepared cohort: every case on it, flagged ones first, and damage named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.files import remove
from mrsynth.index.run import index
from mrsynth.io import read_cohort, read_image, write_image
from mrsynth.prepare.page import build_qc
from mrsynth.prepare.pictures import Snapshots
from mrsynth.prepare.run import Prepared, prepare
from mrsynth.recipes.recipe import load_recipe
from tiny import tiny_recipe, tiny_scans


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    index(tiny_scans(tmp_path / "scans", 3), tmp_path / "cohort.csv")
    broken = next((tmp_path / "scans").glob("*-00001-*/*t2w.nii.gz"))
    broken.write_bytes(broken.read_bytes()[:100])
    recipe = load_recipe(str(tiny_recipe(tmp_path)))
    done = prepare(read_cohort(tmp_path / "cohort.csv"), recipe, tmp_path / "prepared")
    assert len(done.failed) == 1
    return tmp_path / "prepared"


def test_flags_come_first_and_failures_before_them(prepared: Path):
    place = prepared / "qc" / "BraTS-GLI-00002-000" / "facts.json"
    facts = json.loads(place.read_text())
    place.write_text(json.dumps({**facts, "flags": ["<b>Something</b> is odd.", "And this.", "And that."]}))
    page = build_qc(prepared).read_text()
    failed, flagged, sound = (page.index(f"<h3>BraTS-GLI-0000{n}-000") for n in (1, 2, 0))
    assert failed < flagged < sound
    assert "&lt;b&gt;Something&lt;/b&gt; is odd." in page
    assert "1 could not be" in page
    assert "cut off" in page or "damaged" in page


def test_pictures_that_are_gone_are_said_to_be(prepared: Path):
    remove(prepared / "qc" / "BraTS-GLI-00002-000")
    assert "No pictures were kept of this case." in build_qc(prepared).read_text()


def again(prepared: Path) -> Prepared:
    recipe = load_recipe(str(prepared.parent / "tiny.yaml"))
    return prepare(read_cohort(prepared.parent / "cohort.csv"), recipe, prepared)


def test_a_later_run_makes_the_pictures_that_are_missing_and_keeps_the_case(prepared: Path):
    before = {path: path.stat().st_mtime_ns for path in prepared.glob("cases/*/*")}
    pictures = prepared / "qc" / "BraTS-GLI-00002-000"
    facts = (pictures / "facts.json").read_bytes()
    remove(pictures)
    done = again(prepared)
    assert done.made == ()
    assert (pictures / "facts.json").read_bytes() == facts
    assert {path: path.stat().st_mtime_ns for path in prepared.glob("cases/*/*")} == before
    assert "No pictures were kept" not in done.page.read_text()


def test_a_case_whose_pictures_cannot_be_made_again_is_kept(prepared: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*args: object, **options: object) -> None:
        raise InputError("hd-bet is not installed.")

    before = {path: path.read_bytes() for path in prepared.glob("cases/*/*")}
    remove(prepared / "qc" / "BraTS-GLI-00002-000")
    monkeypatch.setattr("mrsynth.prepare.run.run_steps", fails)
    done = again(prepared)
    assert done.made == ()
    assert "BraTS-GLI-00002-000" in done.unchanged
    assert {path: path.read_bytes() for path in prepared.glob("cases/*/*")} == before
    assert "No pictures were kept of this case." in done.page.read_text()


def test_killed_between_case_and_pictures_no_old_pictures_stay(prepared: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    name = "BraTS-GLI-00002-000"
    scan = next((prepared.parent / "scans" / name).glob("*t1n.nii.gz"))
    image = read_image(scan, "t1")
    write_image(image.with_data(image.data**1.5), scan)
    old = (prepared / "qc" / name / "pictures.npz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            again(prepared)
    assert name in again(prepared).unchanged
    assert (prepared / "qc" / name / "pictures.npz").read_bytes() != old


@pytest.mark.parametrize("name", ["facts.json", "pictures.npz"])
def test_damaged_pictures_are_named(prepared: Path, name: str):
    path = prepared / "qc" / "BraTS-GLI-00002-000" / name
    for damaged in (path.read_bytes()[:-20], b"{"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            build_qc(prepared)
