"""Runs every benchmark in a process of its own and writes benchmarks/RESULTS.md. `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = (
    "# Measured speed and memory",
    "",
    "Written by `make bench`. Machines are noisy: believe ratios, and medians more than single numbers.",
    "",
    "| benchmark | what | value | wanted | device | load | versions | commit |",
    "|---|---|---|---|---|---|---|---|",
)
BENCHMARKS = (
    "start",
    "simulate",
    "register",
    "train",
    "train_boxes",
    "storage",
    "prepare",
    "prepare_steps",
    "intensity",
    "synthesize",
    "full_head",
    "low_dose",
    "multiplanar",
    "metrics",
    "noise_loss",
    "contextual_loss",
    "ct_to_mr",
)


def main() -> None:
    """Run the chosen benchmarks (all by default); rows of the others stay as they are in RESULTS.md."""
    chosen = sys.argv[1:] or BENCHMARKS
    if unknown := set(chosen) - set(BENCHMARKS):
        sys.exit(f"No benchmark named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], check=True, stdout=subprocess.PIPE, text=True
        )
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        write(name, [as_line(row) for row in rows])


def as_line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    return (
        f"| {row['benchmark']} | {row['what']} | {row['value']:.3g} {row['unit']} | {row['wanted']} | "
        f"{row['device']} | {row['load']} | {row['versions']} | {row['commit']} |"
    )


def write(name: str, lines: list[str]) -> None:
    """Write RESULTS.md with new lines for one benchmark and the old ones of the others."""
    old = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    found = {b: [line for line in old if line.startswith(f"| {b} |")] for b in BENCHMARKS}
    found[name] = lines
    RESULTS.write_text("\n".join([*HEAD, *(line for b in BENCHMARKS for line in found[b])]) + "\n")


if __name__ == "__main__":
    main()
