"""mrsynth reproduce: a paper's study as one command that resumes: cells, jobs, tables beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import CohortError, MrsynthError, OutputError, RecipeError
from mrsynth.core.jobs import Failure, Workers, run_each
from mrsynth.core.locks import one_writer
from mrsynth.core.ownership import Test, require_ours
from mrsynth.core.progress import CONSOLE, CaseProgress, listening, remark
from mrsynth.drawing.table import Table
from mrsynth.io import Cohort, read_cohort
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import prepare
from mrsynth.reproduce.claims import write_claims
from mrsynth.reproduce.data import cases_of
from mrsynth.reproduce.estimate import cost_table
from mrsynth.reproduce.listing import header_lines, write_study_record
from mrsynth.reproduce.phantoms import make_phantoms
from mrsynth.reproduce.plan import Cell, Dataset, Item, Job, choose, plan_study, require_unchanged
from mrsynth.reproduce.plates import picture_study
from mrsynth.reproduce.records import CurveAxis, Figures, State, StudyRecord
from mrsynth.reproduce.results import export_results, import_results
from mrsynth.reproduce.study import Scale, Study, load_study
from mrsynth.reproduce.tables import Results, build_table, write_table
from mrsynth.reproduce.work import StudyWork, write_failed


@dataclass(frozen=True)
class Reproduced:
    """What came of a study.

    Attributes:
        page: study.html.
        tables: Markdown.
        failed: (cell or job, why) of what failed now.
    """

    page: Path
    tables: tuple[Path, ...]
    failed: tuple[tuple[str, str], ...]


@one_writer("reproduce")
def reproduce(
    name: str,
    scale: Scale,
    out: Path,
    cohort: Path | None = None,
    *,
    workers: Workers | None = None,
    only: Sequence[str] = (),
    tables_only: bool = False,
    weights: Mapping[str, str] | None = None,
) -> Reproduced:
    """Run a study at a scale into a folder, and write its tables, pictures and record.

    What is finished is kept and what was interrupted goes on. A cell that fails stops no other.

    Args:
        name: of a study that mrsynth carries, or the path of a YAML file.
        scale: one of the study's scales.
        out: the study's folder.
        cohort: a cohort table; without one, phantoms of the scale's size are made.
        workers: where cells run; by default here, one after the other.
        only: cells and jobs to run, with all that they need; by default all.
        tables_only: whether nothing is run and the tables are made of what is there.
        weights: of others, network → file, "cache" or "download"; cells on phantoms that look for them are left out
            without. None for what the folder's study was begun with.

    Returns:
        Page, tables, and what failed now.

    Raises:
        RecipeError: the scale or a name does not exist, the folder or a cell was begun with another scale or recipe, or
            the scale has no phantoms (`paper`) and no cohort is given.
        CohortError: the cohort has no case in one of the splits, the folder holds other phantoms, or tables_only finds
            no study there.
        OutputError: another process writes into the folder, something that no study left is in the way, or a file
            cannot be written; a full disk stops all cells.
    """
    out, workers = out.absolute(), workers or Workers()
    study, items, before = _planned(name, scale, out, weights)
    _require_own(out, items, begun=before is not None)
    wanted = choose(items, only)
    failed: list[tuple[str, str]] = []
    if tables_only:
        table = cohort or _known_cohort(out, before)
        scans, phantom = read_cohort(table), cohort is None and before is not None and before.phantoms is not None
    else:
        require_unchanged(items)
        table = (cohort or make_phantoms(study.scales[scale].phantoms, out)).absolute()
        scans, phantom = _with_all_splits(read_cohort(table), str(table)), cohort is None
        write_study_record(out, study, scale, items, (table, scans), phantom)
        unprepared = _prepare(wanted, scans, workers)
        failed = _run(wanted, table, unprepared, workers)
    record = write_study_record(out, study, scale, items, (table, scans), phantom)
    tables = _write_tables(study, scale, out, items, scans, header_lines(record))
    page = picture_study(out, study.plates, items, scans, charts=study.charts)
    return Reproduced(page, tuple(tables), tuple(failed))


@one_writer("reproduce")
def take_results(
    name: str,
    scale: Scale,
    out: Path,
    folder: Path,
    cohort: Path | None = None,
    *,
    weights: Mapping[str, str] | None = None,
) -> list[str]:
    """Take numbers that another machine measured into a study's folder, from which it goes on.

    Args:
        name: of the study.
        scale: one of its scales.
        out: the study's folder.
        folder: of the files that `give_results` wrote.
        cohort: the cohort table of the numbers; without one, phantoms of the scale's size are made.
        weights: as in `reproduce`.

    Returns:
        The cells and jobs that were taken.

    Raises:
        MrsynthError: as `reproduce`, and as `import_results`, where a file does not fit.
    """
    out = out.absolute()
    study, items, before = _planned(name, scale, out, weights)
    _require_own(out, items, begun=before is not None)
    table = cohort or (Path(before.cohort) if before else make_phantoms(study.scales[scale].phantoms, out))
    scans = _with_all_splits(read_cohort(table), str(table))
    phantom = before.phantoms is not None if before and cohort is None else cohort is None
    write_study_record(out, study, scale, items, (table.absolute(), scans), phantom)  # what follows is a study's own
    taken = import_results(study, scale, items, scans, folder)
    write_study_record(out, study, scale, items, (table.absolute(), scans), phantom)
    return taken


def give_results(name: str, scale: Scale, out: Path, folder: Path) -> list[Path]:
    """Write the numbers of all that is finished, for another machine.

    Args:
        name: of the study.
        scale: at which it runs.
        out: the study's folder.
        folder: where the files go, one a cell or job.

    Returns:
        The files.

    Raises:
        MrsynthError: as `export_results`, and where the folder holds no study.
    """
    study, items, before = _planned(name, scale, out.absolute())
    return export_results(study, scale, items, read_cohort(_known_cohort(out, before)), folder)


def cost_of(
    name: str, scale: Scale, out: Path, only: Sequence[str] = (), weights: Mapping[str, str] | None = None
) -> Table:
    """Return what is left of a study, and what it would cost on this machine; nothing is run or written.

    Args:
        name: of the study.
        scale: one of its scales.
        out: the study's folder, which need not be there.
        only: cells and jobs; by default all.
        weights: as in `reproduce`.

    Raises:
        RecipeError: the scale or a name does not exist.
    """
    study, items, _ = _planned(name, scale, out.absolute(), weights)
    phantoms = study.scales[scale].phantoms
    return cost_table(choose(items, only), phantoms.spacing_mm if phantoms else None)


def _planned(
    name: str, scale: Scale, out: Path, weights: Mapping[str, str] | None = None
) -> tuple[Study, list[Item], StudyRecord | None]:
    """Return a study, its items at a scale, and what its folder says of it; raises RecipeError for another scale."""
    study = load_study(name)
    if scale not in study.scales:
        raise RecipeError(f"Study {study.name} has no scale '{scale}'.", expected=", ".join(study.scales))
    before = StudyRecord.read(out / StudyRecord.FILE) if (out / StudyRecord.FILE).exists() else None
    _require_scale(before, scale, out)
    return study, plan_study(study, scale, out, weights), before


def _require_scale(before: StudyRecord | None, scale: Scale, out: Path) -> None:
    """Raise RecipeError where the folder holds the study at another scale."""
    if before is not None and before.scale != scale:
        raise RecipeError(
            f"{out} holds this study at another scale.",
            found=before.scale,
            expected=scale,
            do="name another folder with --out",
        )


def _require_own(out: Path, items: Sequence[Item], begun: bool) -> None:
    """Raise OutputError where a study would write over what no study left, or through a link.

    Args:
        out: the study's folder.
        items: its cells, jobs and data.
        begun: whether its study.json is there: it is the first that a study writes.
    """
    places = [folder for item in items for folder in (item.place, item.maker.run, item.maker.prepared)]
    names = {"study.html", "tables", Path(Figures.FILE).parts[0]} | {p.relative_to(out).parts[0] for p in places}
    own: dict[str, Test] = {name: (lambda _: begun) for name in sorted(names)}
    own["phantoms"] = lambda _: True  # simulate knows its own
    require_ours(out, own, "name another folder with --out")


def _known_cohort(out: Path, record: StudyRecord | None) -> Path:
    """Return the table that a study was run on."""
    if record is None:
        raise CohortError(
            f"{out} holds no study.", expected="study.json", do="run the study first, without --tables-only"
        )
    return Path(record.cohort)


def _with_all_splits(cohort: Cohort, name: str) -> Cohort:
    """Return a cohort; raises CohortError where a split is empty. name: what the message calls it."""
    if empty := [split for split in ("train", "val", "test") if not cohort.select(split)]:
        raise CohortError(
            f"{name}: a study needs cases to train, to choose the epoch and to test.",
            found=f"no case in {' and '.join(empty)}",
            do="fill the column `split` (mrsynth index assigns it)",
        )
    return cohort


def _prepare(items: Sequence[Item], cohort: Cohort, workers: Workers) -> dict[Path, str]:
    """Prepare the cohort once for each distinct preparation, and for each data that cells are trained on and that is
    there already; returns the folders where that failed, and why."""
    failed = {}
    here = [item for item in items if isinstance(item, Cell) and not State.of(item.place).imported]
    cells = {item.prepared: item for item in here if not (item.data and item.data.makers)}
    for number, (folder, cell) in enumerate(cells.items(), start=1):
        remark(f"[bold]preparation {number}/{len(cells)}[/bold] {folder.name}")
        try:
            scans = _with_all_splits(cases_of(cell.data, cohort), cell.data.name if cell.data else "the cohort")
            done = prepare(scans, Plan.of_recipe(cell.recipe), folder, workers=workers)
        except OutputError:
            raise
        except MrsynthError as error:
            failed[folder] = str(error)
            continue
        for case, why in done.failed:
            CONSOLE.print(f"{case} could not be prepared and is left out: {why}", markup=False)
    return failed


def _run(items: Sequence[Item], table: Path, unprepared: Mapping[Path, str], workers: Workers) -> list[tuple[str, str]]:
    """Run cells and jobs; returns those that failed, and why. A full disk stops all with its OutputError."""
    failed: list[tuple[str, str]] = []
    ready = []
    for item in items:
        if isinstance(item, Cell) and item.prepared in unprepared:
            write_failed(item.place, unprepared[item.prepared])
            failed.append((item.label, unprepared[item.prepared]))
        else:
            ready.append(item)
    needs = {item: [one for one in item.needs if one in ready] for item in ready}
    bar = CaseProgress("study", len(ready), show=not workers.in_process)
    # Alone, a cell shows bars of its own: what is done with it is told in lines between them.
    with bar, listening(_remark_on if workers.in_process else bar.tell):
        for item, result in run_each(StudyWork(table), ready, workers, needs.__getitem__):
            bar.advance(item.label)
            if isinstance(result, Failure):
                if isinstance(result.stops, OutputError):
                    raise result.stops
                write_failed(item.place, result.why)
                failed.append((item.label, result.why))
    return failed


def _remark_on(label: str, what: str) -> None:
    remark(f"[bold]{label}[/bold] {what}")


def _write_tables(
    study: Study, scale: Scale, out: Path, items: Sequence[Item], cohort: Cohort, header: Sequence[str]
) -> list[Path]:
    """Write every table and curve of the study, and its claims; returns the Markdown files."""
    by_name: dict[str, list[Cell | Job]] = {}
    for item in items:
        if not isinstance(item, Dataset):
            by_name.setdefault(item.name, []).append(item)
    results = Results(by_name, cohort.rows, study.trainings)
    paths = []
    for name, table in study.all_tables(scale).items():
        built = build_table(name, table, results, header)
        if name in study.curves:
            axis = CurveAxis(x=study.curves[name].x, log=study.curves[name].log)
            built = built.model_copy(update={"curve": axis})
        paths.append(write_table(out / "tables", built))
    paths += [write_claims(out / "tables", study.claims, results, cohort)] if study.claims else []
    return paths
