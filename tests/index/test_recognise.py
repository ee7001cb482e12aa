from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.naming import parse_name

from mrsynth.core.types import is_contrast
from mrsynth.index.recognise import guess_by_tags
from mrsynth.index.words import normalise


def tags(description: str = "", agent: str = "", **others: object) -> dict[str, object]:
    return {"Modality": "MR", "SeriesDescription": description, "ContrastBolusAgent": agent, **others}


@pytest.mark.parametrize(
    ("description", "agent", "contrast"),
    [
        ("T1/SE/extrp", "", "t1"),
        ("t1_mprage_sag_p2_iso", "", "t1"),
        ("Ax T1 FLAIR", "", "t1"),
        ("SAG T1 W/O", "", "t1"),
        ("t1 tse tra ohne KM", "", "t1"),
        ("T1 pré-contraste", "NONE", "t1"),
        ("T1 sans injection", "", "t1"),
        ("T1 sin contraste", "", "t1"),
        ("AX 3D BRAVO", "", "t1"),
        ("AX T1 POST", "", "t1ce"),
        ("AX T1 SE", "Gadovist", "t1ce"),
        ("AX T1 +C", "", "t1ce"),
        ("T1 nach KM", "", "t1ce"),
        ("3D T1 GADO", "", "t1ce"),
        ("T1 con mdc", "", "t1ce"),
        ("T1 avec injection", "", "t1ce"),
        ("t1_se_tra_km", "", "t1ce"),
        ("T1 low dose gad", "x", "t1ld"),
        ("sT2/TSE/T", "", "t2"),
        ("t2_tse_tra", "", "t2"),
        ("sT2W/FLAIR", "", "flair"),
        ("t2_tirm_tra_dark-fluid", "", "flair"),
        ("AX T2 FLAIR FS", "", "flair"),
        ("ep2d_diff_3scan_trace_p2_ADC", "", "adc"),
        ("Apparent Diffusion Coefficient (mm2/s)", "", "adc"),
        ("DWI", "", "dwi"),
        # In doubt, and what is not used
        ("T1 PRE", "Gadovist", None),
        ("T1 pre and post", "", None),
        ("T1/T2 dual", "", None),
        ("AX T2*", "", None),
        ("t2_star_hemo", "", None),
        ("SWI", "", None),
        ("3 Plane Localizer", "", None),
        ("TOF MRA", "", None),
        ("ep2d_perf_DSC", "", None),
        ("T1 SAG C-SPINE", "", None),
        ("PD/T2", "", None),
        ("T1 mapping", "", None),
        ("AX T1 SUBTRACTION", "", None),
        ("", "", None),
        ("series 5", "", None),
    ],
)
def test_descriptions(description: str, agent: str, contrast: str | None) -> None:
    guess = guess_by_tags(tags(description, agent))
    assert guess.contrast == contrast, guess.reason


@pytest.mark.parametrize(
    ("more", "contrast"),
    [
        ({"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500, "ScanningSequence": ["SE", "IR"]}, "flair"),
        ({"RepetitionTime": 450, "EchoTime": 10, "ScanningSequence": "SE"}, "t1"),
        ({"RepetitionTime": 450, "EchoTime": 10, "ScanningSequence": "SE", "ContrastBolusAgent": "Gd"}, "t1ce"),
        ({"RepetitionTime": 4500, "EchoTime": 100, "ScanningSequence": ["SE"]}, "t2"),
        ({"RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "ScanningSequence": "GR\\IR"}, "t1"),
        ({"RepetitionTime": 3000, "EchoTime": 15, "ScanningSequence": ["SE"]}, None),
        ({"RepetitionTime": 25, "EchoTime": 7, "ScanningSequence": ["GR"]}, None),
        ({"RepetitionTime": 450, "EchoTime": "?", "ScanningSequence": "SE"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "adc"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\P\\ND", "SeriesDescription": "T2"}, None),
        ({"Modality": "CT"}, "ct"),
        ({"Modality": "CT", "SeriesDescription": "Topogram"}, None),
        ({"Modality": "PT", "SeriesDescription": "T1"}, None),
        ({"BodyPartExamined": "KNEE", "SeriesDescription": "T1"}, None),
        ({"BodyPartExamined": "Schädel", "SeriesDescription": "T1"}, "t1"),
        ({"SeriesDescription": "T2 TSE", "EchoTime": 10}, None),
        ({"SeriesDescription": "T1 SE", "EchoTime": 100}, None),
        ({"SeriesDescription": "T2 tra", "ScanningSequence": ["GR"]}, None),
        ({"ProtocolName": "T2 TSE", "SeriesDescription": "series 4"}, "t2"),
    ],
)
def test_other_tags(more: Mapping[str, object], contrast: str | None) -> None:
    guess = guess_by_tags({**tags(), **more})
    assert guess.contrast == contrast, guess.reason
    assert guess.reason


def test_diffusion_is_named_by_its_b_value() -> None:
    assert guess_by_tags(tags("DWI"), 1000.0).contrast == "dwi_b1000"
    assert guess_by_tags(tags("DWI"), 0.0).contrast == "dwi_b0"
    assert guess_by_tags(tags(), 500.0).contrast == "dwi_b500"


def test_the_reason_names_what_was_read() -> None:
    assert guess_by_tags(tags("AX T1 POST", "Gd")).reason == (
        "SeriesDescription 'AX T1 POST' says T1 and post, agent 'Gd' is entered (ContrastBolusAgent)"
    )
    reason = guess_by_tags(tags(RepetitionTime=9000, EchoTime=120, InversionTime=2500)).reason
    assert reason == "TR 9000 TE 120 TI 2500, inversion recovery with long TE"


@given(st.dictionaries(st.sampled_from(list(tags("x", ImageType=[], EchoTime=1))), st.text() | st.floats() | st.none()))
def test_any_tags_are_answered(content: dict[str, object]) -> None:
    guess = guess_by_tags(content)
    assert guess.reason
    assert guess.contrast is None or is_contrast(guess.contrast)


@given(st.text())
def test_normalised_text_stays_so(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("file", "contrast"),
    [
        ("12_t1_mprage_sag_post_gad", "t1ce"),
        ("P7_T1_C", "t1ce"),
        ("P7_T1+C", "t1ce"),
        ("P7_T1w_km", "t1ce"),
        ("P7_ce_T1", "t1ce"),
        ("gadolinium_ax_T1", "t1ce"),
        ("P7_T1_pre", "t1"),
        ("P7_T1_postop", "t1"),
        ("ce_01_T1", "t1"),
        ("P7_post_T1", None),
        ("P7_T1_FLAIR", None),
        ("P7_T1_map", None),
        ("P7_T2_star", None),
        ("P7_t2flair", "flair"),
        ("W39_1998.09.19_Segm", "lesion"),
        ("BraTS-MEN-RT-0000-1_gtv", "lesion"),
        ("Brats18_CBICA_AAB_1_t1ce", "t1ce"),
        ("BraTS-GLI-02062-100-t2f", "flair"),
    ],
)
def test_file_names_that_say_more_than_one_word(file: str, contrast: str | None) -> None:
    guess, _ = parse_name(Path(f"{file}.nii.gz"))
    assert guess.contrast == contrast, guess.reason
