"""The phantoms of a study in groups: strata, splits, and the same patient at further doses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import CohortError
from mrsynth.io import read_cohort, read_image, read_mask
from mrsynth.reproduce.data_settings import PhantomSettings
from mrsynth.reproduce.phantoms import make_phantoms

SETTINGS = {
    "profile": "dose",
    "spacing_mm": 4,
    "seed": 3,
    "group": "one",
    "train": 2,
    "val": 1,
    "test": 1,
    "strata": [("site-A", 0.33), ("site-A15", 0.2)],
    "also": {"two": {"train": 1, "val": 1, "test": 1, "strata": [("site-B", 0.33)]}},
    "series": [0.17],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(PhantomSettings.model_validate(SETTINGS), tmp_path_factory.mktemp("out"))


def test_each_split_of_a_group_begins_with_the_first_stratum(table: Path):
    rows = [(r.metadata["group"], r.split, r.b0_tesla, r.dose) for r in read_cohort(table).rows]
    assert rows == [
        ("one", "train", 3, 0.33),
        ("one", "train", 1.5, 0.2),
        ("one", "val", 3, 0.33),
        ("one", "test", 3, 0.33),
        ("two", "train", 1.5, 0.33),
        ("two", "val", 1.5, 0.33),
        ("two", "test", 1.5, 0.33),
        ("series", "test", 3, 0.17),
    ]


def test_a_further_dose_is_the_same_patient_with_less_agent(table: Path):
    rows = {row.case: row for row in read_cohort(table).rows}
    own, further = rows["one-test-0000"], rows["one-test-0000_dose-0.17"]
    assert further.patient == own.patient
    scans = [
        {name: read_image(row.files[name], name).data for name in ("t1", "t1ld", "t1ce")} for row in (own, further)
    ]
    assert np.array_equal(scans[0]["t1"], scans[1]["t1"])
    assert np.array_equal(scans[0]["t1ce"], scans[1]["t1ce"])
    masks = [read_mask(row.files["enhancing"]).data for row in (own, further)]
    assert np.array_equal(*masks)
    lesion = masks[0] > 0
    enhancement = [scan["t1ld"][lesion].mean() / scan["t1"][lesion].mean() for scan in scans]
    assert 1 < enhancement[1] < enhancement[0]


def test_patients_of_a_split_do_not_depend_on_the_others(table: Path, tmp_path: Path):
    changed = SETTINGS | {"train": 1, "also": {}, "series": []}
    other = read_cohort(make_phantoms(PhantomSettings.model_validate(changed), tmp_path)).rows[-1]
    same = {row.case: row for row in read_cohort(table).rows}[other.case]
    assert np.array_equal(read_image(other.files["t1ld"], "t1ld").data, read_image(same.files["t1ld"], "t1ld").data)


def test_phantoms_of_another_study_are_not_taken(table: Path):
    with pytest.raises(CohortError, match=r"not this study's(.|\n)*two-test-0000"):
        make_phantoms(PhantomSettings.model_validate(SETTINGS | {"also": {}}), table.parent.parent)
