"""One person never becomes two: visits in names, series numbers, spellings of one ID."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.index.corrections import Found
from mrsynth.index.find import index_folder
from mrsynth.index.layouts import find_cases
from mrsynth.index.people import describe_people, one_name_a_person, person_of
from nifti_factory import ramp, save

VISITS = """P01_ses1 P01-ses-02 P01_session1 P01_visit_2 P01_v2 P01_tp1 P01_20190307 P01_2019_03_07 P01_pre P01_post
P01_baseline P01_followup2 P01_month6 P01_m06 P01_1 P01b P01_MR2 P01_fu1"""


@pytest.mark.parametrize("name", VISITS.split())
def test_visits_are_those_of_one_person(name: str) -> None:
    assert person_of(name) == "P01"


@pytest.mark.parametrize(
    "name",
    ["BraTS2021_01477", "Brats18_2013_1_1", "TCGA-FG-6692", "IXI002-Guys-0828", "site1_01", "anna_1", "patient07"],
)
def test_other_numbers_are_part_of_the_name(name: str) -> None:
    assert person_of(name) == name


def test_visits_in_flat_names_share_a_split(tmp_path: Path) -> None:
    for number in range(1, 7):
        for visit in ("ses1", "ses2"):
            save(tmp_path / f"P{number:02d}_{visit}_T1.nii.gz", ramp(seed=10 * number + len(visit)))
    rows = index_folder(tmp_path).rows
    assert {row.patient for row in rows} == {f"P{number:02d}" for number in range(1, 7)}
    assert len({(row.patient, row.split) for row in rows}) == 6


def test_a_series_number_is_no_patient(tmp_path: Path) -> None:
    for place in (
        "P01/visit1/5_t1_mprage",
        "P01/visit2/6_t1_mprage",
        "P02/visit1/5_t1_mprage",
        "anna/5_t1",
        "bert/5_t1",
    ):
        save(tmp_path / f"{place}.nii.gz")
    people = {case.files["t1"].relative_to(tmp_path).parts[0]: case.patient for case in find_cases(tmp_path)[0]}
    assert people == {"P01": "P01", "P02": "P02", "anna": "anna", "bert": "bert"}


def image(patient: str, case: str) -> Found:
    return Found(Path(f"/{case}.nii.gz"), patient, case, "t1", "")


def test_spellings_of_one_id_are_joined_and_told() -> None:
    images, told = one_name_a_person([image("P01", "a"), image("p1", "b"), image("P-001", "c"), image("P10", "d")])
    assert [one.patient for one in images] == ["P01", "P01", "P01", "P10"]
    assert told == ["P01, p1, P-001 are taken for one person, P01: they differ by case or zeros alone"]
    assert list(describe_people(images)) == ["P01 is one person with 3 cases: a, b, c"]
    assert list(describe_people(images[:1])) == ["each case is taken for a person of its own"]


def test_two_data_sets_that_contradict_each_other_speak_of_two_people(tmp_path: Path) -> None:
    for site, age in (("A", 30), ("B", 60), ("C", 31)):
        root = tmp_path / f"site{site}"
        save(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz", ramp(seed=age))
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
        (root / "participants.tsv").write_text(f"participant_id\tage\nsub-01\t{age}\n")
    assert {row.patient for row in index_folder(tmp_path).rows} == {f"site{s}-sub-01" for s in "ABC"}


def test_derivatives_and_source_data_are_no_examinations(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for place in ("sub-01/anat/sub-01_T1w", "derivatives/n4/sub-01/anat/T1w_n4", "derivatives/fs/sub-01/mri/T1"):
        save(tmp_path / f"{place}.nii.gz")
    save(tmp_path / "sourcedata" / "anna" / "T1.nii.gz")
    cases, ignored = find_cases(tmp_path)
    assert [case.case for case in cases] == ["sub-01"]
    assert sum("used only with --derivatives" in item.reason for item in ignored) == 2
    assert any("in sourcedata" in item.reason for item in ignored)
    (case,), _ = find_cases(tmp_path, ["n4"])
    assert case.files["t1"].name == "T1w_n4.nii.gz"
