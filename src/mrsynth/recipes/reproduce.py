"""mrsynth reproduce: a paper's table, published beside measured, by one command that resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mrsynth.errors import RecipeError
from mrsynth.io import Cohort, PreparedCohort, read_cohort
from mrsynth.io.files import write_text
from mrsynth.recipes.recipe import Recipe, ScaleSettings, load_recipe
from mrsynth.recipes.stages.evaluate import evaluate_run
from mrsynth.recipes.stages.prepare import prepare
from mrsynth.recipes.stages.progress import CONSOLE
from mrsynth.recipes.stages.simulate import simulate
from mrsynth.recipes.stages.synthesize import synthesize_cohort
from mrsynth.recipes.stages.train import train
from mrsynth.report import build_report

SEED = 1
PREDICTORS = ("model", "identity", "training_mean")


def reproduce(name: str, scale: str, out: Path, cohort: Path | None = None, *, progress: bool = True) -> Path:
    """Run a recipe's study at a scale and return the path of the table (Markdown; a CSV lies beside it).

    cohort: a cohort table; without one a phantom cohort of the scale's size is made. What is finished already is kept,
    so that an interrupted study goes on. Raises RecipeError for an unknown scale, or for `paper` without a cohort.
    """
    study = load_recipe(name).reproduce
    if scale not in study.scales:
        raise RecipeError(f"There is no scale '{scale}'.", expected=", ".join(study.scales))
    if scale == "paper" and cohort is None:
        raise RecipeError(
            "The scale `paper` needs the paper's cohort, which mrsynth may not carry.",
            expected="--cohort, a table made by mrsynth index of the data set that the recipe names",
            do="get the data from its owners, or take --scale small",
        )
    settings = study.scales[scale]  # type: ignore[index]
    table = cohort or simulate(
        out / "phantoms", settings.subjects, SEED, "brats", spacing_mm=settings.spacing_mm, progress=progress
    )
    scans = read_cohort(table)
    rows: list[dict[str, Any]] = []
    for number, translation in enumerate(study.translations, start=1):
        if progress:
            CONSOLE.print(f"[bold]{number}/{len(study.translations)}  {translation}")
        recipe = load_recipe("/".join([name, translation, *settings.variants]), settings.set)
        rows += _one(recipe, scans, out, progress)
    frame = pd.DataFrame(rows)
    write_text(out / "table.csv", frame.to_csv(index=False))
    write_text(out / "table.md", _markdown(load_recipe(name), frame, scale, settings, cohort is None))
    return out / "table.md"


def _one(recipe: Recipe, cohort: Cohort, out: Path, progress: bool) -> list[dict[str, Any]]:
    """Prepare, train, synthesize, evaluate and report one translation; returns its rows of the table."""
    run = out / "runs" / recipe.translation
    if not (run / "model").exists():
        prepare(cohort, recipe, out / "prepared", progress=progress)
        train(recipe, PreparedCohort.open(out / "prepared"), run, resume=True, progress=progress)
    synthesize_cohort(run, cohort, run / "predictions", split="test", progress=progress)
    metrics = evaluate_run(run, cohort, run / "predictions", recipe.evaluate.presets, progress=progress)
    build_report(run)
    summary = json.loads(metrics.read_text())["summary"]
    return [{"translation": recipe.translation, **row} for row in summary]


def _markdown(recipe: Recipe, frame: pd.DataFrame, scale: str, settings: ScaleSettings, phantom: bool) -> str:
    """Return the study's table: a row a translation and predictor, the paper's own numbers beside them."""
    preset = recipe.evaluate.presets[0]
    metrics = [m for m in ("psnr", "mae", "mse", "ssim", "ssim_range2") if m in set(frame["metric"])]
    wanted = frame[(frame["preset"] == preset) & (frame["fit"] == "none") & (frame["region"] == "volume")]
    lines = [
        f"# {recipe.name} at scale {scale}, on {'phantoms' if phantom else 'the given cohort'}",
        "",
        f"Preset {preset}; mean ± SD over n test patients. Changes to the paper's recipe: "
        + (", ".join([*settings.variants, *settings.set]) or "none")
        + ".",
        "",
        "| translation | who | n | " + " | ".join(metrics) + " |",
        "|---|---|---|" + "---|" * len(metrics),
    ]
    for translation in dict.fromkeys(frame["translation"]):
        for predictor in PREDICTORS:
            rows = wanted[(wanted["translation"] == translation) & (wanted["predictor"] == predictor)]
            cells = {row["metric"]: row for row in rows.to_dict("records")}
            n = next(iter(cells.values()))["n"] if cells else 0
            shown = [_cell(cells[m]["mean"], cells[m]["sd"]) if m in cells else "" for m in metrics]
            lines.append(f"| {translation} | {predictor.replace('_', ' ')} | {n} | " + " | ".join(shown) + " |")
        table = recipe.published
        if table is not None and translation in table.translations:
            numbers = table.translations[translation]
            shown = [_cell(*numbers[m]) if m in numbers else "" for m in metrics]
            lines.append(f"| {translation} | *{table.source}* | {table.n} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _cell(mean: float, sd: float | None) -> str:
    """Return mean ± SD with digits that fit the size of the number."""
    digits = 2 if abs(mean) >= 1 else 3 if abs(mean) >= 0.1 else 4
    return f"{mean:.{digits}f}" if sd is None or pd.isna(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"
