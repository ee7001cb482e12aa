"""Draws: those of the usual sites stay what they were, to the digit; those of a drawn site say so."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from mrsynth.phantom import SubjectSettings
from mrsynth.phantom.draw import draw_subject

GOLDEN = {
    "brats": "dd5f45a626db87f1",
    "ct": "f4ec218b1fca07e2",
    "dose": "6f6c2557117ad636",
    "full": "fa4158a321508450",
    "tumour": "43e9bf3680d1a1e9",
}
"""Digest of the draws of seed 7, by profile."""


def digest(draws: dict[str, Any]) -> str:
    """Return the digest of draws, their numbers to eight digits: the last ones are the mathematical library's."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return f"{value:.8g}"
        if isinstance(value, dict):
            return {name: rounded(part) for name, part in value.items()}
        return [rounded(part) for part in value] if isinstance(value, list) else value

    return hashlib.sha256(json.dumps(rounded(draws)).encode()).hexdigest()[:16]


@pytest.mark.parametrize("profile", GOLDEN)
def test_the_draws_of_the_usual_sites_are_those_of_before(profile: str) -> None:
    assert digest(draw_subject(7, SubjectSettings(profile=profile), None)) == GOLDEN[profile]


def test_a_drawn_site_changes_the_scanner_and_the_tissues_but_not_the_patient() -> None:
    usual, drawn = (draw_subject(7, SubjectSettings(lesion="ms", site=site), None) for site in ("site-A", "drawn"))
    assert drawn["site"] == "drawn"
    assert set(drawn) - set(usual) == {"protocol"}
    for name in ("age_years", "lesions", "shape", "fields_seed", "coil_seed"):
        assert drawn[name] == usual[name], name
    assert drawn["jitter"] != usual["jitter"]


def test_registration_leaves_about_a_millimetre_and_a_degree_at_most() -> None:
    off = [
        (scan["shift_mm"], scan["rotation_deg"])
        for seed in range(100)
        for scan in draw_subject(seed, SubjectSettings(lesion="none", site="drawn"), None)["scans"].values()
    ]
    for values in np.abs(np.array(off)).transpose(1, 0, 2):
        assert 0.1 < values[values > 0].mean() < 0.25
        assert values.max() < 1.5
        assert np.percentile(values, 99.5) < 1.0
