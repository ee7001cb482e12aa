"""Runs every benchmark in a process of its own and writes benchmarks/RESULTS.md. `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = ("start", "simulate", "train", "synthesize", "metrics")


def main() -> None:
    chosen = sys.argv[1:] or BENCHMARKS
    rows = []
    for name in chosen:
        print(f"{name} …", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], check=True, stdout=subprocess.PIPE, text=True
        )
        rows += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    lines = [
        "# Measured speed and memory",
        "",
        "Written by `make bench`. Machines are noisy: believe ratios, and medians more than single numbers.",
        "",
        "| benchmark | what | value | wanted | device | load | versions | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['benchmark']} | {r['what']} | {r['value']:.3g} {r['unit']} | {r['wanted']} | {r['device']} | "
            f"{r['load']} | {r['versions']} | {r['commit']} |"
        )
    Path(__file__).with_name("RESULTS.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
