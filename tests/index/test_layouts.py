from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.naming import parse_name

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.types import MASKS, is_contrast
from mrsynth.index.corrections import found_table, write_found
from mrsynth.index.find import index_folder
from mrsynth.index.layouts import find_cases
from mrsynth.io import read_cohort, write_cohort
from mrsynth.io.cohort import patient_of
from nifti_factory import brats, ramp, save


def found(root: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return case → (patient, {name: path below the root})."""
    cases, _ = find_cases(root)
    return {
        c.case: (c.patient, {name: path.relative_to(root).as_posix() for name, path in c.files.items()}) for c in cases
    }


@pytest.mark.parametrize(
    ("file", "name", "prefix"),
    [
        ("BraTS2021_01477_t1ce.nii.gz", "t1ce", "BraTS2021_01477"),
        ("BraTS-GLI-00000-000-t2W.nii.gz", "t2", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "t1", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-t2f.NII.GZ", "flair", "BraTS-GLI-00000-000"),
        ("BraTS-GLI-00000-000-seg.nii", "lesion", "BraTS-GLI-00000-000"),
        ("113-02-MPRAGE_processed_reg.nii.gz", "t1", "113-02"),
        ("GOLD_STANDARD.nii.gz", "lesion", ""),
        ("T1POST.nii.gz", "t1ce", ""),
        ("fla.nii.gz", "flair", ""),
        ("sub-strokecase0009_ses-0001_msk.nii.gz", "lesion", "sub-strokecase0009_ses-0001"),
        ("sub-1_space-T2w_T1w.nii.gz", "t1", "sub-1_space-T2w"),
        ("P7_T1w_to_T2w.nii.gz", "t1", "P7"),
        ("P7_t1_brain_mask.nii.gz", "brain", "P7"),
        ("P7_brainmask.nii.gz", "brain", "P7"),
        ("P7_lesion_mask.nii.gz", "lesion", "P7"),
        ("P7_flair_seg.nii.gz", "lesion", "P7"),
        ("CT_AVM.nii.gz", "ct", ""),
    ],
)
def test_names(file: str, name: str, prefix: str) -> None:
    guess, before = parse_name(Path(file))
    assert (guess.contrast, before) == (name, prefix)


def test_a_stripped_image_is_not_taken_for_its_mask() -> None:
    guess, _ = parse_name(Path("P7_t1_brain.nii.gz"))
    assert guess.contrast is None
    assert "stripped t1 or a brain mask" in guess.reason


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_any_file_name_is_answered(stem: str) -> None:
    guess, before = parse_name(Path("/x") / (stem.replace("/", "").replace("\0", "") + ".nii.gz"))
    assert guess.contrast is None or is_contrast(guess.contrast) or guess.contrast in MASKS
    assert guess.reason
    assert isinstance(before, str)


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS2021_01477", "BraTS2021_01477"),
        ("sub-07_ses-2", "sub-07"),
        ("113-02", "113"),
        ("TCGA-FG-6692", "TCGA-FG-6692"),
        ("patient07", "patient07"),
    ],
)
def test_patients(case: str, patient: str) -> None:
    assert patient_of(case) == patient


def test_brats(tmp_path: Path) -> None:
    brats(tmp_path / "train", ["BraTS2021_00001", "BraTS2021_00002"])
    save(tmp_path / "BraTS-GLI-00003-001" / "BraTS-GLI-00003-001-t1c.nii.gz")
    cases = found(tmp_path)
    assert list(cases) == ["BraTS-GLI-00003-001", "BraTS2021_00001", "BraTS2021_00002"]
    assert cases["BraTS-GLI-00003-001"][0] == "BraTS-GLI-00003"
    assert list(cases["BraTS2021_00001"][1]) == ["t1", "t1ce", "t2", "flair", "lesion"]


def test_folder_a_case_and_cases_below_a_patient(tmp_path: Path) -> None:
    for name in ("openms/patient07/T1", "openms/patient07/GOLD_STANDARD", "x/TCGA-FG-1/raw/t1", "x/TCGA-FG-1/bet/t1"):
        save(tmp_path / f"{name}.nii.gz")
    for visit in ("visit1", "visit2"):
        save(tmp_path / "P3" / visit / "FLAIR.nii")
        save(tmp_path / "P4" / visit / f"{visit}_FLAIR.nii")
    assert {case: patient for case, (patient, _) in found(tmp_path).items()} == {
        "P3-visit1": "P3",
        "P3-visit2": "P3",
        "P4-visit1": "P4",
        "P4-visit2": "P4",
        "TCGA-FG-1-bet": "TCGA-FG-1",
        "TCGA-FG-1-raw": "TCGA-FG-1",
        "patient07": "patient07",
    }


def test_a_synthetic_image_never_stands_for_a_scan(tmp_path: Path) -> None:
    made = b"SYNTHETIC t2 mrsynth 0.6.0, not for diagnosis"
    save(tmp_path / "P0" / "t1.nii.gz")
    save(tmp_path / "P0" / "t2.nii.gz", descrip=made)
    save(tmp_path / "P0" / "t1ld_0.17.nii", descrip=b"SYNTHETIC t1ld 0.17 3 T mrsynth 0.6.0, not for diagnosis")
    save(tmp_path / "P1" / "t2.nii.gz", descrip=b"SYNTHETIC t2 by mrsynth simulate")
    save(tmp_path / "P1" / "flair.nii.gz")  # its header was lost
    (tmp_path / "P1" / "flair.json").write_text('{"synthetic": true}')
    save(tmp_path / "P2" / "t2.nii.gz", descrip=made)
    save(tmp_path / "P2" / "lesion.nii.gz", ramp() % 2)
    anat = tmp_path / "sub-1" / "anat"
    save(anat / "sub-1_T1w.nii.gz")
    save(anat / "sub-1_T2w.nii.gz", descrip=made)
    cohort = index_folder(tmp_path)
    assert {row.case: list(row.files) for row in cohort.rows} == {"P0": ["t1"], "P1": ["t2"], "sub-1": ["t1"]}
    why = {item.path.relative_to(tmp_path).as_posix(): item.reason for item in cohort.ignored}
    assert why["P0/t2.nii.gz"] == f"a synthetic image, not a scan: its header says '{made.decode()}'"
    assert "T1LD 0.17 3 T" in why["P0/t1ld_0.17.nii"].upper()
    assert "flair.json beside it says so" in why["P1/flair.nii.gz"]
    assert why["P2/lesion.nii.gz"] == "a mask without an image beside it"
    assert {"P2/t2.nii.gz", "sub-1/anat/sub-1_T2w.nii.gz"} < why.keys()


def test_bids_gathers_folders_of_a_session(tmp_path: Path) -> None:
    save(tmp_path / "sub-01" / "ses-2" / "anat" / "sub-01_ses-2_acq-mprage_T1w.nii.gz")
    save(tmp_path / "sub-01" / "ses-2" / "dwi" / "sub-01_ses-2_dwi.nii.gz")
    save(tmp_path / "sub-02" / "anat" / "sub-02_FLAIR.nii.gz")
    cases = found(tmp_path)
    assert {case: (patient, list(files)) for case, (patient, files) in cases.items()} == {
        "sub-01_ses-2": ("sub-01", ["t1", "dwi"]),
        "sub-02": ("sub-02", ["flair"]),
    }


def test_flat_folder(tmp_path: Path) -> None:
    for name in ("113-02-MPRAGE_reg", "113-02-T2w_reg", "127-01-MPRAGE_reg"):
        save(tmp_path / f"{name}.nii.gz")
    assert {case: list(files) for case, (_, files) in found(tmp_path).items()} == {
        "113-02": ["t1", "t2"],
        "127-01": ["t1"],
    }


def test_the_folder_itself_is_a_case(tmp_path: Path) -> None:
    save(tmp_path / "anna" / "T1.nii.gz")
    assert list(found(tmp_path / "anna")) == ["anna"]


def test_case_file_says_who_it_is(tmp_path: Path) -> None:
    save(tmp_path / "a" / "t1.nii.gz")
    (tmp_path / "a" / "case.json").write_text(json.dumps({"patient": "007", "case": "phantom-7", "b0_tesla": 3}))
    (case,), ignored = find_cases(tmp_path)
    assert (case.patient, case.case, case.metadata["b0_tesla"]) == ("007", "phantom-7", 3)
    assert ignored == []


@pytest.mark.parametrize("content", ["{", "[1]", "\xff"])
def test_damaged_case_file_is_reported(tmp_path: Path, content: str) -> None:
    save(tmp_path / "a" / "t1.nii.gz")
    (tmp_path / "a" / "case.json").write_text(content, encoding="latin-1")
    (case,), (ignored,) = find_cases(tmp_path)
    assert case.case == "a"
    assert ignored.path.name == "case.json"


def test_two_files_of_one_contrast_are_named_and_neither_is_taken(tmp_path: Path) -> None:
    for name in ("t1", "t1n", "t2"):
        save(tmp_path / "P1" / f"{name}.nii.gz")
    (case,), ignored = find_cases(tmp_path)
    assert list(case.files) == ["t2"]
    assert [i.path.name for i in ignored] == ["t1.nii.gz", "t1n.nii.gz"]
    assert "t1.nii.gz and t1n.nii.gz both mean t1" in ignored[0].reason


def test_nothing_is_left_out_silently(tmp_path: Path) -> None:
    save(tmp_path / "P1" / "t1.nii.gz")
    save(tmp_path / "P1" / "localizer.nii.gz")
    save(tmp_path / "P2" / "seg.nii.gz", ramp() % 2)
    (tmp_path / "README.md").write_text("x")
    for i in range(3):
        (tmp_path / f"IM{i}.dcm").write_text("x")
    _, ignored = find_cases(tmp_path)
    assert {(i.path.name, i.reason) for i in ignored} == {
        ("localizer.nii.gz", "no word of its name is a contrast or a mask"),
        ("seg.nii.gz", "a mask without an image beside it"),
        (tmp_path.name, "1 file .md: no image"),
        *((f"IM{i}.dcm", "holds no DICOM, though its name says so") for i in range(3)),
    }


def test_same_name_in_two_places_gets_its_path(tmp_path: Path) -> None:
    for place in ("a", "b"):
        save(tmp_path / place / "patient07" / "t1.nii.gz")
    cases = found(tmp_path)
    assert {case: patient for case, (patient, _) in cases.items()} == {
        "a-patient07": "patient07",
        "b-patient07": "patient07",
    }


def test_links_that_go_round_end(tmp_path: Path) -> None:
    save(tmp_path / "P1" / "t1.nii.gz")
    (tmp_path / "P1" / "up").symlink_to(tmp_path)
    assert list(found(tmp_path)) == ["P1"]


def test_empty_missing_and_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an empty folder"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="nothing there"):
        find_cases(tmp_path / "no")
    (tmp_path / "scan.dcm").write_text("x")
    with pytest.raises(InputError, match=r"scan\.dcm: holds no DICOM"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="a file"):
        find_cases(tmp_path / "scan.dcm")


def test_the_folder_of_one_patient(tmp_path: Path) -> None:
    """Sub-folders that say what was done to images, which visit, or which contrast, are no patients."""
    for place in (
        "TCGA-1/raw/t1",
        "TCGA-1/atlas_bet/t1",
        "P4/visit1/t1",
        "P4/2019-03-07/t1",
        "anna/T1/img",
        "anna/FLAIR/img",
    ):
        save(tmp_path / f"{place}.nii.gz")
    assert {case: patient for case, (patient, _) in found(tmp_path / "TCGA-1").items()} == {
        "TCGA-1-atlas_bet": "TCGA-1",
        "TCGA-1-raw": "TCGA-1",
    }
    assert {case: patient for case, (patient, _) in found(tmp_path / "P4").items()} == {
        "P4-visit1": "P4",
        "P4-2019-03-07": "P4",
    }
    assert found(tmp_path / "anna") == {"anna": ("anna", {"t1": "T1/img.nii.gz", "flair": "FLAIR/img.nii.gz"})}
    # From above, the same patients.
    assert {patient for patient, _ in found(tmp_path).values()} == {"TCGA-1", "P4", "anna"}


def test_people_without_numbers_stay_people(tmp_path: Path) -> None:
    for place in ("study7/anna/t1", "study7/bert/t1", "set2/images/carl_t1", "set2/images/dora_t1"):
        save(tmp_path / f"{place}.nii.gz")
    assert {patient for patient, _ in found(tmp_path / "study7").values()} == {"anna", "bert"}
    assert {patient for patient, _ in found(tmp_path / "set2").values()} == {"carl", "dora"}


def test_a_data_set_with_a_year_in_its_name_is_no_patient(tmp_path: Path) -> None:
    for i in (1, 2):
        save(tmp_path / "open_ms_2018" / f"patient0{i}" / "T1.nii.gz")
        save(tmp_path / "BraTS2018" / "HGG" / f"Brats18_2013_{i}_1" / f"Brats18_2013_{i}_1_t1.nii.gz")
    assert {patient for patient, _ in found(tmp_path).values()} == {
        "patient01",
        "patient02",
        "Brats18_2013_1_1",
        "Brats18_2013_2_1",
    }


def test_series_numbers_are_no_cases(tmp_path: Path) -> None:
    for name in ("4_t1_mprage", "7_AX_T2_FLAIR", "12_t1_mprage_gad"):
        save(tmp_path / "anna7" / f"{name}.nii.gz")
    for name in ("01_t1", "02_t1", "02_t2"):
        save(tmp_path / "flat" / f"{name}.nii.gz")
    cases = found(tmp_path)
    assert list(cases["anna7"][1]) == ["t1", "t1ce", "flair"]
    assert set(cases) == {"anna7", "01", "02"}


def test_a_mask_named_otherwise_joins_the_one_case_of_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "P1" / "P1_t1.nii.gz")
    save(tmp_path / "P1" / "seg.nii.gz", ramp() % 2)
    brats(tmp_path, ["BraTS20_Training_355"], ("t1",))
    save(tmp_path / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii", ramp() % 2)
    cases = found(tmp_path)
    assert {case: list(files) for case, (_, files) in cases.items()} == {
        "BraTS20_Training_355": ["t1", "lesion"],
        "P1": ["t1", "lesion"],
    }


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    save(tmp_path / "P1" / "t2.nii.gz")
    (tmp_path / "P1" / "t1.nii.gz").symlink_to(tmp_path / "annex" / "gone")
    os.mkfifo(tmp_path / "P1" / "flair.nii.gz")
    (tmp_path / "P1" / os.fsdecode(b"t1_\xff.nii.gz")).write_bytes(b"x")
    (case,), ignored = find_cases(tmp_path)
    assert list(case.files) == ["t2"]
    assert [i.reason for i in ignored] == [
        "neither a file nor a folder",
        "a link to nothing (in a DataLad data set: datalad get it)",
        "its name is not UTF-8: rename it",
    ]
    assert str(ignored[2]).isprintable()


PART = st.sampled_from(
    [
        "sub-01",
        "ses-1",
        "anat",
        "raw",
        "T1",
        "visit2",
        "P7",
        "..x",
        "ünïcode 脑",
        "a#b",
        "#series=1",
        "derivatives",
        "x\ny",
        " ",
    ]
)
FILE = st.sampled_from(
    [
        "t1",
        "T1_post",
        "sub-01_T1w",
        "sub-01_ses-1_dwi",
        "4_flair",
        "seg",
        "brain",
        'a,b;"c"_t2',
        "..",
        "...",
        "é_t1ce",
        "-",
    ]
)


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.lists(PART, max_size=3), FILE, st.sampled_from([".nii.gz", ".nii", ".bval", ".tsv", ".dcm", ".bin"])
        ),
        min_size=1,
    )
)
def test_any_tree_is_indexed_or_refused_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, tree: list[tuple[list[str], str, str]]
) -> None:
    root = tmp_path_factory.mktemp("tree") / "data"
    content = gzip.compress(b"\x5c\x01\x00\x00" + bytes(400))
    for parts, name, suffix in tree:
        path = root.joinpath(*parts, name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "loop").symlink_to(root)
    before = sorted(root.rglob("*"))
    try:
        cohort = index_folder(root)
    except MrsynthError:
        return
    assert sorted(root.rglob("*")) == before
    out = root.parent / "out" / "c.csv"
    write_cohort(cohort, out)
    write_found(cohort.found, found_table(out))
    assert sorted(p.name for p in out.parent.iterdir()) == ["c.csv", "c.found.csv"]
    assert [r.files for r in read_cohort(out).rows] == [r.files for r in cohort.rows]
    assert index_folder(root, corrections=found_table(out)).rows == cohort.rows
