from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from mrsynth.core.errors import InputError
from mrsynth.io.walk import list_files


def test_folders_and_files_without_permission_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t1.nii").touch()
    (tmp_path / "open" / "t2.nii").touch()
    scan, stat = os.scandir, Path.stat

    def scandir(path: Any) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    def closed(path: Path, **more: Any) -> os.stat_result:
        if path.name == "t2.nii":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "stat", closed)
    files, ignored = list_files(tmp_path)
    assert files == [tmp_path / "open" / "t1.nii"]
    assert {(i.path.name, i.reason) for i in ignored} == {
        ("closed", "cannot be read (Permission denied)"),
        ("t2.nii", "cannot be read (Permission denied)"),
    }


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, kind in (
        ("file", "a file"),
        ("pipe", "a pipe or device"),
        ("none", "nothing there"),
        ("file/x", "nothing there"),
        ("x" * 300, "file name too long"),
        ("a\0b", "no path"),
    ):
        with pytest.raises(InputError, match="is not a folder") as caught:
            list_files(tmp_path / name)
        assert caught.value.found == kind
