"""The hook that keeps scans out of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.refuse_files import refusals

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["a.nii", "P7/T1.NII.GZ", "x.dcm", "ct.mha", "cases/0/t1.b2nd"])
def test_images_are_refused_whatever_they_hold(name):
    assert refusals([Path(name)]) == [f"{name} is an image. Scans, and anything cut from them, are never committed."]


def test_large_files_are_refused_but_for_the_phantoms_maps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assets = Path("src/mrsynth/phantom/assets")
    assets.mkdir(parents=True)
    for path, size in ((Path("small"), 500_000), (Path("large"), 500_001), (assets / "maps.npz", 600_000)):
        path.write_bytes(bytes(size))
    assert refusals([Path("small"), assets / "maps.npz"]) == []
    assert refusals([Path("large")]) == ["large has 500001 bytes; a file may have 500000."]


def test_what_is_committed_today_passes():
    ignored = {"__pycache__", ".git", ".venv", "site"}
    files = [p.relative_to(ROOT) for room in ("src", "docs", "tests", "benchmarks") for p in (ROOT / room).rglob("*")]
    assert refusals([p for p in files if not ignored & set(p.parts)]) == []
