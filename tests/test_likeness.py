"""An input like those of the training passes in silence; one that is something else is told, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.image import Case
from mrsynth.io.contract import Contract, InputSeen
from mrsynth.likeness import differences, inputs_at_hand, measure, seen_in, unlike
from mrsynth.steps import run_steps
from mrsynth.synthesize import Synthesizer
from small_cases import brain_case
from tiny import STEPS, trained

Arrays = dict[str, np.ndarray]


def prepared(case: Case) -> tuple[Arrays, np.ndarray]:
    done, _ = run_steps(case, STEPS)
    return {name: image.data for name, image in done.images.items()}, done.masks["brain"].data > 0


@pytest.fixture(scope="module")
def seen() -> dict[str, InputSeen]:
    return seen_in(measure(*prepared(brain_case(seed=seed))) for seed in range(4))


def texts(seen: dict[str, InputSeen], case: Case) -> list[str]:
    return [one.text for one in differences(seen, *prepared(case))]


def with_image(case: Case, name: str, data: np.ndarray) -> Case:
    return replace(case, images={**case.images, name: case.images[name].with_data(data.astype(np.float32))})


def test_other_patients_of_the_same_kind_pass(seen: dict[str, InputSeen]):
    for seed in range(4, 10):
        assert texts(seen, brain_case(seed=seed)) == []


def test_a_hot_voxel_is_told(seen: dict[str, InputSeen]):
    """It squeezes all that [0, 1] holds."""
    case = brain_case(seed=5)
    data = case.images["t1"].data.copy()
    data[np.unravel_index(np.argmax(data), data.shape)] *= 30
    found = differences(seen, *prepared(with_image(case, "t1", data)))
    assert any("t1 has other values" in one.text for one in found)
    assert any(one.refused for one in found)


def test_one_contrast_for_another_is_told(seen: dict[str, InputSeen]):
    case = brain_case(seed=5)
    swapped = with_image(case, "t1", case.images["t2"].data)
    found = " ".join(texts(seen, swapped))
    assert "t1 and t2 correlate by 1.00" in found


def test_an_image_that_ends_in_the_brain_is_told(seen: dict[str, InputSeen]):
    case = brain_case(seed=5)
    arrays, brain = prepared(case)
    cut = {name: array.copy() for name, array in arrays.items()}
    cut["t1"][..., : brain.shape[2] // 2] = 0
    assert any("t1 covers" in one.text for one in differences(seen, cut, brain))


def test_values_of_another_scale_are_refused(seen: dict[str, InputSeen]):
    """As a z-scored image is for a recipe that only divides by a number."""
    arrays, brain = prepared(brain_case(seed=5))
    scaled = {**arrays, "t1": np.where(brain, (arrays["t1"] - arrays["t1"][brain].mean()) * 4, 0)}
    assert any(one.refused for one in differences(seen, scaled, brain))


def contract(seen: dict[str, InputSeen]) -> Contract:
    known = {"recipe": "tiny", "inputs": ["t1"], "target": "t2", "net": "unet2d", "net_settings": {}, "patch": None}
    rest = {"flags": False, "steps": STEPS, "range": (0, 1), "intensity": [], "weights_sha256": "0" * 64}
    return Contract.model_validate({**known, **rest, "seen": seen, **trained()})


def test_synthesis_refuses_beyond_the_limit_and_says_so_where_it_is_allowed(seen: dict[str, InputSeen]):
    case = brain_case(seed=5)
    data = case.images["t1"].data.copy()
    data[np.unravel_index(np.argmax(data), data.shape)] *= 30
    odd = with_image(case, "t1", data)
    model = Synthesizer(lambda x: x, contract(seen))
    assert model.ready(case).remarks == ()
    with pytest.raises(InputError, match=r"not trained on such images[\s\S]*0\.\d+ quantile[\s\S]*--allow-unlike"):
        model(odd)
    allowed = Synthesizer(lambda x: x, contract(seen), allow_unlike=True)
    assert "other values than in the training" in allowed.ready(odd).remarks[0]


def test_a_contract_keeps_what_was_seen(seen: dict[str, InputSeen], tmp_path: Path):
    contract(seen).write(tmp_path / "contract.json")
    assert Contract.read(tmp_path / "contract.json").seen == seen


def test_a_case_as_it_was_read_is_judged_as_synthesis_judges_it(seen: dict[str, InputSeen]):
    case = brain_case(seed=5)
    assert unlike(contract(seen), case) == []
    swapped = with_image(case, "t1", -case.images["t1"].data)
    found = tuple(one.text for one in unlike(contract(seen), swapped))
    assert found
    assert found == Synthesizer(lambda x: x, contract(seen), allow_unlike=True).ready(swapped).remarks


def test_a_case_without_an_input_has_nothing_to_compare(seen: dict[str, InputSeen]):
    case = brain_case(seed=5, contrasts=("t2",))
    assert inputs_at_hand(contract(seen), case.images) == []
    assert unlike(contract(seen), case) == []


def test_a_contract_that_does_not_say_what_was_seen_is_told(seen: dict[str, InputSeen]):
    with pytest.raises(ModelError, match="does not say what its training's images were like"):
        unlike(contract(seen).model_copy(update={"seen": None}), brain_case(seed=5))
