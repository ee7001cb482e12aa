"""The house rules that a machine can check: where tests lie, how long things are, what public functions document."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE, TESTS = ROOT / "src" / "mrsynth", ROOT / "tests"
LINES_A_FILE, LINES_A_FUNCTION, PARAMETERS = 400, 60, 8
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

TOPICS: dict[str, set[str]] = {
    ".": {"extending", "house", "packaging"},
    "cli": {"cli"},
    "docs": {"examples", "site", "tutorial"},
    "index": {"real_files"},
    "io": {"fuzz_readers", "prepared_boxes"},
    "io/dicom": {"fuzz"},
    "metrics": {"paper_presets", "real_presets", "reference_metrics"},
    "nets": {"chen2022_nets", "table_iv"},
    "node": {"hostile"},
    "phantom": {"tumour_profile"},
    "recipes": {"chen2022", "gong2018", "li2022", "pasumarthi2021", "pinetz2023", "real_patients"},
    "report": {"of_evaluate"},
    "reproduce": {"raw_study", "study_folds"},
    "safety": {"fuzz", "kills", "pairs"},
    "serve": {"page"},
    "steps": {"geometry_steps"},
    "train": {"data", "interrupt", "several_devices"},
}
"""Tests of a room whose subject is no single file of it."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def functions(path: Path) -> Iterator[tuple[Function, bool]]:
    """Yield each function of a file, nested ones too, and whether it is a method."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield child, isinstance(node, ast.ClassDef)


def parameters(function: Function, method: bool) -> list[str]:
    """Return the names of all parameters but self and cls."""
    every = function.args
    named = [*every.posonlyargs, *every.args]
    static = any(getattr(mark, "id", "") == "staticmethod" for mark in function.decorator_list)
    rest = [arg for arg in (every.vararg, *every.kwonlyargs, every.kwarg) if arg]
    return [arg.arg for arg in [*(named[1:] if method and not static else named), *rest]]


def section(node: Function | ast.ClassDef, heading: str) -> str:
    """Return what a docstring has below a heading, "" where it has no such heading."""
    found = re.search(rf"^{heading}:\n((?:    .*\n|\n)*)", (ast.get_docstring(node) or "") + "\n", re.MULTILINE)
    return found.group(1) if found else ""


def documented(function: Function) -> list[str]:
    """Return the names below `Args:`."""
    return re.findall(r"^    \*{0,2}(\w+):", section(function, "Args"), re.MULTILINE)


def undocumented(path: Path) -> list[str]:
    """Return the public functions of a file whose `Args:` are not their parameters; a single one may do without."""
    wrong = []
    for function, method in functions(path):
        names = parameters(function, method)
        # Ruff's D1 asks every public function for a docstring; one without is nested, or takes over that of a base, as
        # what overrides a method takes over its arguments.
        if function.name.startswith("_") or room(path) == "cli" or ast.get_docstring(function) is None:
            continue
        if any(getattr(mark, "id", "") == "override" for mark in function.decorator_list) and not documented(function):
            continue
        if len(names) + len(documented(function)) < 2:
            continue
        if sorted(documented(function)) != sorted(names):
            wrong.append(f"{path.relative_to(ROOT)}:{function.lineno} {function.name}({', '.join(names)})")
    return wrong


def unexplained(path: Path) -> list[str]:
    """Return the public classes of a file that have two fields or more, and one that no `Attributes:` or `Args:` names.

    A network documents what its constructor takes, as does what trains one.
    """
    wrong = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        if any(ast.unparse(base).split("[")[0].endswith(("Module", "Network", "Method")) for base in node.bases):
            continue
        marked = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        fields = [ast.unparse(part.target) for part in marked if "ClassVar" not in ast.unparse(part.annotation)]
        public = {name for name in fields if not name.startswith("_")}
        said = section(node, "Attributes") + section(node, "Args")
        entries = re.findall(r"(?:^    |;\s+)((?:\w+, )*\w+):", said, re.MULTILINE)
        if len(public) > 1 and (lacking := public - {name for entry in entries for name in entry.split(", ")}):
            wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {', '.join(sorted(lacking))}")
    return wrong


def test_files_and_functions_are_short():
    """A command of typer has as many parameters as options, and as many lines as these need."""
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path in SOURCES if (n := lines(path)) > LINES_A_FILE]
    for path in SOURCES:
        for function, method in functions(path):
            if room(path) == "cli":
                continue
            where = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
            if (n := code_lines(function)) > LINES_A_FUNCTION:
                long.append(f"{where}: {n} lines")
            # The settings of a network are a section of its recipe.
            allowed = PARAMETERS + (room(path) == "nets" and function.name == "__init__")
            if (n := len(parameters(function, method))) > allowed:
                long.append(f"{where}: {n} parameters")
    assert not long


def code_lines(function: Function) -> int:
    """Return the lines of a function but for its docstring, which is as long as its arguments are many."""
    first = function.body[0]
    said = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - said


def lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


@pytest.mark.parametrize("name", sorted({room(path) for path in SOURCES}))
def test_public_functions_document_their_arguments(name):
    wrong = [line for path in SOURCES if room(path) == name for line in undocumented(path)]
    assert not wrong


@pytest.mark.parametrize("name", sorted({room(path) for path in SOURCES}))
def test_public_classes_document_their_fields(name):
    wrong = [line for path in SOURCES if room(path) == name for line in unexplained(path)]
    assert not wrong


def test_every_test_file_is_that_of_a_module_or_of_a_named_topic():
    strangers = []
    for path in sorted(TESTS.rglob("test_*.py")):
        folder = path.relative_to(TESTS).parent
        if folder.as_posix() in ("benchmarks", "scripts"):
            continue
        subject = path.stem.removeprefix("test_")
        if (PACKAGE / folder / f"{subject}.py").exists() or (PACKAGE / folder / subject).is_dir():
            continue
        if subject not in TOPICS.get(folder.as_posix(), ()):
            strangers.append((folder.as_posix(), subject))
    assert not strangers, "name the test after the module it tests, or its topic in TOPICS"


def test_no_topic_is_left_behind():
    gone = [(folder, topic) for folder, topics in TOPICS.items() for topic in topics]
    assert not [name for name in gone if not (TESTS / name[0] / f"test_{name[1]}.py").exists()]


def test_a_constant_that_other_files_import_has_one_home():
    homes = defaultdict(set)
    for path in [*SOURCES, *PACKAGE.rglob("__init__.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mrsynth."):
                for alias in node.names:
                    if alias.name.isupper():
                        homes[alias.name].add(defined_in(node.module, alias.name))
    assert not {name: sorted(where) for name, where in homes.items() if len(where) > 1}


def defined_in(module: str, name: str) -> str:
    """Return the file a name comes from, through rooms that hand it on."""
    path = ROOT / "src" / module.replace(".", "/")
    if not path.is_dir():
        return module
    for node in ast.parse((path / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
            return defined_in(node.module, name)
    return module
