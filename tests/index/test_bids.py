from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.index.bids import agent_by_bids, kind_by_bids, parse_bids
from mrsynth.index.find import index_folder
from mrsynth.index.layouts import find_cases
from mrsynth.index.recognise import recognise
from mrsynth.io import read_case
from nifti_factory import ramp, save


def data_set(root: Path) -> Path:
    """Two subjects, one with two sessions, a contrast agent, diffusion and two derivatives."""
    (root / "dataset_description.json").parent.mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tmask\nsub-01\t34\tF\tx\nsub-02\tn/a\tM\ty\n")
    for i, session in enumerate(("sub-01/ses-1", "sub-01/ses-2", "sub-02")):
        name = session.replace("/", "_")
        for j, suffix in enumerate(("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")):
            save(root / session / "anat" / f"{name}_{suffix}.nii.gz", ramp(seed=10 * i + j))
        (root / session / "anat" / f"{name}_T1w.json").write_text('{"MagneticFieldStrength": 3}')
    dwi = save(root / "sub-02" / "dwi" / "sub-02_dwi.nii.gz", np.stack([ramp(seed=i) for i in range(3)], -1))
    dwi.with_name("sub-02_dwi.bval").write_text("995 0 1005")
    for pipeline in ("prep", "other"):
        anat = root / "derivatives" / pipeline / "sub-02" / "anat"
        (anat.parents[1] / "dataset_description.json").parent.mkdir(parents=True, exist_ok=True)
        (anat.parents[1] / "dataset_description.json").write_text("{}")
        save(anat / "sub-02_desc-preproc_T1w.nii.gz")
        save(anat / "sub-02_space-MNI152_desc-preproc_T1w.nii.gz")
        save(anat / "sub-02_desc-brain_mask.nii.gz", ramp() % 2)
        save(anat / "sub-02_space-MNI152_desc-brain_mask.nii.gz", ramp() % 2)
        save(anat / "sub-02_label-lesion_mask.nii.gz", ramp() % 2)
    return root


def test_a_data_set(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    rows = {row.case: row for row in index_folder(root).rows}
    assert {case: row.patient for case, row in rows.items()} == {
        "sub-01_ses-1": "sub-01",
        "sub-01_ses-2": "sub-01",
        "sub-02": "sub-02",
    }
    assert list(rows["sub-01_ses-1"].files) == ["t1", "t1ce", "t2", "flair"]
    assert list(rows["sub-02"].files) == ["t1", "t1ce", "t2", "flair", "dwi_b0", "dwi_b1000"]
    assert rows["sub-02"].files["dwi_b1000"].name == "sub-02_dwi.nii.gz#b=1000"
    assert rows["sub-01_ses-2"].b0_tesla == 3
    assert rows["sub-01_ses-2"].metadata == {"age": "34", "sex": "F"}
    assert rows["sub-02"].metadata == {"sex": "M"}
    assert read_case(rows["sub-02"], ["dwi_b1000"]).images["dwi_b1000"].data.shape == (5, 6, 7)


def test_derivatives_are_used_when_asked_for(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    _, ignored = find_cases(root)
    told = [item.reason for item in ignored if "/derivatives/" in str(item.path)]
    assert len(told) == 10
    assert all("used only with --derivatives" in reason for reason in told)
    case = {case.case: case for case in find_cases(root, ["prep"])[0]}["sub-02"]
    places = {name: path.relative_to(root).as_posix() for name, path in case.files.items()}
    assert places["t1"] == "derivatives/prep/sub-02/anat/sub-02_desc-preproc_T1w.nii.gz"
    assert places["brain"] == "derivatives/prep/sub-02/anat/sub-02_desc-brain_mask.nii.gz"
    assert places["lesion"].endswith("label-lesion_mask.nii.gz")
    assert places["t2"] == "sub-02/anat/sub-02_T2w.nii.gz"
    with pytest.raises(InputError, match="did you mean 'prep'"):
        find_cases(root, ["perp"])


def test_two_runs_are_both_left_out(tmp_path: Path) -> None:
    for run in ("1", "2"):
        save(tmp_path / "sub-1" / "anat" / f"sub-1_run-{run}_T1w.nii.gz")
    save(tmp_path / "sub-1" / "anat" / "sub-1_T2w.nii.gz")
    (case,), ignored = find_cases(tmp_path)
    assert list(case.files) == ["t2"]
    assert "sub-1_run-1_T1w.nii.gz and sub-1_run-2_T1w.nii.gz both mean t1" in ignored[0].reason


def test_names_that_are_not_valid_are_told(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    save(root / "sub-02" / "anat" / "sub-02_adc.nii.gz")
    cases, ignored = find_cases(root)
    assert "adc" in cases[-1].files
    assert "1 names below it are not valid BIDS (sub-02_adc.nii.gz)" in [i.reason for i in ignored]


def test_diffusion_without_b_values_is_left_out_with_the_reason(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    (root / "sub-02" / "dwi" / "sub-02_dwi.bval").unlink()
    _, ignored = find_cases(root)
    assert any("its b-values are unknown" in i.reason and "#volume=0" in i.reason for i in ignored)


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-1_ce-none_T1w", "t1"),
        ("sub-1_acq-postGd_T1w", "t1ce"),
        ("sub-1_acq-mprage_T1w", "t1"),
        ("sub-1_acq-preContrast_T1w", "t1"),
        ("sub-1_part-phase_T2w", "ignored"),
        ("sub-1_T2starw", "ignored"),
        ("sub-1_task-rest_bold", "ignored"),
        ("sub-1_space-orig_dseg", "ignored"),
        ("sub-1_desc-tumor_dseg", "lesion"),
        ("sub-1_label-GM_mask", "ignored"),
        ("sub-1_msk", None),
    ],
)
def test_suffixes_and_entities(name: str, contrast: str | None) -> None:
    parsed = parse_bids(Path(f"{name}.nii.gz"))
    assert parsed is not None
    kind = list(kind_by_bids(parsed))
    guess = recognise(kind, list(agent_by_bids(parsed)), silent="")
    assert (guess.contrast or "ignored") == contrast if kind else contrast is None


@pytest.mark.parametrize("content", ["", "\xff", "participant_id", "participant_id\tage\nsub-01\n", '"', "a\tb\nc\td"])
def test_a_damaged_participants_file_does_no_harm(tmp_path: Path, content: str) -> None:
    root = data_set(tmp_path / "ds")
    (root / "participants.tsv").write_text(content, encoding="latin-1")
    assert len(index_folder(root).rows) == 3
