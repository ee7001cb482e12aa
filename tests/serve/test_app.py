"""The page's addresses: from scans to the image, and what is refused."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
import pytest

from mrsynth.io.synthetic import why_synthetic
from mrsynth.serve.visits import Visits
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_files
from served import serving
from tiny_contrasts import save_any_run
from tiny_run import dicom_study


@pytest.fixture
def client(runs: dict[str, Path], tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(runs, Visits(tmp_path / "visits", 60)) as address, httpx.Client(base_url=address) as found:
        yield found


def visit_with(client: httpx.Client, *files: Path, name: str | None = None) -> tuple[str, list[dict[str, Any]]]:
    visit = client.post("/visits").json()["visit"]
    for file in files:
        sent = client.put(f"/visits/{visit}/files", params={"file": name or file.name}, content=file.read_bytes())
        assert sent.status_code == 200, sent.text
    found = client.post(f"/visits/{visit}/recognise")
    assert found.status_code == 200, found.text
    return visit, found.json()["images"]


def made(client: httpx.Client, visit: str, model: str, contrasts: dict[int, str]) -> dict[str, Any]:
    begun = client.post(f"/visits/{visit}/make", json={"model": model, "contrasts": contrasts})
    assert begun.status_code == 200, begun.text
    end = time.monotonic() + 60
    while time.monotonic() < end:
        now = client.get(f"/visits/{visit}").json()
        if now["state"] in ("done", "failed"):
            return now
        time.sleep(0.05)
    raise AssertionError("no image within a minute")


def test_a_scan_becomes_the_image_of_the_command_line(
    client: httpx.Client, scan: Path, runs: dict[str, Path], tmp_path: Path
):
    visit, images = visit_with(client, scan)
    assert [image["contrast"] for image in images] == ["t1"]
    assert images[0]["reason"]
    assert str(tmp_path) not in str(images)
    why = client.post(f"/visits/{visit}/targets", json={"contrasts": {0: "t1"}}).json()
    assert why["t1-t2"] == ""
    assert "t2 is missing" in why["both"]
    assert made(client, visit, "t1-t2", {0: "t1"})["state"] == "done"
    (tmp_path / "page.nii.gz").write_bytes(client.get(f"/visits/{visit}/result.nii.gz").content)
    synthesize_files(runs["t1-t2"], {"t1": scan}, tmp_path / "own.nii.gz")
    page, own = (np.asarray(nib.load(tmp_path / name).dataobj) for name in ("page.nii.gz", "own.nii.gz"))
    assert page.tobytes() == own.tobytes()
    assert why_synthetic(tmp_path / "page.nii.gz")
    assert "SYNTHETIC" in client.get(f"/visits/{visit}/view/viewer.html").text
    assert client.get(f"/visits/{visit}/view/image.js").text.startswith("show(")
    assert client.get(f"/visits/{visit}/result-dicom.zip").status_code == 404


def test_a_model_of_any_contrast_offers_each_that_is_not_there(scan: Path, tmp_path: Path):
    run = save_any_run(tmp_path / "any", refused={"t1-flair": "A rival does better."})
    with (
        serving({"any": run}, Visits(tmp_path / "visits", 60)) as address,
        httpx.Client(base_url=address) as client,
    ):
        assert "any: t2" in client.get("/").text
        visit, _ = visit_with(client, scan)
        why = client.post(f"/visits/{visit}/targets", json={"contrasts": {0: "t1"}}).json()
        assert why["any: t2"] == ""
        assert why["any: t1"]
        assert "A rival does better." in why["any: flair"]
        assert made(client, visit, "any: t2", {0: "t1"})["state"] == "done"
        (tmp_path / "page.nii.gz").write_bytes(client.get(f"/visits/{visit}/result.nii.gz").content)
        assert "t2" in client.get(f"/visits/{visit}/view/viewer.html").text
    synthesize_files(run, {"t1": scan}, tmp_path / "own.nii.gz", Place(targets=("t2",)))
    page, own = (np.asarray(nib.load(tmp_path / name).dataobj) for name in ("page.nii.gz", "own.nii.gz"))
    assert page.tobytes() == own.tobytes()


def test_a_zipped_study_comes_back_as_dicom(client: httpx.Client, tmp_path: Path):
    study = dicom_study(tmp_path / "study")
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(study.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(tmp_path))
    visit, images = visit_with(client, archive)
    now = made(client, visit, "t1-t2", {images[0]["number"]: "t1"})
    assert now["state"] == "done", now
    assert now["dicom"]
    content = client.get(f"/visits/{visit}/result-dicom.zip").content
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert len(names) == len([path for path in study.rglob("*") if path.is_file()])


def test_a_visit_that_has_ended_leaves_nothing(client: httpx.Client, scan: Path, tmp_path: Path):
    visit, _ = visit_with(client, scan)
    assert any((tmp_path / "visits").rglob("*.nii.gz"))
    client.delete(f"/visits/{visit}")
    assert not any((tmp_path / "visits").iterdir())
    assert client.get(f"/visits/{visit}").status_code == 404


def test_visits_that_nobody_asks_for_end(runs: dict[str, Path], tmp_path: Path):
    visits = Visits(tmp_path, keep_s=0.05)
    visit = visits.begin()
    (visit.scans / "a").write_text("a")
    time.sleep(0.1)
    visits.forget_old()
    assert not any(tmp_path.iterdir())
    with pytest.raises(KeyError):
        visits.get(visit.name)


def test_a_failure_is_a_sentence_without_paths(client: httpx.Client, scan: Path, tmp_path: Path):
    visit, _ = visit_with(client, scan)
    now = made(client, visit, "both", {0: "t1"})
    assert now["state"] == "failed"
    assert "t2 is missing" in now["words"]
    assert str(tmp_path) not in now["words"]


def test_what_is_too_large_or_called_wrongly_is_refused(runs: dict[str, Path], tmp_path: Path, scan: Path):
    with serving(runs, Visits(tmp_path / "v", 60), 1000) as here, httpx.Client(base_url=here) as client:
        visit = client.post("/visits").json()["visit"]
        address = f"/visits/{visit}/files"

        def chunks() -> Iterator[bytes]:
            for _ in range(20):
                yield bytes(100)

        for content in (bytes(2000), chunks()):  # told beforehand, and not
            refused = client.put(address, params={"file": "a.nii"}, content=content)
            assert refused.status_code == 422
            assert "too large" in refused.json()["error"]
        refused = client.put(address, params={"file": "../a.nii"}, content=b"x")
        assert "a name that is not taken" in refused.json()["error"]
        assert not [path for path in (tmp_path / "v").rglob("*") if path.is_file()]


def test_other_pages_and_other_names_are_refused(client: httpx.Client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.post("/visits", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/").status_code == 200


def test_a_token_is_asked_for(runs: dict[str, Path], tmp_path: Path):
    visits = Visits(tmp_path / "v", 60)
    with serving(runs, visits, token="secret") as here, httpx.Client(base_url=here) as client:
        assert client.get("/").status_code == 403
        assert client.post("/visits").status_code == 403
        assert client.get("/", params={"token": "secret"}).status_code == 200
        assert client.post("/visits").status_code == 200  # the cookie


def test_words_of_strangers_are_text(client: httpx.Client, scan: Path):
    page = client.get("/").text
    assert "innerHTML" not in page
    visit = client.post("/visits").json()["visit"]
    refused = client.put(f"/visits/{visit}/files", params={"file": "<b>.nii.gz"}, content=scan.read_bytes())
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/json"
