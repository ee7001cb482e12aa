from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.image import Case, Image
from mrsynth.model import Contract
from mrsynth.steps import run_on_grid_of, run_steps
from mrsynth.synthesize import MissingInputs, Synthesizer
from mrsynth.synthesize.impute import Imputer
from mrsynth.synthesize.require import require_units
from small_cases import brain_case
from tiny import STEPS, trained

CONTRACT = Contract(
    recipe="tiny",
    inputs=["t1"],
    target="t2",
    net="unet2d",
    net_settings={},
    patch=None,
    flags=False,
    steps=STEPS,
    range=(0, 1),
    intensity=[
        {"step": "zscore", "kind": "intensity", "images": {"t2": {"mean": 500.0, "sd": 100.0}}},
        {"step": "unit", "kind": "intensity", "images": {"t2": {"low": -5.0, "high": 3.0, "clipped": 0}}},
    ],
    weights_sha256="0" * 64,
    **trained(),
)
PAIR = CONTRACT.model_copy(update={"inputs": ["t1", "t2"], "target": "t1ce"})


def mean(x: torch.Tensor) -> torch.Tensor:
    """A network whose image is the mean of its inputs."""
    return x.mean(dim=1, keepdim=True)


def without(case: Case, *names: str) -> Case:
    """The case without some of its images."""
    return replace(case, images={name: image for name, image in case.images.items() if name not in names})


def imputer(inputs: list[str], target: str, net: Callable[[torch.Tensor], torch.Tensor]) -> Imputer:
    """A model of the same preparation that makes an input."""
    return Imputer(CONTRACT.model_copy(update={"inputs": inputs, "target": target}), lambda: net, f"runs/{target}")


def test_a_network_that_copies_gives_the_normalised_input_on_the_patients_grid():
    case = brain_case(shape=(32, 32, 20))
    image = Synthesizer(lambda x: x, CONTRACT)(case)
    original = case.images["t1"]
    assert image.contrast == "t2"
    assert image.data.shape == original.data.shape
    assert np.array_equal(image.affine, original.affine)
    brain = original.data > 0
    assert np.all(image.data[~brain] == 0)
    normalised = original.data / original.data.max()
    error = np.abs(image.data - normalised)[brain]
    assert error.mean() < 0.02


def test_values_stay_in_the_contracts_range():
    image = Synthesizer(lambda x: 5 * x - 2, CONTRACT)(brain_case())
    assert image.data.min() >= 0
    assert image.data.max() <= 1


def test_intensities_can_return_to_the_units_of_the_training_targets():
    synthesizer = Synthesizer(lambda x: x, CONTRACT)
    image = synthesizer(brain_case())
    scanner = synthesizer.to_training_units(image)
    np.testing.assert_allclose(scanner.data, (image.data * 8 - 5) * 100 + 500, atol=1e-2)
    without = Synthesizer(lambda x: x, CONTRACT.model_copy(update={"intensity": []}))
    with pytest.raises(ModelError, match="no intensities"):
        without.to_training_units(image)


def test_a_missing_input_says_what_the_model_needs():
    with pytest.raises(InputError, match=r"makes t2 from t1; t1 is missing") as error:
        Synthesizer(lambda x: x, CONTRACT)(brain_case(contrasts=("flair",)))
    assert "--input t1=FILE" in str(error.value)


def test_voxels_of_another_size_are_refused():
    case = brain_case()
    x, y, z = run_steps(case, STEPS)[0].images["t1"].spacing_mm

    def trained(*edges: float) -> Synthesizer:
        return Synthesizer(lambda image: image, CONTRACT.model_copy(update={"voxels_mm": (edges, edges)}))

    expected = trained(x, y, z)(case).data
    np.testing.assert_array_equal(trained(1.2 * x, y / 1.2, z)(case).data, expected)
    np.testing.assert_array_equal(trained(x, y, 3 * z)(case).data, expected)  # a network of axial slices
    with pytest.raises(InputError, match="not of the size") as error:
        trained(2 * x, 2 * y, z)(case)
    assert f"expected: {2 * x:.3g} × {2 * y:.3g} mm" in str(error.value)
    boxes = CONTRACT.model_copy(update={"voxels_mm": ((x, y, 3 * z), (x, y, 4 * z)), "patch": [8, 8, 8]})
    with pytest.raises(InputError, match="not of the size"):
        Synthesizer(lambda image: image, boxes)(case)


@pytest.mark.parametrize(("like", "target"), [("ct", "t1"), ("adc", "t1ce"), ("dwi_b0", "t1ce"), ("t1", "adc")])
def test_an_image_takes_no_units_from_one_of_another_kind(like: str, target: str):
    """A T1 from CT would come back in Hounsfield units."""
    with pytest.raises(InputError, match=f"units of a {like} say nothing of a {target}"):
        require_units("input", like, target)
    require_units("range", like, target)
    require_units("input", "t1", "t1ce")
    require_units("input", "dwi_b0", "adc")


def test_further_images_do_not_change_the_prediction():
    case = brain_case(contrasts=("t1", "t2"))
    alone = replace(case, images={"t1": case.images["t1"]})
    synthesizer = Synthesizer(lambda x: x, CONTRACT)
    np.testing.assert_array_equal(synthesizer(case).data, synthesizer(alone).data)


def test_zeros_are_exactly_the_network_of_zeros():
    case = brain_case(contrasts=("t1", "t2"))
    found = Synthesizer(mean, PAIR, missing=MissingInputs("zeros"))(without(case, "t2"))
    zeroed = Synthesizer(lambda x: mean(torch.cat([x[:, :1], torch.zeros_like(x[:, 1:])], dim=1)), PAIR)(case)
    np.testing.assert_array_equal(found.data, zeroed.data)
    assert found.data.max() > 0.4


def test_a_missing_first_input_gives_its_place_to_the_next():
    case = brain_case(contrasts=("t1", "t2"))
    found = Synthesizer(lambda x: x[:, 1:], PAIR, missing=MissingInputs("zeros"))(without(case, "t1"))
    np.testing.assert_array_equal(found.data, Synthesizer(lambda x: x[:, 1:], PAIR)(case).data)
    with pytest.raises(InputError, match="no input t1"):
        Synthesizer(mean, PAIR, missing=MissingInputs("zeros"))(without(case, "t1"), like="t1")


def test_an_input_that_is_imputed_right_changes_nothing():
    case = brain_case(contrasts=("t1", "t2"))
    case = replace(case, images={**case.images, "t2": replace(case.images["t1"], contrast="t2")})
    full = Synthesizer(mean, PAIR)(case)
    copy = {"t2": imputer(["t1"], "t2", lambda x: x)}
    np.testing.assert_array_equal(Synthesizer(mean, PAIR, imputers=copy)(without(case, "t2")).data, full.data)


def test_what_is_there_is_not_imputed():
    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("this network is not needed")

    case = brain_case(contrasts=("t1", "t2"))
    found = Synthesizer(mean, PAIR, imputers={"t2": imputer(["t1"], "t2", never)})(case)
    np.testing.assert_array_equal(found.data, Synthesizer(mean, PAIR)(case).data)


def test_a_chain_runs_in_order_and_stays_in_the_range():
    """t2 = flair / 2 = (t1 · 3, clipped to 1) / 2."""
    case = brain_case(contrasts=("t1",))
    imputers = {
        "t2": imputer(["flair"], "t2", lambda x: x / 2),
        "flair": imputer(["t1"], "flair", lambda x: 3 * x),
    }
    found = Synthesizer(lambda x: x[:, 1:], PAIR, imputers=imputers)(case)
    expected = Synthesizer(lambda x: (3 * x).clamp(0, 1) / 2, CONTRACT)(case)
    np.testing.assert_array_equal(found.data, expected.data)


def test_an_imputer_of_another_preparation_is_refused():
    other = imputer(["t1"], "t2", lambda x: x)
    other = replace(other, contract=other.contract.model_copy(update={"steps": STEPS[:-1]}))
    with pytest.raises(ModelError, match="prepared differently"):
        Synthesizer(mean, PAIR, imputers={"t2": other})


@pytest.mark.parametrize("missing", ["t1", "t2", None])
def test_flags_are_seen_by_the_network(missing: str | None):
    case = without(brain_case(contrasts=("t1", "t2")), missing or "")
    flagged = PAIR.model_copy(update={"flags": True})
    for channel, name in ((1, "t1"), (3, "t2")):
        flag = Synthesizer(lambda x, c=channel: x[:, c : c + 1], flagged)(case).data
        brain = next(iter(case.images.values())).data > 0
        assert np.all(np.abs(flag[brain] - (name != missing)) < 1e-6)
    if missing == "t2":
        copied = Synthesizer(lambda x: x[:, :1], flagged)(case)
        np.testing.assert_array_equal(copied.data, Synthesizer(lambda x: x[:, :1], PAIR)(brain_case()).data)


def test_sources_say_what_each_input_was():
    synthesizer = Synthesizer(
        mean,
        PAIR.model_copy(update={"inputs": ["t1", "t2", "adc"]}),
        missing=MissingInputs("zeros"),
        imputers={"t2": imputer(["flair"], "t2", mean), "flair": imputer(["t1"], "flair", mean)},
    )
    sources = synthesizer.sources(synthesizer.supply(["t1"]))
    assert {name: found.source for name, found in sources.items()} == {
        "t1": "scan",
        "t2": "imputed",
        "flair": "imputed",
        "adc": "zeros",
    }
    assert sources["t2"].run == "runs/t2"
    assert sources["t2"].inputs == ["flair"]


def test_steps_that_name_a_missing_input_take_what_is_there():
    steps = [{"resample": {"to": "t2"}}, {"adc": {}}, *STEPS]
    case = without(brain_case(contrasts=("t1", "t2")), "t2")
    found = Synthesizer(mean, PAIR.model_copy(update={"steps": steps}), missing=MissingInputs("zeros"))(case)
    plain = Synthesizer(mean, PAIR, missing=MissingInputs("zeros"))(case)
    np.testing.assert_array_equal(found.data, plain.data)


def test_an_adc_that_is_synthesized_is_not_fitted():
    case, steps = brain_case(), [{"adc": {}}, *STEPS]
    makes_adc = CONTRACT.model_copy(update={"target": "adc", "steps": steps})
    np.testing.assert_array_equal(Synthesizer(mean, makes_adc)(case).data, Synthesizer(mean, CONTRACT)(case).data)


@pytest.mark.parametrize("first", ["adc", "resample"])
def test_with_nothing_but_diffusion_the_image_lies_where_it_lay(first: str):
    """The ADC is fitted on its own grid (first) or on the common one; its scan has other voxels than the others."""
    case = brain_case(shape=(24, 28, 20), contrasts=("t1",), spacing_mm=(5, 5, 5))
    s0, affine = case.images["t1"].data, case.images["t1"].affine
    scans = {f"dwi_b{b}": Image(s0 * np.float32(np.exp(-b * 1e-3)), affine, f"dwi_b{b}") for b in (0, 1000)}
    case = replace(case, images=scans)
    steps = sorted([{"adc": {}}, {"resample": {"spacing_mm": [4, 4, 4]}}], key=lambda step: first not in step)
    contract = CONTRACT.model_copy(update={"inputs": ["t1", "adc"], "steps": [*steps, *STEPS[:2], STEPS[-1]]})
    synthesizer = Synthesizer(lambda x: 500 * x[:, 1:], contract, missing=MissingInputs("zeros"))
    image = synthesizer(case)
    assert image.data.shape == (24, 28, 20)
    assert np.array_equal(image.affine, affine)
    middle = image.data[8:16, 10:18, 8:12]
    np.testing.assert_allclose(middle, 0.5, atol=0.02)
    assert synthesizer.place(synthesizer.supply(case.images), None) == "dwi_b0"
    true = run_on_grid_of(case, contract.steps, "dwi_b0").images["adc"]
    assert np.array_equal(true.affine, affine)
    np.testing.assert_allclose(500 * true.data[8:16, 10:18, 8:12], middle, atol=0.02)


def test_a_model_of_boxes_gets_boxes():
    seen: set[tuple[int, ...]] = set()

    def net(x: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(x.shape[1:2]) + tuple(x.shape[-1:]))
        return x[:, :1]

    slabs = PAIR.model_copy(update={"patch": [None, None, 3], "flags": True})
    case = brain_case()
    found = Synthesizer(net, slabs)(case)
    np.testing.assert_allclose(found.data, Synthesizer(lambda x: x[:, :1], PAIR)(case).data, atol=1e-5)
    assert seen == {(4, 3)}
