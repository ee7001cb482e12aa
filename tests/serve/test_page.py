"""The page in a browser: a zipped study in, the viewer and a DICOM series out; words of strangers stay words."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from browser import browsing
from mrsynth.serve.visits import Visits
from served import serving
from tiny_run import dicom_study

EVIL = "t1 <img src=x onerror=alert(1)> tra"


def test_a_visitor_gets_the_image_and_leaves_nothing(runs: dict[str, Path], tmp_path: Path):
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    study = dicom_study(tmp_path / "study", SeriesDescription=EVIL, PatientName="<script>alert(2)</script>")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as packed:
        for path in study.rglob("*"):
            if path.is_file():
                packed.write(path, path.relative_to(tmp_path))
    visits = Visits(tmp_path / "visits", 600)
    with browsing(tmp_path / "profile") as browser, serving(runs, visits) as address:
        browser.open(f"{address}/")
        browser.wait("document.readyState === 'complete' && Boolean(document.getElementById('files'))")
        browser.choose_files("#files", [tmp_path / "study.zip"])
        browser.wait("!document.getElementById('begin').disabled")
        assert EVIL in browser.value("document.getElementById('images').innerText")  # as text
        assert browser.value("document.querySelectorAll('#images img').length") == 0
        able = browser.value("[...document.querySelectorAll('#targets input')].map(i => i.disabled)")
        assert able == [False, True]
        browser.value("document.getElementById('begin').click()")
        browser.wait("!document.getElementById('result').hidden")
        assert "SYNTHETIC" in browser.value("document.getElementById('result').innerText")
        browser.wait("document.getElementById('viewer').contentDocument?.body?.dataset.ready")
        tiles = browser.value("document.getElementById('viewer').contentDocument.getElementById('tiles').innerText")
        assert "SYNTHETIC" in tiles
        got = browser.value(
            "Promise.all(['nifti', 'dicom'].map(id => fetch(document.getElementById(id).href)"
            ".then(a => a.arrayBuffer()).then(b => Array.from(new Uint8Array(b.slice(0, 2))))))"
        )
        assert got == [[0x1F, 0x8B], [0x50, 0x4B]]
        browser.value("document.getElementById('end').click()")
        browser.wait("document.getElementById('result').hidden")
        end = time.monotonic() + 20
        while any(visits.folder.iterdir()) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(visits.folder.iterdir())
        assert not browser.messages
