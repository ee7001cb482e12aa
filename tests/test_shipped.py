"""The models that the package ships: who may use them, what they say of themselves, and that they work at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.io.models import known_models, shipped_folder
from mrsynth.io.run import Model
from mrsynth.model import load_contract
from mrsynth.phantom import simulate_subject
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.recipes.recipe import load_recipe
from mrsynth.synthesize import load_model
from mrsynth.train.begin import check_weights

NAMES = sorted(path.name for path in shipped_folder().iterdir())


@pytest.fixture(autouse=True)
def nobodys_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("MRSYNTH_MODELS", str(tmp_path_factory.mktemp("none")))


@pytest.fixture(scope="module")
def head() -> Case:
    """A stripped head of four contrasts, 16 mm of it."""
    case = simulate_subject(3, SubjectSettings(spacing_mm=2))

    def part(image: Image) -> Image:
        middle = image.data.shape[2] // 2
        affine = image.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (middle - 4)
        return replace(image, data=np.ascontiguousarray(image.data[:, :, middle - 4 : middle + 4]), affine=affine)

    images = {name: part(case.images[name]) for name in ("t1", "t1ce", "t2", "flair")}
    return Case(images, {"brain": part(case.masks["brain"])}, {"case": "head"})


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_of_a_shipped_model_can_begin_with_its_weights(name: str):
    """As `mrsynth train NAME --from NAME` does: a recipe that moves on takes its model along."""
    check_weights(load_recipe(load_contract(shipped_folder() / name).recipe), shipped_folder() / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_says_what_it_is_for_and_names_nobody(name: str):
    (known,) = [one for one in known_models() if one.name == name]
    assert known.shipped
    contract, files = load_contract(known.folder), Model.of(known.folder)
    assert contract.licence
    assert contract.training.patients == {}
    assert contract.training.scans
    assert contract.seen is not None
    assert contract.calibration is not None
    assert contract.calibration.coverage == 0.9
    assert all(why.endswith(".") for why in contract.refused.values())
    assert set(contract.calibration.factor) <= set(contract.makes())
    assert sum(path.stat().st_size for path in files.weights.parent.iterdir()) <= 12_000_000
    card = files.card.read_text("utf-8")
    assert contract.licence in card
    assert "not a medical device" in card


@pytest.mark.parametrize("name", NAMES)
def test_each_translation_that_is_offered_shows_the_tissues_of_its_target(name: str, head: Case):
    """Of a phantom, which is unlike any scan that it has seen: light where the truth is light."""
    contract = load_contract(shipped_folder() / name)
    offered = [
        (one, target)
        for target in contract.makes()
        for one in contract.makes()
        if one != target and contract.for_target(target).why_refused([one]) is None
    ]
    assert offered
    for one, target in offered:
        case = replace(head, images={one: head.images[one]})
        made = load_model(name, target=target, allow_unlike=True)(case).data
        inside = head.masks["brain"].data > 0
        assert np.corrcoef(made[inside], head.images[target].data[inside])[0, 1] > 0.3, (one, target)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_refuses_is_made_where_somebody_insists(name: str, head: Case):
    contract = load_contract(shipped_folder() / name)
    for translation in list(contract.refused)[:1]:
        inputs, target = translation.rsplit("-", 1)
        case = replace(head, images={one: head.images[one] for one in inputs.split("+")})
        with pytest.raises(InputError, match=r"--anyway"):
            load_model(name, target=target, allow_unlike=True)(case)
        assert load_model(name, target=target, allow_unlike=True, anyway=True)(case).data.any()
