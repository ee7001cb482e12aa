"""What ended a command, in words; and the exit code."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrsynth.cli.failures import tell
from mrsynth.core.errors import InputError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped. What is finished is kept"),
        (InputError("It is so.", do="do that"), 2, "do that"),
        (PermissionError(13, "Permission denied", "x"), 2, "Permission denied (x)"),
        (MemoryError(), 2, "the memory is full"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 2, "the memory is full"),
        (ValueError("odd\x1b[31m"), 3, "something that we did not foresee"),
    ],
)
def test_every_end_is_told_in_words(error: BaseException, code: int, said: str, capsys, monkeypatch, tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert tell(error) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert "\x1b" not in shown
    assert len(list(tmp_path.glob("mrsynth-*.txt"))) == (code == 3)


def test_a_terminal_that_knows_ascii_only_gets_escapes(monkeypatch: pytest.MonkeyPatch):
    from mrsynth.cli.failures import say_all

    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    say_all()
    print("0.5 ± 0.1 → µ")
    out.flush()
    assert out.buffer.getvalue() == b"0.5 \\xb1 0.1 \\u2192 \\xb5\n"  # type: ignore[attr-defined]


def test_the_command_line_works_under_an_ascii_locale():
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = [sys.executable, "-m", "mrsynth", "recipes", "show", "osman2022"]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
