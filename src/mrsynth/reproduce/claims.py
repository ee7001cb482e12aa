"""Whether what a paper reads from its figures holds here: OUT/tables/claims.json and claims.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from mrsynth.core.files import write_text
from mrsynth.drawing.filters import Learned
from mrsynth.drawing.table import table_markdown
from mrsynth.io import Cohort
from mrsynth.io.columns import read_history
from mrsynth.io.run import Run
from mrsynth.metrics.learned import detail, filter_texture, late_fall, oscillation, sparsity
from mrsynth.model import load_contract
from mrsynth.reproduce.charts import learned, line_through_fluid
from mrsynth.reproduce.claim_settings import ClaimSettings
from mrsynth.reproduce.layout import claims_table
from mrsynth.reproduce.plan import Cell
from mrsynth.reproduce.records import ClaimRow, Claims, Verdict
from mrsynth.reproduce.scans import read_scans
from mrsynth.reproduce.study import ColumnSettings
from mrsynth.reproduce.tables import Results

CT = "ct"

Values = dict[str, float | None]

OF_CURVES: Mapping[str, Callable[[np.ndarray], float | None]] = {
    "oscillation": oscillation,
    "late_fall": late_fall,
    "least_loss": lambda losses: float(losses.min()) if losses.size else None,
}
OF_NETWORKS: Mapping[str, Callable[[Learned], float | None]] = {
    "filter_texture": lambda found: filter_texture(found.filters),
    "sparsity": lambda found: sparsity(found.lowest),
    "detail": lambda found: detail(found.last),
}


def write_claims(folder: Path, claims: Mapping[str, ClaimSettings], results: Results, cohort: Cohort) -> Path:
    """Judge a study's claims and write them as JSON and Markdown.

    Args:
        folder: OUT/tables.
        claims: name → claim.
        results: the metrics of the study's cells and jobs.
        cohort: the scans that the study runs on.

    Returns:
        The Markdown file.
    """
    rows = [judged(claim, measured(claim, results, cohort)) for claim in claims.values()]
    Claims(claims=rows).write(folder / Path(Claims.FILE).name)
    table = claims_table(rows)
    write_text(folder / "claims.md", f"# {table.title}\n\n{table_markdown(table)}\n{table.note}\n")
    return folder / "claims.md"


def judged(claim: ClaimSettings, values: Values) -> ClaimRow:
    """Return a claim with its numbers and whether it holds.

    Args:
        claim: the claim.
        values: label → number, None where there is none.
    """
    numbers = [value for value in values.values() if value is not None]
    lacking = [label for label, value in values.items() if value is None]
    verdict: Verdict
    if claim.why_not:
        verdict, why = ("untestable" if claim.of else "not judged"), claim.why_not
    elif lacking:
        verdict, why = "not judged", "no number of " + ", ".join(lacking)
    elif claim.at_most is not None:
        verdict, why = ("holds" if max(numbers) <= claim.at_most else "does not hold"), f"at most {claim.at_most:g}"
    elif claim.at_least is not None:
        verdict, why = ("holds" if min(numbers) >= claim.at_least else "does not hold"), f"at least {claim.at_least:g}"
    else:
        rising = all(a < b for a, b in pairwise(numbers))
        falling = all(a > b for a, b in pairwise(numbers))
        verdict, why = ("holds" if (falling if claim.order == "falling" else rising) else "does not hold"), ""
    return ClaimRow(
        figure=claim.figure, says=claim.says, measured=claim.measured, values=values, verdict=verdict, why=why
    )


def measured(claim: ClaimSettings, results: Results, cohort: Cohort) -> Values:
    """Return the numbers by which a claim is judged: label → number, None of what is not there.

    Args:
        claim: the claim.
        results: the metrics of the study's cells and jobs.
        cohort: the scans that the study runs on.
    """
    if claim.by == "profile":
        along = _profiles(list(claim.of.values()), results, cohort)
        return {label: along.get(contrast) for label, contrast in claim.of.items()}
    if claim.by == "folds_p":
        return {label: _between_folds(cell, results) for label, cell in claim.of.items()}
    if claim.metric is not None:
        preset, metric, region = claim.metric
        column = ColumnSettings(preset=preset, metric=metric, region=region)
        found = {label: results.values(cell, column) for label, cell in claim.of.items()}
        return {label: float(values.mean(axis=1).mean()) if len(values) else None for label, values in found.items()}
    return {label: _of_cell(str(claim.by), cell, results, cohort) for label, cell in claim.of.items()}


def _of_cell(measure: str, name: str, results: Results, cohort: Cohort) -> float | None:
    """Return a number of the first trained run of a cell."""
    for cell in results.items.get(name, ()):
        if not isinstance(cell, Cell) or not Run(cell.run).is_trained:
            continue
        if measure in OF_CURVES:
            return OF_CURVES[measure](read_history(Run(cell.run).history)["val_loss"].dropna().to_numpy())
        case = next((row.case for row in cohort.select("test")), None)
        found = None if case is None else learned(name, cell, case)
        return None if found is None else OF_NETWORKS[measure](found)
    return None


def _between_folds(name: str, results: Results) -> float | None:
    """Return p of the one-way analysis of variance of the test patients' RMSE between the folds of a cell."""
    column = ColumnSettings(preset="li2022", metric="rmse", region="volume")
    folds = [results.values(fold, column).mean(axis=1).to_numpy() for fold in results.names(name)]
    if len(folds) < 2 or min(fold.size for fold in folds) < 2:
        return None
    return float(stats.f_oneway(*folds).pvalue)


def _profiles(contrasts: Sequence[str], results: Results, cohort: Cohort) -> dict[str, float]:
    """Return for each contrast its correlation with the CT along the line through the fluid, mean over test cases."""
    trained = [c for cells in results.items.values() for c in cells if isinstance(c, Cell) and Run(c.run).is_trained]
    found: dict[str, list[float]] = {}
    for row in cohort.select("test") if trained else ():
        contract = load_contract(trained[0].run)
        scans = read_scans(row, [CT, *contrasts], contract, contract.inputs[0])
        there = [name for name in contrasts if name in scans.images]
        if CT not in scans.images or not there:
            continue
        line = line_through_fluid(scans, [CT, *there])
        inside = slice(line.ends[0], line.ends[1] + 1)
        for name in there:
            together = np.corrcoef(line.values[CT][inside], line.values[name][inside])
            found.setdefault(name, []).append(float(together[0, 1]))
    return {name: float(np.mean(values)) for name, values in found.items()}
