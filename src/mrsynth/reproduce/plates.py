"""The plates of a study: chosen test cases, their scans and what each cell and job made of them, as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.files import atomic_file, safe_name
from mrsynth.core.image import same_grid
from mrsynth.core.progress import track
from mrsynth.drawing.plates import Kind as Drawn
from mrsynth.drawing.plates import Plate, PlateRow, Tile, plate_png
from mrsynth.io import Cohort, read_prediction
from mrsynth.io.predictions import PredictionsRecord, path_of, read_predictions
from mrsynth.io.run import Run
from mrsynth.model import Contract, load_contract
from mrsynth.reproduce.chart_settings import ChartSettings
from mrsynth.reproduce.charts import draw_charts
from mrsynth.reproduce.data import select
from mrsynth.reproduce.page import build_study
from mrsynth.reproduce.plan import Item
from mrsynth.reproduce.plate_settings import Kind, PlateSettings, Shown, picture
from mrsynth.reproduce.records import Figure, Figures, State
from mrsynth.reproduce.scans import Scans, choose_cases, largest_part, read_scans, tumour_ml

NOTE = (
    "Left of the picture is the patient's right. Brain alone, values as the models' preparation leaves them; the grey "
    "window of a row ends at the 99.8th percentile of its true images. Cases by tumour volume, evenly, not by result."
)


@dataclass(frozen=True)
class Prediction:
    """What a cell or job of a study made.

    Attributes:
        run: the run folder of its model.
        folder: its predictions, None where there are none.
        state: why not, as the tile says it.
    """

    run: Path
    folder: Path | None
    state: str = "not run"


@dataclass(frozen=True, eq=False)
class Made:
    """Finished predictions.

    Attributes:
        folder: where they lie.
        index: what predictions.json says.
        contract: of their model.
    """

    folder: Path
    index: PredictionsRecord
    contract: Contract

    def like(self, case: str) -> str:
        """Return the contrast on whose grid the prediction of a case lies."""
        return self.index.like(case)


def picture_study(
    out: Path,
    plates: Mapping[str, PlateSettings],
    items: Sequence[Item],
    cohort: Cohort,
    *,
    charts: Mapping[str, ChartSettings] | None = None,
) -> Path:
    """Draw a study's plates and charts and write its page, from what its cells and jobs left.

    Of a cell that was trained with several seeds, plates show the first.

    Args:
        out: the study's folder.
        plates: plate → its settings.
        items: the study's cells, jobs and data.
        cohort: the scans that the study runs on.
        charts: chart → its settings, None for no charts.

    Returns:
        The page.

    Raises:
        InputError: a file cannot be read.
    """
    predictions: dict[str, Prediction] = {}
    for item in items:
        if item.kind == "data":
            continue
        state = State.of(item.place)
        folder = Run(item.place).predictions if state.is_done and not state.imported else None
        words = "measured elsewhere" if state.imported else state.state
        predictions.setdefault(item.name, Prediction(item.maker.run, folder, words))
    figures = [*draw_plates(out, plates, cohort, predictions), *draw_charts(out, charts or {}, items, cohort)]
    Figures(figures=figures).write(out / Figures.FILE)
    return build_study(out)


def draw_plates(
    out: Path,
    plates: Mapping[str, PlateSettings],
    cohort: Cohort,
    predictions: Mapping[str, Prediction],
) -> list[Figure]:
    """Draw every plate of a study into out/figures, of test cases alone.

    A prediction that is not there leaves a tile that says why. A plate is left out where it has no case or no run is
    finished.

    Args:
        out: the study's folder.
        plates: plate → its settings.
        cohort: the scans that the study runs on.
        predictions: cell or job → what it made.

    Returns:
        For each plate its file, or why it is left out.

    Raises:
        InputError: a case cannot be read.
    """
    test = {row.case: row for row in cohort.select("test")}
    made = {name: found for name, one in predictions.items() if (found := _made(one)) is not None}
    volumes = {case: tumour_ml(row) for case, row in test.items()} if plates and made else {}
    chosen = {}
    for name, settings in plates.items():
        shown_of = {row.case for row in select(test.values(), settings.cases.where)}
        chosen[name] = choose_cases({case: ml for case, ml in volumes.items() if case in shown_of}, settings.cases)
    shown = [name for settings in plates.values() for name in _scans_of(settings)]
    rows: dict[str, dict[str, list[PlateRow]]] = {name: {} for name in plates}
    wanted = list(dict.fromkeys(case for cases in chosen.values() for case in cases))
    # Case by case, so that a case is read once for all plates and only slices are kept.
    for case in track(wanted, "pictures", len(wanted)):
        scans: dict[str, Scans] = {}
        for name, settings in plates.items():
            reference = _reference(settings, made)
            if case not in chosen[name] or reference is None:
                continue
            like = reference.like(case)
            key = json.dumps([reference.contract.steps, like])
            if key not in scans:
                scans[key] = read_scans(test[case], shown, reference.contract, like)
            rows[name][case] = _Drawing(settings, scans[key], volumes[case], reference, made, predictions).rows()
    figures = []
    for name, settings in plates.items():
        figure = Figure(name=name, title=settings.title, cases=chosen[name], file=None)
        if not made or not chosen[name]:
            why = "the test split has no such case" if made else "no run is finished"
            figures.append(figure.model_copy(update={"why": why}))
            continue
        all_rows = tuple(row for case in chosen[name] for row in rows[name][case])
        columns = tuple(settings.show) if settings.slices == 1 else ("",) * settings.slices
        path = out / "figures" / f"{safe_name(name)}.png"
        with atomic_file(path) as temporary:
            temporary.write_bytes(plate_png(Plate(columns, all_rows, _note(all_rows))))
        figures.append(figure.model_copy(update={"file": path.name, "alt": _alt(settings, chosen[name])}))
    return figures


def _scans_of(settings: PlateSettings) -> list[str]:
    """Return the contrasts that a plate needs."""
    needed = []
    for kind, of in map(picture, settings.show.values()):
        needed += {"scan": [str(of)], "enhancement": [str(of), "t1"], "mask": ["t1ce", "t1"]}.get(kind, [])
    return needed


def _made(prediction: Prediction) -> Made | None:
    """Return a finished prediction, None for one that is not there."""
    if prediction.folder is None:
        return None
    return Made(prediction.folder, read_predictions(prediction.folder), load_contract(prediction.run))


def _reference(settings: PlateSettings, made: Mapping[str, Made]) -> Made | None:
    """Return the finished prediction under whose preparation the scans of a plate are shown: the first that it shows,
    else the first of the study."""
    named = [str(of) for kind, of in map(picture, settings.show.values()) if kind in ("prediction", "error")]
    return next((made[name] for name in [*named, *made] if name in made), None)


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What the rows of one case in one plate are drawn from."""

    settings: PlateSettings
    scans: Scans
    tumour_ml: float
    reference: Made
    made: Mapping[str, Made]
    predictions: Mapping[str, Prediction]

    def rows(self) -> list[PlateRow]:
        """Return the rows of the case: one, and one of the tumour alone, or one a picture where slices are columns."""
        settings, scans, case = self.settings, self.scans, self.scans.row.case
        tumour = f"tumour {self.tumour_ml:.3g} ml" if self.tumour_ml else "no tumour"
        if settings.slices > 1:
            at = scans.through(settings.slices)
            return [
                self._row(f"{case}, {tumour}\n{label}", self._through(shown, at), at)
                for label, shown in settings.show.items()
            ]
        k = scans.fullest
        tiles = [self._through(shown, [k])[0] for shown in settings.show.values()]
        row = self._row(f"{case}, slice {k}\n{tumour}", tiles, [k])
        if settings.zoom_mm is None or not scans.tumour[..., k].any():
            return [row]
        zoom = replace(row, caption=f"{case}, slice {k}\nits tumour", region=largest_part(scans.tumour[..., k]))
        return [row, replace(zoom, side_mm=settings.zoom_mm)]

    def _row(self, caption: str, tiles: Sequence[Tile], at: list[int]) -> PlateRow:
        """Return a row of tiles of the case, its grey window from its true images in these slices."""
        brain = self.scans.brain[..., at]
        true = [self.scans.images[name][..., at][brain] for name in self._targets() if name in self.scans.images]
        low, high = self.reference.contract.range
        tops = [float(np.percentile(values, 99.8)) for values in true if values.size]
        window = (low, max(tops) if tops and max(tops) > low else high)
        x_mm, y_mm, _ = self.scans.own.spacing_mm
        return PlateRow(caption, tuple(tiles), window, np.asarray(brain.any(axis=-1)), (x_mm, y_mm))

    def _targets(self) -> set[str]:
        """Return what the predictions of the plate are meant to be, without any what the reference's are."""
        named = {str(of) for kind, of in map(picture, self.settings.show.values()) if kind == "prediction"}
        return {self.made[name].contract.target for name in named & set(self.made)} or {self.reference.contract.target}

    def _through(self, shown: Shown, at: list[int]) -> list[Tile]:
        """Return one picture in several slices."""
        kind, of = picture(shown)
        count = self.settings.slices
        volume = self._volume(kind, of)
        if isinstance(volume, str):
            return [Tile("image", None, words=volume)] * count
        drawn: Drawn = "image" if kind == "scan" or kind == "prediction" else kind
        tiles = [
            Tile(
                drawn,
                np.where(self.scans.brain[..., k], volume[..., k], 0).astype(np.float32),
                synthetic=kind == "prediction",
                lesion=None if drawn == "image" else self.scans.tumour[..., k],
                note=f"slice {k}" if count > 1 else "",
            )
            for k in at
        ]
        return tiles + [Tile("image", None)] * (count - len(tiles))

    def _volume(self, kind: Kind, of: str | float) -> np.ndarray | str:
        """Return what a picture shows as a volume (x, y, z), or in words why there is none."""
        if kind in ("prediction", "error"):
            return self._predicted(str(of), kind)
        after, before = {"scan": (of, None), "enhancement": (of, "t1"), "mask": ("t1ce", "t1")}[kind]
        images = self.scans.images
        if absent := [str(name) for name in (after, before) if name is not None and name not in images]:
            return f"no {' and '.join(absent)} of this case"
        change = images[str(after)] if before is None else images[str(after)] - images[str(before)]
        return change > float(of) if kind == "mask" else change

    def _predicted(self, name: str, kind: Kind) -> np.ndarray | str:
        """Return a prediction or its absolute error, or why there is none."""
        if name not in self.made:
            return self.predictions[name].state if name in self.predictions else "not part of this study"
        made, case = self.made[name], self.scans.row.case
        known = made.index.cases.get(case)
        if known is None or len(known.images) > 1:
            return "no prediction of this case"
        try:
            image = read_prediction(path_of(made.folder, known.images[0]), made.contract.target)
        except InputError:
            return "its prediction cannot be read"
        if not same_grid(image, self.scans.own):
            return f"lies on the grid of {made.like(case)}"
        if kind == "prediction":
            return image.data
        if made.contract.steps != self.reference.contract.steps or made.contract.target not in self.scans.images:
            return "no truth under this preparation"
        return np.abs(image.data - self.scans.images[made.contract.target])


def _note(rows: Sequence[PlateRow]) -> str:
    """Return what stands below a plate."""
    tiles = [tile for row in rows for tile in row.tiles]
    synthetic = "SYNTHETIC: never acquired. " if any(tile.synthetic for tile in tiles) else ""
    outlined = " Outlined: the true tumour." if any(tile.lesion is not None for tile in tiles) else ""
    return f"{synthetic}{NOTE}{outlined} Research software, not a medical device."


def _alt(settings: PlateSettings, cases: Sequence[str]) -> str:
    """Return what a plate shows in words, for those who cannot see it."""
    rows, columns = ", ".join(cases), ", ".join(settings.show)
    if settings.slices > 1:
        return f"{settings.slices} axial slices through {rows}: {columns}"
    return f"One axial slice of each of {rows}: {columns}"
