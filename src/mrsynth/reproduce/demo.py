"""mrsynth demo: the whole way once, on a phantom cohort that fits two cores and a few minutes."""

from __future__ import annotations

from pathlib import Path

from mrsynth.core.files import atomic_file
from mrsynth.core.locks import one_writer
from mrsynth.core.ownership import Test, require_ours
from mrsynth.core.progress import remark
from mrsynth.evaluate.run import evaluate_run
from mrsynth.io import PreparedCohort, read_cohort
from mrsynth.io.run import Run
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import load_recipe
from mrsynth.report import build_report, is_page
from mrsynth.simulate import simulate
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.train.run import train

SUBJECTS, SPACING_MM, SEED = 16, 2.0, 1
RECIPE = "osman2022/t1-flair/small"
SETTINGS = ("train.epochs=10",)


@one_writer("demo")
def demo(out: Path) -> Path:
    """Simulate, prepare, train, synthesize the held-out subjects, evaluate and report.

    Run again after an interruption, it goes on where it stopped.

    Args:
        out: the folder of the demo.

    Returns:
        The page, out/report.html.

    Raises:
        OutputError: another process writes into the folder, or something that is not ours is in the way.
    """
    own: dict[str, Test] = {name: (lambda _: True) for name in ("phantoms", "prepared", "run")}  # their verbs know
    require_ours(out, own | {"report.html": is_page}, "name another folder with --out")
    recipe = load_recipe(RECIPE, SETTINGS)
    run = out / "run"

    remark(f"[bold]1/5  simulate {SUBJECTS} digital brain phantoms with tumours and MS lesions ({SPACING_MM:g} mm)")
    table = simulate(out / "phantoms", SUBJECTS, SEED, "brats", spacing_mm=SPACING_MM)
    cohort = read_cohort(table)
    remark("[bold]2/5  prepare: brain mask, z-score, [0, 1], slices of one size")
    prepare(cohort, recipe, out / "prepared")
    if not Run(run).is_trained:
        remark("[bold]3/5  train T1 → FLAIR (2-D U-Net of Osman & Tamam 2022, small profile)")
        train(recipe, PreparedCohort.open(out / "prepared"), run, resume=True)
    remark("[bold]4/5  synthesize and evaluate the subjects that training never saw")
    synthesize_cohort(run, cohort, Run(run).predictions, split="test")
    evaluate_run(run, cohort, Run(run).predictions, recipe.evaluate.presets)
    remark("[bold]5/5  report")
    page = build_report(run)
    target = out / "report.html"
    with atomic_file(target) as temporary:
        temporary.write_bytes(page.read_bytes())
    return target
