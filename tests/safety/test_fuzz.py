"""Damage: no file that a verb reads, however it is changed, ends in a traceback, takes long or takes much memory.

MRSYNTH_MUTANTS=20000 for the nightly run; 2000 by default.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import pkgutil
import random
import resource
import shutil
import time
import types
import typing
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from annotated_types import MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import mrsynth
from mrsynth.core.errors import MrsynthError
from mrsynth.core.records import KEY, Record
from mrsynth.core.yaml import read_yaml
from mrsynth.io import PreparedCohort, read_cohort, read_image
from mrsynth.io.arrays import read_arrays
from mrsynth.prepare.facts import read_qc
from mrsynth.recipes.recipe import load_recipe

MUTANTS = int(os.environ.get("MRSYNTH_MUTANTS", "2000"))
HANG_S, MEMORY_KIB = 10.0, 1 << 20

ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**30, -0.0, "", "x" * 10_000, "../../x", "/etc/passwd", "a\0b", "\ud800", [], {},
    [[[[[[]]]]]], {"": {"": None}}, [0] * 1000, float("nan"), float("inf"), "2020-13-45", {"a": 1},
]  # fmt: skip


def modules() -> Iterator[types.ModuleType]:
    for found in pkgutil.walk_packages(mrsynth.__path__, "mrsynth."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def kinds() -> list[type[Record]]:
    """Every kind of record in the code, by introspection: those that name themselves."""
    list(modules())
    found, left = [], [Record]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if "RECORD" in vars(kind) and kind.__module__.startswith("mrsynth."):
            found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def least_items(field: FieldInfo) -> int:
    return max((limit.min_length for limit in field.metadata if isinstance(limit, MinLen)), default=0)


def sample(annotation: Any, items: int = 0) -> Any:
    """Return the least value of a type, lists with so many items: for kinds of records that the small world lacks."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return sample(inside[0])
    if origin is typing.Literal:
        return inside[0]
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in inside else sample(inside[0])
    if origin is tuple and Ellipsis not in inside:
        return tuple(map(sample, inside))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        required = {n: f for n, f in annotation.model_fields.items() if f.is_required()}
        return {name: sample(f.annotation, least_items(f)) for name, f in required.items()}
    if origin is list:
        return [sample(inside[0])] * items
    return {str: "a", int: 1, float: 1.0, bool: True}.get(annotation) if origin is None else origin()


def contents(world: Path) -> dict[type[Record], bytes]:
    """Return the bytes of a file of each kind of record, made by a verb where there is one."""
    held: dict[str, bytes] = {}
    for path in sorted(world.rglob("*.json")):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and isinstance(content.get(KEY), dict):
            held.setdefault(content[KEY]["record"], path.read_bytes())
    found = {}
    for kind in kinds():
        if kind.RECORD in held:
            found[kind] = held[kind.RECORD]
        else:
            found[kind] = kind.model_validate(sample(kind)).text().encode()
    return found


def mutant(content: bytes, chance: random.Random) -> bytes:
    """Return a file's bytes, damaged: bits, lengths, or, of JSON, its keys, types, numbers and depth."""
    way = chance.randrange(8)
    if way < 4:
        return damaged(content, chance, way)
    try:
        value = json.loads(content)
    except ValueError:
        return damaged(content, chance, way % 4)
    if way == 7 and chance.random() < 0.2:
        return content[:-2] + b', "deep": ' + b"[" * 100_000
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        place, key = chance.choice(list(places(value)))
        change = chance.randrange(3)
        if change == 0:
            del place[key]
        elif change == 1 and isinstance(place, dict):
            place[f"{key}x"] = place[key]
        else:
            place[key] = copy.deepcopy(chance.choice(ODD))  # never one that lies within itself
        if not list(places(value)):
            break
    return json.dumps(value).encode()


def damaged(content: bytes, chance: random.Random, way: int) -> bytes:
    data, at = bytearray(content), chance.randrange(len(content) or 1)
    if way == 0 and data:
        data[at] ^= 1 << chance.randrange(8)
    elif way == 1:
        del data[at:]
    elif way == 2:
        data[at:at] = chance.randbytes(chance.randrange(1, 40))
    else:
        data[at : at + chance.randrange(200)] = b""
    return bytes(data)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


def survive(read: Callable[[], object], what: str) -> None:
    """Read a damaged file: a value or a sentence, soon."""
    began = time.monotonic()
    try:
        read()
    except MrsynthError:
        pass
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert time.monotonic() - began < HANG_S, what


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_every_kind_of_record_survives_every_damage(world: Path, tmp_path: Path):
    found, before = contents(world), peak_kib()
    each = -(-MUTANTS * 2 // (3 * len(found)))
    for kind, content in found.items():
        path = tmp_path / f"{kind.__name__}.json"
        for seed in range(each):
            changed = mutant(content, random.Random(seed * 31 + zlib.crc32(kind.__name__.encode())))
            path.write_bytes(changed)
            survive(lambda kind=kind, path=path: kind.read(path).text(), f"{kind.__name__} {seed}")
    assert peak_kib() - before < MEMORY_KIB


def copied(world: Path, tmp_path: Path, name: str) -> Path:
    shutil.copytree(world / name, tmp_path / name)
    return tmp_path / name


def readers(world: Path, tmp_path: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Return what reads each further kind of file: the file, and the reading."""
    prepared = copied(world, tmp_path, "prepared")
    case = next(iter(PreparedCohort.open(prepared).cases()))
    opened = PreparedCohort.open(prepared)
    scan = tmp_path / "t1.nii.gz"
    shutil.copy(next((world / "scans").rglob("*t1n.nii.gz")), scan)
    table, recipe = tmp_path / "cohort.csv", tmp_path / "tiny.yaml"
    shutil.copy(world / "cohort.csv", table)
    shutil.copy(world / "tiny.yaml", recipe)
    baselines = tmp_path / "baselines.npz"
    shutil.copy(world / "run" / "baselines.npz", baselines)

    def arrays() -> object:
        try:
            return read_arrays(baselines)
        except ValueError as error:
            raise MrsynthError(str(error)) from error

    return {
        "array": (prepared / "cases" / case / "t1.b2nd", lambda: opened.array(case, "t1")),
        "box": (prepared / "cases" / case / "t2.b2nd", lambda: opened.read(case, ["t2"], (0, 0, 0), (8, 8, 1))),
        "index": (prepared / "index.csv", lambda: PreparedCohort.open(prepared)),
        "pictures": (prepared / "qc" / case / "pictures.npz", lambda: read_qc(prepared / "qc" / case)),
        "scan": (scan, lambda: read_image(scan, "t1")),
        "table": (table, lambda: read_cohort(table)),
        "recipe": (recipe, lambda: load_recipe(str(recipe))),
        "yaml": (recipe, lambda: read_yaml(recipe)),
        "arrays": (baselines, arrays),
    }


def test_every_other_reader_survives_every_damage(world: Path, tmp_path: Path):
    found, before = readers(world, tmp_path), peak_kib()
    for name, (path, read) in found.items():
        content = path.read_bytes()
        each = 10 if name in ("recipe", "yaml") else -(-MUTANTS // (3 * len(found)))
        for seed in range(each * (1 + MUTANTS // 20_000)):
            path.write_bytes(mutant(content, random.Random(seed * 31 + zlib.crc32(name.encode()))))
            survive(read, f"{name} {seed}")
        path.write_bytes(content)
    assert peak_kib() - before < MEMORY_KIB


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_kind_of_record_says_what_it_is_and_what_to_do(kind: type[Record], tmp_path: Path):
    assert kind.RECORD
    assert kind.DO
    assert issubclass(kind.ERROR, MrsynthError)
    for content in ("", "[]", "{", "[" * 100_000, '{"mrsynth": {"record": "another", "version": 1}}', '{"mrsynth": 3}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(kind.ERROR):
            kind.read(tmp_path / "x.json")
