"""What others say of a DICOM file: the standard's own tables, and programs of other makers where they are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

UNKNOWN_TO_DCIODVFY = "(0x0008,0x001c)"
"""SyntheticData: younger than the tool."""


def iod_problems(data: Dataset) -> list[str]:
    """Return what the tables of the standard that highdicom ships find wrong: attributes of type 1 or 2 that are
    missing or empty, and attributes that the object does not have."""
    iod, modules, attributes = _tables(data.SOPClassUID)
    present, allowed, problems = {element.keyword for element in data}, set(), []
    for module in modules:
        for attribute in attributes[module["key"]]:
            if attribute["path"]:
                continue
            keyword, kind = attribute["keyword"], attribute["type"]
            allowed.add(keyword)
            if module["usage"] == "M" and kind in ("1", "2") and keyword not in present:
                problems.append(f"{keyword} (type {kind}) is missing")
            if kind == "1" and keyword in present and data[keyword].is_empty:
                problems.append(f"{keyword} (type 1) is empty")
    return problems + [f"{keyword} is not of {iod}" for keyword in sorted(present - allowed)]


@cache
def _tables(sop_class: str) -> tuple[str, list[dict[str, str]], dict[str, list[dict[str, object]]]]:
    highdicom = pytest.importorskip("highdicom", reason="highdicom, whose tables are looked at, is not installed")
    folder = Path(highdicom.__file__).parent / "_standard"
    iod = json.loads((folder / "sop_class_iod_map.json").read_text())[sop_class]
    modules = json.loads((folder / "iod_module_map.json").read_text())[iod]
    return iod, modules, json.loads((folder / "module_attribute_map.json").read_text())


def dciodvfy_errors(path: Path) -> list[str]:
    """Return the errors that dciodvfy (dicom3tools) finds, but for that of the attribute it is too old to know."""
    said = run(["dciodvfy", str(path)]).stderr
    return [line for line in said.splitlines() if line.startswith("Error") and UNKNOWN_TO_DCIODVFY not in line]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program of another maker; skip the test where it is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)


def read(path: Path) -> Dataset:
    return pydicom.dcmread(path)
