"""Start-up: `mrsynth --help` in a fresh process."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.machine import environment, in_turns, medians, row


def main() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['mrsynth', '--help']; from mrsynth.cli import main; main()",
    ]
    seconds = medians(in_turns(lambda: subprocess.run(command, check=True, capture_output=True), repeats=5))[0]
    row("start", "mrsynth --help", seconds, "s", "≤ 0.5 s", **environment("typer"))


if __name__ == "__main__":
    main()
