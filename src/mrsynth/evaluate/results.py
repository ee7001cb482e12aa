"""What an evaluation says: means and tests of the values, what a reader must know of them, and where they may go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mrsynth.core.errors import InputError
from mrsynth.core.ownership import holds_only, is_record, require_ours
from mrsynth.core.seeds import generator
from mrsynth.drawing.labels import plain
from mrsynth.io.evaluation import Evaluation, MetricsRecord, Published, SummaryRow
from mrsynth.metrics import HIGHER_IS_BETTER, MetricRecord, is_metrics_table, paired_tests, summarise
from mrsynth.metrics.stats import GROUP, best_rival, best_rivals, paired_with_best
from mrsynth.recipes.recipe import Recipe

WHOLE = ("brain", "volume")
"""The regions that stand for a whole image."""

FEW_SLICES = 5
"""A similarity that is averaged over fewer slices says little of a volume."""

CUT_OFF = 0.05
"""The share of a lesion outside of the brain mask from which on it is told: masks and outlines differ by a voxel."""


def require_free(where: Evaluation) -> None:
    """Refuse a place where an evaluation would write over what is none.

    Args:
        where: the evaluation to write.

    Raises:
        InputError: where the name does not end in .json.
        OutputError: where something else stands at one of its names.
    """
    if where.record.suffix.lower() != ".json":
        raise InputError(
            f"{where.record}: the metrics are written as JSON.",
            found=f"the ending '{where.record.suffix}'",
            expected="a name that ends in .json; the table goes beside it as .csv",
            do=f"-o {where.record.with_suffix('.json')}" if where.record.name else "give a file's name with -o",
        )
    own = {
        where.record: is_record("metrics", keys=frozenset({"summary", "tests"})),
        where.table: is_metrics_table,
        where.panels: holds_only("*.npz", "panels.json"),
        where.scenes / "viewer": holds_only("*.js"),
        where.response: lambda path: path.read_bytes()[:6] == b"label,",
        where.response_chart: lambda path: where.response.is_file(),
    }
    names = {path.relative_to(where.folder).as_posix(): test for path, test in own.items()}
    require_ours(where.folder, names, "give another name with -o")


def require_some_value(records: Sequence[MetricRecord], what: str) -> None:
    """Refuse records without a value: nothing was judged.

    Args:
        records: of all predictors; the model's count.
        what: was judged, for the message.

    Raises:
        InputError: where no metric of any of the model's predictions has a value.
    """
    judged = [record for record in records if record.predictor == "model"]
    if not any(record.value is not None for record in judged):
        why = sorted({record.reason for record in judged if record.reason})
        raise InputError(
            f"{what}: nothing could be judged.", found="; ".join(why) or "no value", do="check the masks and the table"
        )


def summary_of(records: Sequence[MetricRecord], patients: Mapping[str, str], **known: Any) -> MetricsRecord:
    """Return what metrics.json says of a set of records.

    Args:
        records: all values.
        patients: case → patient.
        known: further fields of `MetricsRecord`.
    """
    summary = summarise(records, generator(0, "summary"), patients)
    tests = [
        paired_tests(records, generator(0, "tests"), patients),
        paired_with_best(records, generator(0, "rivals"), patients, best=best_rivals(summary)),
    ]
    return MetricsRecord.model_validate(
        {
            "preset": list(dict.fromkeys(record.preset for record in records)),
            "n_cases": len({record.case for record in records}),
            "n_patients": len({patients[record.case] for record in records}),
            "summary": _rows(summary),
            "tests": [row for table in tests for row in _rows(table)],
            "higher_is_better": dict(HIGHER_IS_BETTER),
            **known,
        }
    )


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows with None in place of NaN, for JSON."""
    rows = frame.to_dict("records")
    return [{str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def published(recipe: Recipe) -> Published | None:
    """Return the paper's numbers for a recipe's translation, None where it has none.

    Args:
        recipe: names the translation and holds the paper's table.
    """
    table = recipe.published
    if table is None or recipe.translation not in table.translations:
        return None
    numbers = table.translations[recipe.translation]
    return Published(source=table.source, n=table.n, values={metric: list(v) for metric, v in numbers.items()})


def few_slices(records: Iterable[MetricRecord]) -> list[str]:
    """Return a sentence for each case whose similarity is a mean over fewer than FEW_SLICES slices.

    Args:
        records: of all predictors; SSIM of the model, slice by slice, is looked at.
    """
    found = {
        (r.case, r.preset, r.n)
        for r in records
        if r.dimension == 2 and "ssim" in r.metric and r.predictor == "model" and 0 < r.n < FEW_SLICES
    }
    return [
        f"{case}: SSIM by {preset} is the mean of {n} slice{'s' if n > 1 else ''} alone; it says little of the volume."
        for case, preset, n in sorted(found)
    ]


def cut_off(case: str, share: float) -> str | None:
    """Return a sentence where the brain mask cuts off so much of a lesion that it matters.

    Args:
        case: its name.
        share: of the lesion outside of the brain mask, 0 to 1.

    Returns:
        The sentence; None where the share is below CUT_OFF.
    """
    if share < CUT_OFF:
        return None
    return (
        f"{case}: {share:.0%} of its lesion lies outside of the brain mask, where nothing is predicted; the rest alone "
        "is judged."
    )


def describe(record: MetricsRecord, path: Path, every: bool = False) -> list[str]:
    """Return the lines that `mrsynth evaluate` prints: what was judged, how well, and what a reader must know of it.

    Args:
        record: what was found.
        path: where it stands.
        every: a line for every predictor, region and fit, in place of the model beside its rivals in the whole image.
    """
    lines = [f"{record.n_patients} patients, {record.n_cases} cases; all values in {path}"]
    for row in record.summary:
        if every:
            lines.append(f"{_place(row)} {row.predictor:<14} {row.fit:<6} {_mean(row)} {_how(row)}")
        elif row.predictor == "model" and row.region in WHOLE and row.fit == "none":
            lines.append(f"{_place(row)} {_mean(row):<20} {_beside(row, record.summary)}{_how(row)}")
    if record.dose_response:
        lines.append(f"{record.dose_response.in_words}; dose_response.png and .csv")
    return lines + record.remarks


def _place(row: SummaryRow) -> str:
    return f"{row.preset:<10} {row.metric:<12} {row.region:<7}"


def _mean(row: SummaryRow) -> str:
    """Return mean ± SD over patients."""
    if row.mean is None:
        return "infinite" if row.n_infinite else "no value"
    return f"{row.mean:.4g}" + ("" if row.sd is None else f" ± {row.sd:.4g}")


def _how(row: SummaryRow) -> str:
    span = "" if row.data_range is None else f", range {row.data_range:g}"
    return f"(n {row.n}{span}, {row.dimension}-D)"


def _beside(model: SummaryRow, summary: Sequence[SummaryRow]) -> str:
    """Return the identity and the best simple rival in the place of the model's row, those that there are."""
    place = [getattr(model, name) for name in GROUP[1:]]
    same = {row.predictor: row for row in summary if [getattr(row, name) for name in GROUP[1:]] == place}
    rival = best_rival([row.model_dump() for row in same.values()])
    shown = [who for who in dict.fromkeys(("identity", rival)) if who in same]
    return "".join(f"{plain(who)} {_mean(same[who])}{' (best rival)' if who == rival else ''}  " for who in shown)
