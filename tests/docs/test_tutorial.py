"""The tutorial's commands and its ten lines of Python run, at toy size."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

from typer.testing import CliRunner

from mrsynth.cli.root import app

DOCS = Path(__file__).parents[2] / "docs"
TINY = "--set train.epochs=1 --set net.settings.widths=[4,8] --set net.settings.dropout=[0.1,0.1]"
SMALLER = {
    "--subjects 16 --seed 1 --spacing 2": "--subjects 4 --seed 1 --spacing 4",
    "--set train.epochs=10": TINY,
    "osman2022/t1-t2/raw --data prepared-own": f"osman2022/t1-t2/small --data prepared-own {TINY}",
    "--recipe osman2022/t1-t2/raw": "--recipe osman2022/t1-t2/small",
    "mrsynth prepare": "mrsynth prepare --workers 1",
}
"""What the test runs instead. `raw` needs heads with a skull, of which tests/steps has its own."""


def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch):
    blocks = re.findall(
        r"^```bash\n(.*?)^```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    text = "".join(blocks)
    for full, small in SMALLER.items():
        assert full in text
        text = text.replace(full, small)
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in text.splitlines()]
    assert {words[1] for words in commands} == {
        *("simulate", "index", "check", "prepare", "train", "synthesize", "evaluate", "report")
    }
    for program, *words in commands:
        assert program == "mrsynth"
        if words[0] == "index":
            own_scans(Path("phantoms"), Path("scans"))
        if "new/t1.nii.gz" in " ".join(words):
            shutil.copytree("scans/patient01", "new")
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)
    assert Path("runs/first/report.html").is_file()
    assert Path("runs/own/report.html").is_file()
    assert Path("t2.json").is_file()


def own_scans(phantoms: Path, scans: Path) -> None:
    """Lay the phantoms' images out as a reader has their scans: a folder a patient, files named by contrast."""
    for number, case in enumerate(sorted(path for path in phantoms.iterdir() if path.is_dir())):
        for contrast in ("t1", "t2", "flair"):
            target = scans / f"patient{number:02d}" / f"{contrast}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(case / f"{contrast}.nii.gz", target)


def test_the_ten_lines_of_python_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ten_lines.py", str(tmp_path)])
    runpy.run_path(str(DOCS / "examples" / "ten_lines.py"))
    assert Path(capsys.readouterr().out.strip()).is_file()
