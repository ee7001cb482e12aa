"""osman2022's data path on real patients, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrsynth.index.layouts import find_cases
from mrsynth.io import CaseRow, read_case
from mrsynth.recipes.recipe import load_recipe
from mrsynth.steps import invert_steps, run_steps
from mrsynth.train.batches import kept_slices

pytestmark = pytest.mark.real


@pytest.mark.parametrize("case", ["brats/BraTS2021_01476", "brats/BraTS-GLI-00000-000", "openms/patient07"])
@pytest.mark.parametrize("variant", ["osman2022", "osman2022/window"])
def test_real_scans_go_through_the_recipe_and_back(case: str, variant: str, real_data: Path):
    recipe = load_recipe(variant)
    (found,), _ = find_cases(real_data / case)
    scans = read_case(CaseRow(found.patient, found.case, "", found.files), recipe.contrasts)
    prepared, records = run_steps(scans, recipe.prepare)
    brain = prepared.masks["brain"].data
    millilitres = brain.sum() * np.prod(prepared.masks["brain"].spacing_mm) / 1000
    assert 1000 < millilitres < 2000
    # §2.2: "about 100 slices per subject"
    assert 85 <= len(kept_slices(brain, recipe.samples.min_brain_fraction)) <= 115
    for name, image in prepared.images.items():
        assert image.data.shape[:2] == (224, 224)
        assert image.data.min() >= 0
        assert image.data.max() <= 1
        back = invert_steps(image, records)
        original = scans.images[name]
        np.testing.assert_allclose(back.affine, original.affine, atol=1e-4)
        inside = original.data > np.percentile(original.data[original.data > 0], 10)
        error = np.abs(back.data - original.data)[inside]
        assert np.median(error) < 0.05 * np.median(original.data[inside])
