"""The schema of a study's data: phantoms in several groups, and which cases a cell is trained on or a job predicts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mrsynth.core.settings import Settings

Where = dict[str, list[str | float]]
"""Column of the cohort table → values: the cases that have one of them, in every column that is named."""

Split = Literal["train", "val", "test"]


class GroupSettings(Settings):
    """A group of phantoms.

    Attributes:
        train, val, test: how many patients.
        strata: site and low dose of its patients, in turn, in place of the profile's.
        lesions: their kinds, in turn, in place of the profile's mixture.
    """

    train: int = Field(ge=1)
    val: int = Field(ge=1)
    test: int = Field(ge=1)
    strata: list[tuple[str, float]] = Field(default_factory=list)
    lesions: list[str] = Field(default_factory=list)


class PhantomSettings(GroupSettings):
    """The phantom cohort that is made where none is given.

    Attributes:
        profile: which scans each patient gets.
        spacing_mm: edge of the voxels.
        seed: of the cohort.
        group: its name in the column `group` of the cohort table; each split then has the strata in turn, and no
            patient is put into one at random.
        also: further groups.
        series: doses; the test patients of the first group have a further case at each (group `series`), which differs
            from their own in nothing but the low dose.
    """

    profile: Literal["brats", "ct", "dose", "tumour"]
    spacing_mm: float = Field(ge=1)
    seed: int = Field(ge=0)
    group: str | None = None
    also: dict[str, GroupSettings] = Field(default_factory=dict)
    series: list[float] = Field(default_factory=list)


class PartSettings(Settings):
    """Some cases of the cohort.

    Attributes:
        where: which.
        made_by: a cell whose model makes its target of these cases, which then stands in the place of the real one;
            None leaves all images as they are.
        dose: at this dose, None at each case's own.
        splits: the cases whose image is made; those of other splits keep the real one.
    """

    where: Where
    made_by: str | None = None
    dose: float | None = Field(default=None, gt=0, le=1)
    splits: tuple[Split, ...] = ("train", "val")
