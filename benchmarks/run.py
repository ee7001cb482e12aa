"""Runs every benchmark in a process of its own and writes benchmarks/RESULTS.md. `make bench`.

`python -m benchmarks.run NAME …` prints the rows of some benchmarks and leaves RESULTS.md as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import commit_of_clean_tree

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = (
    "# Measured speed and memory",
    "",
    "Written by `make bench` in one run of one commit: {commit}. Machines are noisy: believe ratios, and medians more",
    "than single numbers. ARCHITECTURE.md says what follows from them.",
    "",
)
COLUMNS = (
    "| benchmark | what | value | wanted |",
    "|---|---|---|---|",
)
WHERE = (
    "",
    "| benchmark | device | load | versions |",
    "|---|---|---|---|",
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
    "readers",
    "index",
    "intensity",
    "synthesize",
    "full_head",
    "low_dose",
    "multiplanar",
    "metrics",
    "noise_loss",
    "contextual_loss",
    "vgg_loss",
    "ct_to_mr",
    "gpu",
    "dicom_out",
    "node",
    "viewer",
    "engines",
    "many_cases",
)


def main() -> None:
    """Run the chosen benchmarks, or all of them for RESULTS.md."""
    chosen = sys.argv[1:]
    if unknown := set(chosen) - set(BENCHMARKS):
        sys.exit(f"No benchmark named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}.")
    if chosen:
        print("\n".join(tables(measured(chosen))))
        return
    commit = commit_of_clean_tree()
    if commit is None:
        sys.exit("RESULTS.md is written for one commit alone, and there are changes without one. Commit them first.")
    rows = measured(BENCHMARKS)
    if others := {row["commit"] for row in rows} - {commit}:
        sys.exit(f"The tree changed while the benchmarks ran ({commit}, then {', '.join(others)}). RESULTS.md stays.")
    RESULTS.write_text(document(commit, rows), encoding="utf-8")


def measured(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of these benchmarks, each run in a process of its own."""
    rows: list[dict[str, Any]] = []
    for name in names:
        print(f"{name} …", file=sys.stderr)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return rows


def document(commit: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return RESULTS.md as text.

    Args:
        commit: whose numbers they are.
        rows: as benchmarks print them.
    """
    return "\n".join([*HEAD, *tables(rows)]).replace("{commit}", commit) + "\n"


def tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of two tables: what was measured, and where.

    Args:
        rows: as benchmarks print them.
    """
    places = {f"| {r['benchmark']} | {r['device']} | {r['load']} | {r['versions']} |": None for r in rows}
    return [*COLUMNS, *map(as_line, rows), *WHERE, *places]


def as_line(row: dict[str, Any]) -> str:
    """Return a measurement as a line of the table."""
    value = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}"
    return f"| {row['benchmark']} | {row['what']} | {value.strip()} | {row['wanted']} |"


if __name__ == "__main__":
    main()
