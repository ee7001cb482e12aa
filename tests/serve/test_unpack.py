"""What strangers pack: names that lead out, links, bombs and lies are refused."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import InputError
from mrsynth.serve import unpack as module
from mrsynth.serve.unpack import place_of, unpack


def packed(path: Path, *names: str, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


def test_a_study_is_unpacked_as_it_was_packed(tmp_path: Path):
    unpack(packed(tmp_path / "a.zip", "study/s1/1.dcm", "study/s1/2.dcm"), tmp_path / "out", 100)
    assert sorted(p.name for p in (tmp_path / "out" / "study" / "s1").iterdir()) == ["1.dcm", "2.dcm"]


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "..\\x", "C:\\x", "a/" * 40 + "x", ".hidden", "a\x1b[2J"]
)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="a name that is not taken"):
        unpack(packed(tmp_path / "a.zip", name), tmp_path / "out", 100)
    assert [p.name for p in tmp_path.iterdir() if p.name != "out"] == ["a.zip"]


@given(st.text(max_size=60))
def test_no_name_leads_out(name: str):
    folder = Path("/visit/scans")
    try:
        path = place_of(folder, name)
    except InputError:
        return
    assert folder in path.parents
    assert ".." not in path.parts


def test_a_link_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("scan.nii.gz")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="holds a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", 100)


def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path):
    bomb = packed(tmp_path / "a.zip", "zeros", content=bytes(1 << 22))
    assert bomb.stat().st_size < 1 << 14
    with pytest.raises(InputError, match="too large"):
        unpack(bomb, tmp_path / "out", 1 << 20)
    assert not (tmp_path / "out").exists()


def test_an_archive_that_lies_about_its_size_is_stopped(tmp_path: Path):
    """The directory says 10 bytes; what comes is 4 MiB."""
    path = packed(tmp_path / "a.zip", "zeros", content=bytes(1 << 22))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 10)
    path.write_bytes(content)
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out", 1 << 20)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 1 << 20


@pytest.mark.parametrize("at", range(35, 75, 4))
def test_a_damaged_archive_gets_a_sentence(tmp_path: Path, at: int):
    path = packed(tmp_path / "a.zip", "scan", content=bytes(range(256)) * 3)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out", 1 << 20)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]):
    with pytest.raises(InputError, match="have one name"):
        unpack(packed(tmp_path / "a.zip", *names), tmp_path / "out", 100)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_FILES", 3)
    with pytest.raises(InputError, match="too many files"):
        unpack(packed(tmp_path / "a.zip", *"abcd"), tmp_path / "out", 100)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_gets_a_sentence_or_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "a.zip").write_bytes(content)
    if content.startswith(b"PK\x05"):  # an empty archive
        unpack(tmp_path / "a.zip", tmp_path / "out", 100)
    else:
        with pytest.raises(InputError, match="cannot be unpacked"):
            unpack(tmp_path / "a.zip", tmp_path / "out", 100)
