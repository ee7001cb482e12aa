"""One predicted case against its truth: the model beside its simple rivals, under every preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import grid_error
from mrsynth.evaluate.coverage import coverage, read_error
from mrsynth.evaluate.dose_scans import doses_in
from mrsynth.evaluate.panels import write_panel
from mrsynth.evaluate.results import cut_off
from mrsynth.evaluate.scene import write_scene
from mrsynth.evaluate.second_scan import second_scan
from mrsynth.evaluate.truth import Truth, read_truth
from mrsynth.io import CaseRow, read_prediction
from mrsynth.io.evaluation import Evaluation, PanelEntry
from mrsynth.io.predictions import PredictedImage, PredictionsRecord, verified
from mrsynth.io.prepared_inputs import digests_of
from mrsynth.io.synthetic import why_synthetic
from mrsynth.metrics import MetricRecord, PairInfo, build_regions, evaluate_pair
from mrsynth.metrics.regions import ENHANCES
from mrsynth.metrics.rivals import RivalCase, Rivals
from mrsynth.model import Contract
from mrsynth.recipes.recipe import Recipe


def candidates_of(
    truth: Truth, prediction: np.ndarray, rivals: Rivals, contract: Contract
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the images to judge of a case: the model's, and its rivals'.

    Args:
        truth: the case.
        prediction: the model's image (x, y, z).
        rivals: of the run.
        contract: the model's; a rival's image is clipped to its range.

    Returns:
        Predictor → image (x, y, z), "model" first; and rival → why there is none of it.
    """
    inputs = {name: image.data for name, image in truth.inputs.items()}
    row = truth.row
    case = RivalCase(inputs, truth.brain, truth.target.spacing_mm, dose=row.dose, b0_tesla=row.b0_tesla)
    made, lacking = rivals.images(case)
    return {"model": prediction, **{name: np.clip(one, *contract.range) for name, one in made.items()}}, lacking


def without_value(records: Sequence[MetricRecord], predictor: str, why: str) -> list[MetricRecord]:
    """Return the records of a predictor that could not be made: no value, and the reason.

    Args:
        records: of the case; each of the model's gets one beside it.
        predictor: its name.
        why: the reason.
    """
    made = [record for record in records if record.predictor == "model"]
    return [replace(record, predictor=predictor, value=None, n=0, reason=why) for record in made]


def judge(
    truth: Truth, candidates: Mapping[str, np.ndarray], presets: Sequence[str], contract: Contract, recipe: Recipe
) -> list[MetricRecord]:
    """Judge every candidate under every preset.

    Args:
        truth: the case.
        candidates: predictor → image (x, y, z) on the grid of the truth.
        presets: metric conventions.
        contract: the model's.
        recipe: the run's; it may tell the data range, and how much brain a slice must show.

    Returns:
        The records; where contrast agent is at work, also those of the voxels that enhance by more than ENHANCES of the
        data range.
    """
    data_range = data_range_of(contract, recipe)
    native, enhanced = before_and_after(truth, contract)
    regions = build_regions(truth.target.data.shape, truth.brain, truth.lesion, native, enhanced, ENHANCES * data_range)
    records: list[MetricRecord] = []
    for name, candidate in candidates.items():
        info = PairInfo(truth.row.case, contract.target, name, recipe.samples.min_brain_fraction)
        for preset in presets:
            records += evaluate_pair(
                candidate, truth.target.data, regions, data_range, preset, info=info, native=native
            )
    return records


def flat_brain(truth: Truth) -> np.ndarray:
    """Return the best image (x, y, z) without anything in it: the truth's own mean in the brain, 0 elsewhere.

    It knows the truth and is no rival: it says how much of a PSNR the intensity scale gives away.

    Args:
        truth: the case.
    """
    brain = np.asarray(truth.brain) > 0
    return np.where(brain, truth.target.data[brain].mean(dtype=np.float64), 0).astype(np.float32)


def data_range_of(contract: Contract, recipe: Recipe) -> float:
    """Return the data range of PSNR and SSIM: the recipe's own, else the width of the model's range.

    Args:
        contract: the model's.
        recipe: the run's.
    """
    return recipe.evaluate.data_range or contract.range[1] - contract.range[0]


def before_and_after(truth: Truth, contract: Contract) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the native and the standard-dose T1 of a case whose target is a T1 after contrast agent.

    Args:
        truth: the case.
        contract: names the target.

    Returns:
        Both images (x, y, z); None, None where the target is neither t1ce nor t1ld, or one of the two is not at hand.
    """
    images = {**truth.inputs, contract.target: truth.target}
    if contract.target not in ("t1ce", "t1ld") or not {"t1", "t1ce"} <= set(images):
        return None, None
    return images["t1"].data, images["t1ce"].data


@dataclass(frozen=True)
class Judged:
    """What was found of one prediction.

    Attributes:
        records: the values.
        panel: its entry among the slices that a report shows.
        remarks: sentences.
    """

    records: list[MetricRecord]
    panel: PanelEntry
    remarks: list[str]


@dataclass(frozen=True, eq=False)
class PairWork:
    """The judgement of a prediction.

    Attributes:
        folder: of the predictions.
        predictions: the folder's record.
        rows: case → its row.
        rivals: the simple ones beside the model.
        presets: by which is judged.
        contract, recipe: of the model.
        where: to write pictures to.
    """

    folder: Path
    predictions: PredictionsRecord
    rows: Mapping[str, CaseRow]
    rivals: Rivals
    presets: Sequence[str]
    contract: Contract
    recipe: Recipe
    where: Evaluation

    def __call__(self, pair: tuple[CaseRow, str, PredictedImage]) -> Judged:
        """Judge a pair.

        Args:
            pair: the row of the truth, the case that was predicted and its image; see `truths_of`.

        Returns:
            What was found.

        Raises:
            InputError: where the pair cannot be judged.
        """
        row, case, image = pair
        self._require_its_scans(case)
        _require_scan(row, self.contract.target)
        truth = read_truth(row, self.contract, self.predictions.like(case))
        prediction = read_prediction(verified(self.folder, image), self.contract.target)
        if error := grid_error(row.case, truth.target, prediction):
            raise error
        candidates, lacking = candidates_of(truth, prediction.data, self.rivals, self.contract)
        records = judge(truth, candidates, self.presets, self.contract, self.recipe)
        if (again := second_scan(truth, self.contract, self.predictions.like(case))) is not None:
            clipped = {"second_scan": np.clip(again, *self.contract.range)}
            records += judge(truth, clipped, self.presets, self.contract, self.recipe)
        if "osman2022" in self.presets:  # the paper's scale is what decides its numbers
            records += judge(truth, {"flat_brain": flat_brain(truth)}, self.presets, self.contract, self.recipe)
        for rival, why in lacking.items():
            records += without_value(records, rival, why)
        data_range, half = data_range_of(self.contract, self.recipe), None
        if image.error is not None:
            half = read_error(self.folder, image.error, truth, self.contract)
            records += coverage(truth, prediction.data, half, self.presets[0], data_range)
        write_scene(self.where.scenes, truth, self._shown(case, image), self.contract, half)
        panel = write_panel(truth, candidates, self.where.panels, self.contract, data_range, half)
        remark = cut_off(row.case, truth.cut_off)
        return Judged(records, panel, [remark] if remark else [])

    def _shown(self, case: str, image: PredictedImage) -> dict[float | None, Path]:
        """Return the images to look at of a case: the one that is judged, or all of its series."""
        known = self.predictions.cases[case]
        series = doses_in(self.predictions, self.rows[case]) if len(known.images) > 1 else {None: image}
        return {dose: verified(self.folder, one) for dose, one in series.items()}

    def _require_its_scans(self, case: str) -> None:
        """Raise InputError where a scan of the table is another one than the prediction was made of."""
        known = self.predictions.cases[case].sha256
        files = {name: path for name, path in self.rows[case].files.items() if name in known}
        now = digests_of(replace(self.rows[case], files=files), list(files))
        if other := [name for name in files if now[name] != known[name]]:
            raise InputError(
                f"{case}: its prediction was made of another {other[0]}.",
                found=str(files[other[0]]),
                expected=f"the file with the SHA-256 {known[other[0]]}",
                do="give the table that synthesize was given, or run mrsynth synthesize --cohort again",
            )


def _require_scan(row: CaseRow, target: str) -> None:
    """Raise InputError where a model made what is to be the truth."""
    if target in row.files and (why := why_synthetic(row.files[target])):
        raise InputError(f"{row.case}: its {target} is a synthetic image, not a scan.", found=why)
