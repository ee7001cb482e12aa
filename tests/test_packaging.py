"""The wheel: it holds what src holds, installs alone and works from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def run(*words: object, cwd: Path) -> str:
    """Run a program outside of the repository, without its src on the path."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves folders behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, ".", cwd=copy)
    (found,) = out.glob("mrsynth-*.whl")
    return found


def test_it_holds_every_file_of_src_and_the_licences(wheel: Path):
    source = ROOT / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / "mrsynth").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert expected - held == set()
    assert {name for name in held if not name.startswith("mrsynth-")} == expected
    licences = {Path(name).name for name in held if "/licenses/" in name}
    assert {"LICENSE", "LICENSE-ICBM.txt", "LICENSE-niivue.txt"} <= licences
    assert wheel.stat().st_size < 16 * 2**20


def test_it_works_alone(wheel: Path, tmp_path: Path):
    """In an environment that sees this one's packages, but neither the repository nor how it is installed here."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel,
        cwd=tmp_path,
    )  # fmt: skip
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    mrsynth = tmp_path / "env" / "bin" / "mrsynth"
    assert "synthesize" in run(mrsynth, "--help", cwd=tmp_path)
    run(mrsynth, "simulate", "phantoms", "--subjects", 1, "--seed", 0, "--spacing", 4, "--quiet", cwd=tmp_path)
    assert (tmp_path / "phantoms" / "cohort.csv").is_file()
    where = run(python, "-c", "import mrsynth; print(mrsynth.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)


def test_every_extra_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    for extra in ("onnx", "openvino", "bundle", "serve"):
        for requirement in project["optional-dependencies"][extra]:
            assert requirement.split(">=")[0] in pinned, f"{requirement} of [{extra}] is not in constraints.txt"


def test_the_workflow_and_the_containers_use_what_is_there():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    said = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in said
    assert (ROOT / ".ci" / "run").is_file()
    assert "\nwheel-demo:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    copied = [
        name
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    ]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for file, line in (("Dockerfile", "ARG EXTRAS="), ("mrsynth.def", "extras=")):
        text = (ROOT / file).read_text(encoding="utf-8")
        named = text.split(line, 1)[1].split()[0].split(",")
        assert set(named) <= set(extras), file
