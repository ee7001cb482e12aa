"""The charts of a study: losses, filters and feature maps, a line through a head, doses; from what its cells left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mrsynth.core.files import atomic_file, safe_name
from mrsynth.core.image import slices_around
from mrsynth.core.seeds import generator
from mrsynth.drawing.charts import Line, losses_png, profile_png
from mrsynth.drawing.filters import Learned, filters_png
from mrsynth.evaluate.dose_response import Shown
from mrsynth.evaluate.dose_scans import by_examination, made_at_doses
from mrsynth.io import Cohort, PreparedCohort
from mrsynth.io.columns import read_history
from mrsynth.io.run import Run
from mrsynth.model import Contract, load_contract, load_weights
from mrsynth.nets import build_net
from mrsynth.reproduce.chart_settings import ChartSettings
from mrsynth.reproduce.dose_charts import dose_chart
from mrsynth.reproduce.plan import Cell, Item
from mrsynth.reproduce.plate_settings import CaseChoice
from mrsynth.reproduce.records import Figure, State
from mrsynth.reproduce.scans import Scans, choose_cases, read_scans, tumour_ml

LOWEST, LAST = 81, 9
"""How many maps of the lowest layer and of the last but one are drawn, chosen at random, as in Figure 9 of li2022."""


def draw_charts(out: Path, charts: Mapping[str, ChartSettings], items: Sequence[Item], cohort: Cohort) -> list[Figure]:
    """Draw a study's charts into out/figures.

    Of a cell with several seeds, charts show the first that is there. Charts of a single case show a test case, one
    without a tumour where there is one.

    Args:
        out: the study's folder.
        charts: chart → its settings.
        items: the study's cells, jobs and data.
        cohort: the scans that the study runs on.

    Returns:
        For each chart its file, or why it cannot be drawn.
    """
    cells: dict[str, Cell] = {}
    histories: dict[str, Cell] = {}
    for item in items:
        if isinstance(item, Cell) and item.training is not None:
            histories.setdefault(item.name, item)
            if Run(item.run).is_trained:
                cells.setdefault(item.name, item)
    figures = []
    for name, settings in charts.items():
        if settings.of_doses:
            drawn = dose_chart(name, settings, doses_shown(settings, items, cohort), out / "figures")
        else:
            drawn = _drawn(settings, histories if settings.losses else cells, cohort)
        if isinstance(drawn, str):
            figures.append(Figure(name=name, title=settings.title, file=None, why=drawn))
            continue
        png, alt, cases = drawn
        path = out / "figures" / f"{safe_name(name)}.png"
        with atomic_file(path) as temporary:
            temporary.write_bytes(png)
        figures.append(Figure(name=name, title=settings.title, file=path.name, alt=alt, cases=cases))
    return figures


def _drawn(settings: ChartSettings, cells: Mapping[str, Cell], cohort: Cohort) -> tuple[bytes, str, list[str]] | str:
    """Return a chart, what it shows in words and its cases; or why it cannot be drawn."""
    wanted = {**settings.losses, **settings.filters}
    shown = {label: cells[cell] for label, cell in wanted.items() if cell in cells}
    if not cells or (wanted and not shown):
        return "no run is finished"
    if settings.losses:
        histories = {label: read_history(Run(cell.run).history) for label, cell in shown.items()}
        return losses_png(histories), "Training and validation loss by epoch: " + ", ".join(histories), []
    test = {row.case: row for row in cohort.select("test")}
    volumes = {case: tumour_ml(row) for case, row in test.items()}
    chosen = choose_cases(volumes, CaseChoice(without_tumour=1, with_tumour=1))
    if not chosen:
        return "the test split has no case"
    case = chosen[0]
    if settings.filters:
        networks = [found for label, cell in shown.items() if (found := learned(label, cell, case)) is not None]
        if not networks:
            return "no network `drunet` among them, or the case was not prepared"
        return filters_png(networks), "First filters and feature maps: " + ", ".join(shown), [case]
    contract = load_contract(next(iter(cells.values())).run)
    scans = read_scans(test[case], settings.profile, contract, contract.inputs[0])
    if absent := [name for name in settings.profile if name not in scans.images]:
        return f"no {' and '.join(absent)} of {case}"
    line = line_through_fluid(scans, settings.profile)
    return profile_png(line), f"Values along a line through {case}: {', '.join(settings.profile)}", [case]


def doses_shown(settings: ChartSettings, items: Sequence[Item], cohort: Cohort) -> Shown:
    """Return what a chart of doses shows: finished predictions of test cases, of the first finished seed.

    Args:
        settings: the chart.
        items: the study's cells, jobs and data.
        cohort: the scans that the study runs on; the doses of its training cases are marked.
    """
    finished: dict[str, tuple[Path, Path]] = {}
    for item in items:
        state = State.of(item.place)
        if item.kind != "data" and state.is_done and not state.imported:
            finished.setdefault(item.name, (item.maker.run, Run(item.place).predictions))
    rows = by_examination(cohort.select("test"))
    made = [
        made_at_doses(label, *finished[name], rows) for label, name in settings.of_doses.items() if name in finished
    ]
    return Shown(made, rows, sorted({row.dose for row in cohort.select("train") if row.dose is not None}))


def line_through_fluid(scans: Scans, contrasts: Sequence[str]) -> Line:
    """Return the line from left to right that meets most cerebrospinal fluid, in the slice with most brain.

    It is the line on which the middle third of the brain is darkest in a CT. Rows of less than half the brain's width
    are left out.

    Args:
        scans: the scans of a case, each of `contrasts` among them.
        contrasts: whose values are drawn; the first is the CT.
    """
    k = int(np.argmax(scans.brain.sum(axis=(0, 1))))
    brain, ct = scans.brain[..., k], scans.images[contrasts[0]][..., k]
    widths = brain.sum(axis=0)
    rows = [int(y) for y in np.flatnonzero(widths >= widths.max() / 2)]

    def ends(y: int) -> tuple[int, int]:
        inside = np.flatnonzero(brain[:, y])
        return int(inside[0]), int(inside[-1])

    def middle(y: int) -> float:
        first, last = ends(y)
        third = (last - first + 1) // 3
        return float(ct[first + third : last + 1 - third, y].mean())

    y = min(rows, key=middle)
    x_mm, y_mm, _ = scans.own.spacing_mm
    return Line(ct, y, ends(y), (x_mm, y_mm), {name: scans.images[name][:, y, k] for name in contrasts})


def learned(label: str, cell: Cell, case: str) -> Learned | None:
    """Return what Figure 9 of li2022 shows of a cell's network.

    A filter is that which acts on the scan; of several channels it is their sum.

    Args:
        label: what the picture calls the network.
        cell: the cell, whose run has a model.
        case: the prepared case whose feature maps are shown, in the axial slice with most brain.

    Returns:
        Filters, feature maps and output; None where the network has no layers to draw, or the case was not prepared.
    """
    contract, prepared = load_contract(cell.run), PreparedCohort.open(cell.prepared)
    net = build_net(contract.net, **contract.net_settings)
    if not net.drawn_layers() or case not in prepared.cases():
        return None
    load_weights(cell.run, contract, net)
    maps: dict[str, Tensor] = {}
    for name, layer in net.drawn_layers().items():
        layer.register_forward_hook(lambda _, __, output, name=name: maps.__setitem__(name, output[0]))
    with torch.inference_mode():
        output = net(_slice(contract, prepared, case))[0, 0]
    random = generator(0, "feature maps")
    chosen = {
        name: values[np.sort(random.choice(len(values), min(count, len(values)), replace=False))].numpy()
        for name, values, count in (("lowest", maps["lowest"], LOWEST), ("last", maps["last"], LAST))
    }
    return Learned(label, net.image_filters().numpy(), chosen["lowest"], chosen["last"], output.numpy())


def _slice(contract: Contract, prepared: PreparedCohort, case: str) -> Tensor:
    """Return the network's inputs at the axial slice with most brain, (1, c, x, y)."""
    k = int(np.argmax((prepared.array(case, "brain") > 0).sum(axis=(0, 1))))
    volumes = [prepared.array(case, name) for name in contract.inputs]
    near = slices_around(k, contract.neighbours, volumes[0].shape[2])
    return torch.from_numpy(np.stack([volume[..., n] for volume in volumes for n in near])[None].astype(np.float32))
