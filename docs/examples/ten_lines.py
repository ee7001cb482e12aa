"""The whole way from Python: phantoms, a prepared cohort, a trained model, its predictions, their numbers, one page."""

import sys
from pathlib import Path

from mrsynth.evaluate.run import evaluate_run
from mrsynth.io import PreparedCohort, read_cohort
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import load_recipe
from mrsynth.report import build_report
from mrsynth.simulate import simulate
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.train.run import train

folder = Path(sys.argv[1])
tiny = ["train.epochs=2", "net.settings.widths=[8, 16]", "net.settings.dropout=[0.1, 0.1]"]
recipe = load_recipe("osman2022/t1-flair/small", tiny)
cohort = read_cohort(simulate(folder / "phantoms", subjects=6, seed=1, profile="brats", spacing_mm=4.0))
prepare(cohort, recipe, folder / "prepared")
train(recipe, PreparedCohort.open(folder / "prepared"), folder / "run")
synthesize_cohort(folder / "run", cohort, folder / "run" / "predictions", split="test")
evaluate_run(folder / "run", cohort, folder / "run" / "predictions", recipe.evaluate.presets)
print(build_report(folder / "run"))
