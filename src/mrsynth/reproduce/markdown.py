"""A study's table as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

ROUNDING = 1e-9
"""What computers leave of 0."""


def table_markdown(table: Mapping[str, Any]) -> str:
    """Return a table that `study_tables.build_table` made as Markdown: measured beside published, then the tests."""
    labels = [column["label"] for column in table["columns"]]
    given = [name for name in labels if any(row["cells"][name]["published"] for row in table["rows"])]
    usual = {name: max((row["cells"][name]["n"] for row in table["rows"]), default=0) for name in labels}
    head = [""]
    for name in labels:
        head += [f"{name} (n = {usual[name]})"] + ([f"*paper: {name}*"] if name in given else [])
    lines = [f"# {table['title']}", "", *table["header"], ""]
    lines += _line(head), "|---" * len(head) + "|"
    for row in table["rows"]:
        cells = [row["label"]]
        for name in labels:
            cell = row["cells"][name]
            measured = _number(cell["mean"], cell["sd"]) if row["state"] in ("done", "published") else row["state"]
            if cell["n"] and cell["n"] != usual[name]:
                measured += f" (n = {cell['n']})"
            if cell["seed_sd"] is not None:
                measured += f", over {cell['seeds']} seeds ± {_plain(cell['seed_sd'], cell['mean'])}"
            cells.append(measured)
            if name in given:
                cells.append(f"*{_number(*cell['published'])}*" if cell["published"] else "")
        lines.append(_line(cells))
    lines += ["", *_tests(table["tests"])]
    lines += [f"* {column['label']}: {column['convention']}." for column in table["columns"]]
    lines += [f"* Published: {table['published_source']}."] if table["published_source"] else []
    lines += [f"* {table['note']}"] if table["note"] else []
    failed = {row["label"]: row["why"].splitlines()[0] for row in table["rows"] if row["why"]}
    lines += [f"* {label} failed: {why}" for label, why in failed.items()]
    return "\n".join(lines) + "\n"


def _tests(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of the tests, [] where there are none."""
    if not tests:
        return []
    head = ["test", "of", "n", "difference", "95 %", "p", "*paper: difference*", "*paper: 95 %*", "*paper: p*"]
    intervals = any(test["interval"] or test["published_interval"] for test in tests)
    kept = [intervals or "95 %" not in name for name in head]
    lines = []
    for test in tests:
        difference, published = test["mean_difference"], test["published_difference"]
        cells = [
            f"{test['a']} − {test['b']}, {test['test']}",
            test["column"],
            str(test["n"]),
            _signed(difference),
            _interval(test["interval"]),
            test["reason"] if test["p"] is None else f"{test['p']:.2g}",
            "" if published is None else f"*{_signed(published)}*",
            f"*{_interval(test['published_interval'])}*" if test["published_interval"] else "",
            f"*{test['published_p']}*" if test["published_p"] else "",
        ]
        lines.append(_line(list(compress(cells, kept))))
    return [_line(list(compress(head, kept))), "|---" * sum(kept) + "|", *lines, ""]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(mean: float | None, sd: float | None) -> str:
    """Return mean ± SD with digits that fit the size of the mean, "" without a mean."""
    if mean is None:
        return ""
    return _plain(mean, mean) + ("" if sd is None else f" ± {_plain(sd, mean)}")


def _plain(value: float, beside: float) -> str:
    """Return a number with as many digits as the size of the number that it stands beside asks for."""
    return _not_zero(value, f"{value:.{2 if abs(beside) >= 1 else 3 if abs(beside) >= 0.1 else 4}f}")


def _not_zero(value: float, text: str) -> str:
    """Return the text of a number, or its power of ten where the digits end before a number above ROUNDING begins."""
    if float(text) != 0 or abs(value) < ROUNDING:
        return text
    return f"{value:+.1e}" if text.startswith("+") else f"{value:.1e}"


def _interval(ends: Sequence[float] | None) -> str:
    """Return an interval, "" where there is none."""
    return "" if ends is None else " to ".join(_signed(end) for end in ends)


def _signed(difference: float | None) -> str:
    """Return a difference with its sign, "" where there is none."""
    if difference is None:
        return ""
    digits = 2 if abs(difference) >= 0.1 else 3 if abs(difference) >= 0.01 else 4
    return _not_zero(difference, f"{difference:+.{digits}f}")
