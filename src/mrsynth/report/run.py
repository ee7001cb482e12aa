"""The page: one HTML file that opens from disk and asks nothing of anyone (pictures, style and script are inside)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.files import atomic_file, write_text
from mrsynth.core.locks import writing_file
from mrsynth.core.ownership import PAGE_MARK, begins_with, require_ours
from mrsynth.drawing.axes import themed
from mrsynth.drawing.dose_charts import response_png
from mrsynth.drawing.figures import Strip, best_epoch, learning_png, strips_png
from mrsynth.drawing.labels import FIRST_METRICS, arrow, decimals, duration, interval, metric_name, number, plain
from mrsynth.drawing.plates import BARS, Kind, limits_of, map_gradient, tile_webp
from mrsynth.drawing.table import TEXT_COLUMNS
from mrsynth.drawing.templates import data_uri, render
from mrsynth.drawing.viewer import write_viewer
from mrsynth.io.evaluation import Evaluation
from mrsynth.io.run import Convergence, Run
from mrsynth.report.inputs import DoseResponse, RunFolder, read_run
from mrsynth.report.notes import gaps_table, methods
from mrsynth.report.panels import Panel, rows_png
from mrsynth.report.scores import (
    CaseScore,
    Headline,
    comparisons,
    headline,
    ranked_cases,
    rival_at,
    rows_at,
    spread,
    value_of,
    verdict,
)
from mrsynth.report.tables import (
    case_tables,
    cases_table,
    published_preset,
    published_text,
    region_tables,
    rivals_tables,
    summary_tables,
    tests_table,
)

PICTURES = 13
"""Cases that the page shows one by one (about 0.07 MB each). Odd, so that the median is among them."""

is_page = begins_with(PAGE_MARK, "mrsynth report</title>")
"""Says whether a file is a page that a report may replace."""


def build_report(
    run: Path, pictures: int = PICTURES, *, evaluation: Path | None = None, out: Path | None = None
) -> Path:
    """Write the page of a run from files alone.

    Args:
        run: the run folder; nothing is written there but where `out` says so.
        pictures: so many cases are shown one by one, spread evenly from the worst to the best; all are in the table of
            cases.
        evaluation: the metrics.json to show; the run's own by default. Every part but metrics.csv may be missing and
            is then named in the page.
        out: the page; RUN/report.html by default, and beside an evaluation that lies elsewhere.

    Returns:
        The path of the page.

    Raises:
        MrsynthError: for a file that cannot be understood, or where the page cannot be written.
    """
    where = out or (Run(run).report if evaluation is None else Evaluation(evaluation).report)
    require_ours(where.parent, {where.name: is_page}, "give another name with -o")
    folder = read_run(run, evaluation)
    with writing_file(where, "report"):
        write_text(where, render("page.html.j2", **_context(folder, pictures, where.parent)))
    return where


def overview_png(run: Path, path: Path, cases: int = 3) -> Path:
    """Write rows of cases (input, synthetic, truth, difference, SSIM) as one picture.

    The cases are spread evenly from the worst to the best by the headline metric, so that the picture is no selection
    of the best.

    Args:
        run: the run folder.
        path: where the picture is written.
        cases: how many cases are shown at most.

    Returns:
        The path of the picture.

    Raises:
        InputError: the run holds no panel, or fewer than one case is asked for.
        MrsynthError: a file of the run is missing or cannot be understood.
        OutputError: the picture cannot be written.
    """
    folder = read_run(run)
    at = headline(folder)
    scores = [score for score in ranked_cases(folder, at) if score.panels]
    if not scores or cases < 1:
        raise InputError(f"{run}: there is no picture to show.", expected="panels/panels.json and one case or more")
    picks = spread(len(scores), cases)
    chosen = [scores[i] for i in picks]
    captions = [f"{_place(i, len(scores))}\n{_score_text(s, at)}" for i, s in zip(picks, chosen, strict=True)]
    content = rows_png([folder.picture(score.panels[0]) for score in chosen], captions)
    with atomic_file(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _place(index: int, total: int) -> str:
    """Return where a case stands among all, worst first."""
    return (
        "worst case"
        if index == 0 and total > 1
        else "best case"
        if index == total - 1
        else f"case {index + 1} of {total}"
    )


def _score_text(score: CaseScore, at: Headline) -> str:
    """Return a case's headline value in words."""
    return f"{metric_name(at.metric)} {number(score.model, decimals(score.model))}"


def _volumes(folder: RunFolder, title: str, cases: Iterable[str], where: Path) -> dict[str, str]:
    """Return the address of each case in the viewer, relative to the page's folder; none where the viewer cannot be
    written beside its volumes."""
    try:
        found = write_viewer(folder.scenes, title, cases)
    except OutputError:
        return {}
    way = Path(relpath(folder.scenes, where)).as_posix()
    return found if way == "." else {case: f"{quote(way)}/{address}" for case, address in found.items()}


def _context(folder: RunFolder, pictures: int, where: Path) -> dict[str, Any]:
    """Return everything that the template shows, `pictures` cases one by one; where: the folder of the page."""
    at = headline(folder)
    cases = ranked_cases(folder, at)
    shown = spread(len(cases), pictures)
    title = folder.run.get("title") or folder.run.get("recipe") or folder.path.name
    volumes = _volumes(folder, str(title), [score.case for score in cases], where)
    history = folder.history if folder.history is not None and not folder.history.empty else None
    strips = _strips(folder, cases, at)
    limits = limits_of(folder.picture(entry).row() for i in shown for entry in cases[i].panels)
    limit = limits["difference"]
    return {
        "text_columns": TEXT_COLUMNS,
        "run": folder.run,
        "title": title,
        "missing": folder.missing,
        "verdict": verdict(folder, at),
        "headline": f"{plain(at.region)}, preset {at.preset}",
        "key_numbers": _key_numbers(folder, at),
        "facts": _facts(folder, len(cases)),
        "summary": summary_tables(folder),
        "published": _published_note(folder),
        "regions": region_tables(folder),
        "details": [
            *rivals_tables(folder),
            *(table for table in (tests_table(folder), gaps_table(folder.records)) if table),
        ],
        "rival": plain(rival_at(folder, at)),
        "response": _response(folder.response),
        "curves": themed(lambda theme: learning_png(history, theme)) if history is not None else None,
        "best": best_epoch(history) if history is not None else None,
        "convergence": [Convergence.model_validate(one) for one in folder.run.get("convergence") or ()],
        "strips": themed(lambda theme: strips_png(strips, theme)) if strips else None,
        "cases_table": cases_table(folder, cases, at, volumes | {cases[i].case: f"#case-{i + 1}" for i in shown}),
        "cases": [_case(folder, cases[i], i + 1, at, limits) for i in shown],
        "volumes": volumes,
        "n_cases": len(cases),
        "primary": metric_name(at.metric),
        "bars": {
            "difference": (map_gradient(BARS["difference"].colours), f"−{limit:g}", "0", f"+{limit:g}"),
            "error": (map_gradient(BARS["error"].colours), "0", f"{limits['error'] / 2:g}", f"{limits['error']:g}"),
            "ssim": (map_gradient(BARS["ssim"].colours), "0", "0.5", "1"),
        },
        "provenance": _provenance(folder),
        "recipe": folder.recipe,
        "methods": methods(folder.records),
    }


def _response(response: DoseResponse | None) -> dict[str, Any] | None:
    """Return the chart of the enhancement over the dose and what it shows; None for a run without a series of doses."""
    if response is None:
        return None
    uris = themed(lambda theme: response_png(response.frame, response.trained, theme))
    return {"uris": uris, "in_words": response.in_words}


def _key_numbers(folder: RunFolder, at: Headline) -> list[dict[str, str]]:
    """Return the cards: of each headline metric the model's mean, its interval, its best rival's mean, and the tone."""
    cards = []
    for metric, one in comparisons(folder, at).items():
        if metric not in FIRST_METRICS and metric != at.metric:
            continue
        row, digits = rows_at(folder, at, metric)["model"], decimals(one.model)
        cards.append(
            {
                "name": f"{metric_name(metric)} {arrow(folder.higher_is_better.get(metric))}".strip(),
                "value": number(one.model, digits),
                "interval": interval(row["ci_low"], row["ci_high"], digits),
                "rival": f"{plain(one.rival)} {number(one.rival_mean, digits)}",
                "tone": {True: "good", False: "bad", None: ""}[one.ahead],
            }
        )
    return cards


def _facts(folder: RunFolder, cases: int) -> list[tuple[str, str]]:
    """Return the short facts of the header, those that are known."""
    run, counts = folder.run, folder.run.get("n_cases") or {}
    facts = [("test patients", str(folder.n_patients if folder.n_patients is not None else "not known"))]
    facts += [("test cases", str(cases))]
    facts += (
        [("training / validation cases", f"{counts.get('train', '?')} / {counts.get('val', '?')}")] if counts else []
    )
    facts += [("parameters", f"{int(run['parameters']):,}".replace(",", " "))] if run.get("parameters") else []
    facts += [("epochs", str(run["epochs"]))] if run.get("epochs") is not None else []
    facts += [("training time", duration(float(run["seconds"])))] if run.get("seconds") is not None else []
    ended = [Convergence.model_validate(found) for found in run.get("convergence") or []]
    facts += [("training" if len(ended) < 2 else f"stage {found.stage}", found.words) for found in ended]
    return facts + ([("device", str(run["device"]))] if run.get("device") else [])


def _published_note(folder: RunFolder) -> str:
    """Return where the paper's numbers stand, and why not beside others."""
    if not folder.published:
        return "This run has no published values to compare with."
    source = f"{folder.published.get('source', 'source not stated')} (n = {folder.published.get('n', '?')})"
    if published_preset(folder) is None:
        values = ", ".join(
            f"{metric_name(m)} {published_text(*v)}"
            for m, v in folder.published.items()
            if isinstance(v, list) and len(v) == 2
        )
        return f"Published: {source}: {values}. No preset here reproduces that convention, so they stand in no table."
    return f"Published: {source}. Other patients and another split; only the convention of the preset is the same."


def _strips(folder: RunFolder, cases: Sequence[CaseScore], at: Headline) -> list[Strip]:
    """Return the paired values of the headline's metrics over the cases; nothing without a rival."""
    strips = []
    for metric in FIRST_METRICS:
        here = replace(at, metric=metric)
        best = rival_at(folder, here)
        model, rival = (
            np.array([value_of(folder, here, score.case, who) for score in cases]) for who in ("model", best)
        )
        higher = folder.higher_is_better.get(metric, metric in ("ssim", "psnr"))
        if np.isfinite(model).any() and np.isfinite(rival).any():
            strips.append(Strip(f"{metric_name(metric)} {arrow(higher)}", model, rival, higher, plain(best)))
    return strips


def _case(folder: RunFolder, score: CaseScore, rank: int, at: Headline, limits: Mapping[Kind, float]) -> dict[str, Any]:
    """Return one case for the template: its name, rank, pictures and tables (the headline's preset open)."""
    tables = sorted(case_tables(folder, score.case), key=lambda table: not table.title.startswith(f"{at.preset} ·"))
    behind = score.model < score.rival if folder.higher_is_better.get(at.metric, True) else score.model > score.rival
    return {
        "rank": rank,
        "name": score.case,
        "patient": score.patient,
        "score": _score_text(score, at),
        "behind": behind,
        "panels": [_panel(folder.picture(entry), limits) for entry in score.panels],
        "first": tables[:1],
        "more": tables[1:],
    }


def _panel(panel: Panel, limits: Mapping[Kind, float]) -> dict[str, Any]:
    """Return one slice for the template: its pictures with captions."""
    meta, row = panel.meta, panel.row()
    target, source = panel.contrast("target"), panel.contrast("input")
    captions = {
        "input": ("Input", source),
        "synthetic": ("Synthetic", target),
        "truth": ("Truth", target),
        "difference": ("Synthetic − truth", ""),
        **({"error": ("Expected error", "")} if "error" in panel.arrays else {}),
        "ssim": ("SSIM map", ""),
    }
    words = [str(meta.get("axis") or ""), f"slice {meta['slice_index']}" if meta.get("slice_index") is not None else ""]
    scores = [f"{metric_name(m)} {float(meta[m]):.3g}" for m in ("ssim", "psnr", "mae") if meta.get(m) is not None]
    low, high = meta["window"]
    return {
        "tiles": [
            (kind, *words, data_uri(tile_webp(row, tile, limits), "webp"))
            for (kind, words), tile in zip(captions.items(), row.tiles, strict=True)
        ],
        "slice": " ".join(filter(None, words)),
        "scores": ", ".join(scores),
        "window": f"{low:g} to {high:g}",
        "lesion": panel.lesion is not None,
        "note": str(meta.get("note") or ""),
    }


def _provenance(folder: RunFolder) -> list[tuple[str, str]]:
    """Return what run.json says of the run's origin, in a fixed order, then whatever else it holds."""
    names = {
        "recipe": "recipe", "paper": "paper", "commit": "commit", "seed": "seed", "device": "device",
        "data_fingerprint": "data fingerprint", "n_cases": "cases", "parameters": "parameters", "started": "started",
        "seconds": "training time", "epochs": "epochs", "best_epoch": "best epoch", "versions": "versions",
    }  # fmt: skip
    skip = ("title", "translation", "inputs", "target", "convergence")
    keys: Iterable[str] = [*names, *(key for key in folder.run if key not in names and key not in skip)]
    rows = []
    for key in keys:
        value = folder.run.get(key)
        if isinstance(value, dict):
            text = ", ".join(f"{name} {item}" for name, item in value.items())
        elif key == "seconds" and value is not None:
            text = duration(float(value))
        else:
            text = "not recorded" if value is None or value == "" else str(value)
        rows.append((names.get(key, key.replace("_", " ")), text))
    return rows
