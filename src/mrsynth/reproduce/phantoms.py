"""The phantom cohort of a study, in groups where it asks for them.

OUT/phantoms/<patient>/                  a case folder as mrsynth simulate writes it
OUT/phantoms/<patient>_dose-<dose>/      the same patient at another low dose (`series`)
OUT/phantoms/cohort.csv                  with the column `group`, where there are groups
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mrsynth.core.errors import CohortError, RecipeError
from mrsynth.core.seeds import derive_seed
from mrsynth.index.find import index_folder
from mrsynth.io import Cohort, read_cohort, write_cohort
from mrsynth.phantom import Member, cohort_members
from mrsynth.reproduce.data_settings import GroupSettings, PhantomSettings
from mrsynth.simulate import simulate, write_members

SERIES = "series"
"""The group of the further cases at other doses."""

Place = tuple[str, str, str]
"""Patient, split and group of a case."""


def make_phantoms(phantoms: PhantomSettings | None, out: Path) -> Path:
    """Make a scale's phantom cohort in out/phantoms.

    Args:
        phantoms: its size and groups, None where the scale has no phantoms.
        out: the study's folder.

    Returns:
        The cohort table.

    Raises:
        RecipeError: the scale has no phantoms.
        CohortError: the folder holds other phantoms.
    """
    if phantoms is None:
        raise RecipeError(
            "The scale `paper` needs the paper's cohort, which mrsynth may not carry.",
            expected="--cohort, a table made by mrsynth index of the data set that the recipe names",
            do="get the data from its owners, or take --scale small",
        )
    if phantoms.group is None:
        table, count = _one_group(phantoms, out / "phantoms")
    else:
        table, count = _groups(phantoms, phantoms.group, out / "phantoms")
    if (found := len(read_cohort(table).rows)) != count:
        raise CohortError(
            f"{table.parent} holds other phantoms than the scale has now.",
            found=f"{found} cases",
            expected=count,
            do=f"remove {table.parent}, or name another folder with --out",
        )
    return table


def _one_group(phantoms: PhantomSettings, out: Path) -> tuple[Path, int]:
    """Make a cohort whose patients are put into splits at random; returns its table and how many cases it has."""
    sizes = (phantoms.train, phantoms.val, phantoms.test)
    table = simulate(
        out,
        sum(sizes),
        phantoms.seed,
        phantoms.profile,
        spacing_mm=phantoms.spacing_mm,
        fractions=sizes,
    )
    return table, sum(sizes)


def _groups(phantoms: PhantomSettings, first: str, out: Path) -> tuple[Path, int]:
    """Make a cohort of several groups, and the further cases of the first; returns its table and how many cases."""
    members: list[Member] = []
    places: dict[str, Place] = {}
    for group, settings in {first: phantoms, **phantoms.also}.items():
        for split, count in (("train", settings.train), ("val", settings.val), ("test", settings.test)):
            own = _members(phantoms, settings, f"{group}-{split}", count)
            places |= {member.name: (member.name, split, group) for member in own}
            members += own
    for member in [m for m in members if places[m.name][1:] == ("test", first)]:
        for further in (member.at_dose(dose) for dose in phantoms.series):
            places[further.name] = (member.name, "test", SERIES)
            members.append(further)
    write_members(members, out)
    found = {row.case: row for row in index_folder(out).rows}
    if strangers := sorted(set(found) - set(places)):
        raise CohortError(
            f"{out} holds phantoms that are not this study's.", found=", ".join(strangers[:5]), do=f"remove {out}"
        )
    rows = [
        replace(found[case], patient=patient, split=split, metadata={**found[case].metadata, "group": group})
        for case, (patient, split, group) in places.items()
    ]
    write_cohort(Cohort(tuple(rows)), out / "cohort.csv")
    return out / "cohort.csv", len(members)


def _members(phantoms: PhantomSettings, group: GroupSettings, name: str, count: int) -> list[Member]:
    """Return the patients of a split of a group, named after it: they have strata and lesions in turn from the first
    on."""
    return cohort_members(
        derive_seed(phantoms.seed, name),
        count,
        phantoms.profile,
        phantoms.spacing_mm,
        strata=group.strata,
        lesions=group.lesions,
        prefix=name,
    )
