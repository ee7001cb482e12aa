"""What file names say: plain images, what they were brought to, derived images, masks."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.naming import is_unsure, parse_name

from mrsynth.index.names import read_name

DERIVED = """
T1_pve_1 T1_fast_pve_0 T1_csf T1_gm T1_wm_prob T1_InverseWarp T1_1Warp T1_warp T1_jacobian T1_deformation y_T1w iy_T1
c1_T1 wc2_T1 T1_thickness T1_curvature T1_phase t1_mprage_ph T1_imag T1_real T1_R1map T1_dixon_fat t1_dixon_F T1_opp
T1_synth T2_predicted T2_pred P01_T2_fake flair_SynthSR T1_uncertainty T1_g_factor T1_UNI T1_inv1 T1map T1_map T2_star
T1_sub T1_distance T1_SDF T1_embedding T1_lesion_filled T1_inpainted pred_T1 CT_angio
"""

PLAIN = {
    "t1": """
    T1 P01_T1 P01_T1w_n4 P01_T1_bet T1_MPRAGE T1_ax_3mm P01_T1_2mm_reg T1_raw sub01_t1_to_mni T1_iso T1w_defaced
    T1_Siemens_3T P01_T1_v2 P01_T1_run-01 stroke_01_T1 T1_bias rigid_reg_T1 P01_T1_ohne_KM P01_T1_vor_KM
    P01_T1_contrast_none t1_vibe_dixon_W
    """,
    "flair": """
    P01_FLAIR_coreg_T1 P01_FLAIR_to_T1 FLAIR_space-T1 FLAIR_in_T1w FLAIR2T1 FLAIR_on_T1 FLAIR_warped_T1
    MS_lesion_p3_FLAIR
    """,
    "t2": """
    P01_T2_reg_T1 T2_aligned_to_T1 T2_regT1 T2_in_T1_space T2_to_T1_affine T2_resampled_to_T1 tumor_study_P1_T2
    """,
    "adc": "P01_ADC_to_T1 dwi_adc",
    "brain": "brain_mask P01_brainmask P01_T1_brain_mask bet_mask mask_brain skullstrip_mask",
    "lesion": """
    lesion tumor_seg P01_tumour tumor_mask glioma_mask stroke_lesion_mask P01_seg WMH ms_lesions infarct edema_mask GTV
    manual_lesion_mask P01_T1_tumor tumorseg UCSF-PDGM-0004_tumor_segmentation lesion_roi BraTS-PED-00002-000-seg
    """,
}

OTHER_MASKS = """
gm_mask wm_mask csf_seg tissue_seg aseg aparc+aseg brain_tissue_seg hippocampus_seg ventricle_mask skull_mask head_mask
T1_parcellation vessel_mask left_hemisphere_mask brain_seg grey_matter_mask xyz_mask T2_pred_mask T1_mask_error
UCSF-PDGM-0004_brain_parenchyma_segmentation UCSF-PDGM-0004_brain_segmentation
"""


@pytest.mark.parametrize("name", [*DERIVED.split(), *OTHER_MASKS.split()])
def test_what_is_no_plain_image_is_not_used(name: str) -> None:
    guess, _ = parse_name(Path(f"{name}.nii.gz"))
    assert guess.contrast is None
    assert guess.reason


@pytest.mark.parametrize(("name", "contrast"), [(name, c) for c, names in PLAIN.items() for name in names.split()])
def test_what_is_one_is(name: str, contrast: str) -> None:
    guess, _ = parse_name(Path(f"{name}.nii.gz"))
    assert guess.contrast == contrast, guess.reason


def test_a_word_that_nobody_knows_is_asked_about() -> None:
    guess, _ = parse_name(Path("T1_xyz.nii.gz"))
    assert is_unsure(guess)
    assert "'xyz' is not known here" in guess.reason
    assert parse_name(Path("xyz/T1_xyz.nii.gz"))[0].contrast == "t1"  # the folder's name


def test_steps_are_counted() -> None:
    assert [read_name(Path(f"{name}.nii.gz")).steps for name in ("T1", "T1_bias", "T1_n4_bet_reg")] == [0, 1, 3]
