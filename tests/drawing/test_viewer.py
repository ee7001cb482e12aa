"""The viewer: what its scripts hold, and what a browser shows of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from browser import Browser, browsing
from mrsynth.drawing.templates import ASSETS
from mrsynth.drawing.viewer import Shown, write_case, write_viewer

AFFINE = np.array([[2.0, 0, 0, -40], [0, 2, 0, -50], [0, 0, 2, -30], [0, 0, 0, 1]])
GOLDEN = Path(__file__).parent / "viewer.png"


def head(bright: float) -> np.ndarray:
    """An ellipsoid with a dark ventricle and a spot on the patient's left."""
    x, y, z = np.indices((40, 50, 36))
    inside = ((x - 20) / 15) ** 2 + ((y - 25) / 20) ** 2 + ((z - 18) / 14) ** 2 < 1
    spot = (x - 12) ** 2 + (y - 30) ** 2 + (z - 20) ** 2 < 16
    return inside * (0.5 + 0.004 * y) + spot * bright


def shown(kind: str, label: str, data: np.ndarray, dose: float | None = None) -> Shown:
    return Shown(kind, label, data, AFFINE, (0, 1), (0, 0.9), dose)  # type: ignore[arg-type]


def scene(folder: Path, *cases: str) -> Path:
    for case in cases:
        doses = [shown("synthetic", "T1CE", head(0.1 * k), 0.1 * k) for k in (1, 2, 3)]
        synthetic = doses if case == "doses" else [shown("synthetic", "T2", head(0.2))]
        truth = shown("truth", "T2", head(0.3))
        write_case(folder, case, [shown("input", "T1", 0.8 * head(0)), *synthetic, truth])
    write_viewer(folder, "Tiny", cases)
    return folder / "viewer.html"


def test_a_script_holds_what_a_nifti_reader_reads(tmp_path: Path):
    data = head(0.3)
    path = write_case(tmp_path, "a", [shown("truth", "T2", data)])
    content = json.loads(re.fullmatch(r"show\((.*)\);\n", path.read_text())[1])  # type: ignore[index]
    packed = gzip.decompress(base64.b64decode(content["volumes"][0]["nii"]))
    image = nib.Nifti1Image.from_bytes(packed)
    found = np.asarray(image.dataobj)
    there = np.argwhere(data > 0)
    box = tuple(slice(low - 1, high + 2) for low, high in zip(there.min(0), there.max(0), strict=True))
    np.testing.assert_allclose(found, data[box], atol=0.5 / 255 + 1e-6)
    # The voxel that was cut to stands where it stood.
    corner = image.affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner, AFFINE @ [*(part.start for part in box), 1])


def test_words_of_strangers_are_no_program(tmp_path: Path):
    evil = "</script><script>alert(1)</script>"
    path = write_case(tmp_path, "a", [shown("truth", evil, head(0))])
    write_viewer(tmp_path, evil, ["a", evil, "../b"])
    assert "</script>" not in path.read_text()
    page = (tmp_path / "viewer.html").read_text()
    assert evil not in page
    assert page.count("</script>") == 3  # NiiVue, the cases, the viewer


def test_only_cases_with_a_script_are_offered(tmp_path: Path):
    assert write_viewer(tmp_path, "Tiny", ["a"]) == {}
    assert not (tmp_path / "viewer.html").exists()
    write_case(tmp_path, "Müller & 1", [shown("truth", "T2", head(0))])
    assert write_viewer(tmp_path, "Tiny", ["a", "Müller & 1"]) == {
        "Müller & 1": "viewer.html?case=M%C3%BCller%20%26%201"
    }


def test_the_vendored_file_is_the_one_whose_hash_stands_beside_it():
    content = (ASSETS / "niivue-1.0.0-rc.9.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (ASSETS / "LICENSE-niivue.txt").read_text(encoding="utf-8")
    assert len(content) <= 900_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("viewer")
    return scene(folder, "doses", "plain & b"), folder


def test_a_browser_shows_linked_images_from_disk(page: tuple[Path, Path]):
    path, folder = page
    with browsing(folder / "profile") as browser:
        browser.open(path.as_uri() + "?case=plain%20%26%20b")
        browser.wait("document.body.dataset.ready")
        assert not browser.messages
        assert all(address.startswith(("file:", "data:")) for address in browser.asked)
        marks = "[...document.querySelectorAll('.tile')].map(t => t.innerText.trim().replace(/\\s+/g, ' '))"
        tiles = browser.value(marks)
        assert [tile.split(" ")[0] for tile in tiles] == ["T1", "SYNTHETIC", "Truth", "SYNTHETIC"]
        _shows_the_head(browser, folder)
        _cross_moves_everywhere(browser)
        _mouse_sets_the_window_of_all(browser)
        browser.open(path.as_uri() + "?case=doses")
        browser.wait("location.search.includes('doses') && document.body.dataset.ready")
        _dose_changes_the_image(browser)


def _shows_the_head(browser: Browser, folder: Path) -> None:
    """The page looks as it looked when somebody last looked at it; fonts and shading may differ a little."""
    browser.value("new Promise(done => setTimeout(done, 500))")
    picture = Image.fromarray(browser.picture()).convert("L").resize((150, 100), Image.Resampling.BOX)
    picture.save(folder / "seen.png")
    found, expected = np.asarray(picture, float), np.asarray(Image.open(GOLDEN), float)
    told = f"look at the page; if it is right, {folder / 'seen.png'} takes the place of {GOLDEN.name}"
    assert np.abs(found - expected).mean() < 4, told
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97, told


def _cross_moves_everywhere(browser: Browser) -> None:
    box = browser.value(
        "(() => { const r = VIEWERS[0].canvas.getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()"
    )
    before = browser.value("VIEWERS.map(v => Array.from(v.crosshairPos))")
    x, y = box[0] + 0.15 * box[2], box[1] + 0.42 * box[3]
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
    near = "v => Array.from(v.crosshairPos).every((c, k) => Math.abs(c - VIEWERS[0].crosshairPos[k]) < 1e-3)"
    browser.wait(
        f"String(Array.from(VIEWERS[0].crosshairPos)) !== '{','.join(map(str, before[0]))}' && VIEWERS.every({near})"
    )


def _mouse_sets_the_window_of_all(browser: Browser) -> None:
    windows = "VIEWERS.map(v => [v.volumes[0].calMin, v.volumes[0].calMax])"
    box = browser.value(
        "(() => { const r = VIEWERS[1].canvas.getBoundingClientRect(); return [r.x, r.y, r.width, r.height] })()"
    )
    before = browser.value(windows)
    x, y = box[0] + 0.2 * box[2], box[1] + 0.4 * box[3]
    browser.mouse("mousePressed", x, y, button="right", buttons=2, clickCount=1)
    for step in range(1, 6):
        browser.mouse("mouseMoved", x + 8 * step, y + 10 * step, button="right", buttons=2)
    browser.mouse("mouseReleased", x + 40, y + 50, button="right", clickCount=1)
    moved = f"VIEWERS[1].volumes[0].calMax !== {before[1][1]}"
    shared = "[2, 3].every(k => VIEWERS[k].volumes[0].calMax === VIEWERS[1].volumes[0].calMax)"
    browser.wait(f"{moved} && {shared}")  # truth and the image under the difference
    after = browser.value(windows)
    assert after[2] == after[3] == after[1]
    assert after[0] == before[0]  # an input has its own


def _dose_changes_the_image(browser: Browser) -> None:
    mean = (
        "(() => { const v = VIEWERS[1].volumes[0].img; let s = 0; for (const g of v) s += g; return s / v.length })()"
    )
    first = browser.value(mean)
    browser.value("(() => { const d = document.getElementById('dose'); d.value = 2; return changeDose() })()")
    assert browser.value(mean) > first
    assert "dose 0.3" in browser.value("document.querySelectorAll('.tile')[1].innerText").replace(
        "0.30000000000000004", "0.3"
    )
