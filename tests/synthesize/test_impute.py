"""Where the inputs of a model come from when some are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import InputError, ModelError
from mrsynth.model import Contract
from mrsynth.synthesize.impute import MissingInputs, network_inputs, read_imputers, require_same_space, supply_of
from tiny import STEPS, trained

CONTRASTS = ("t1", "t2", "flair", "adc")
ZEROS = MissingInputs("zeros")


def model(inputs: list[str], target: str = "t1ce", **changes: object) -> Contract:
    """A contract with what matters here."""
    known = {"recipe": "tiny", "inputs": inputs, "target": target, "net": "unet2d", "net_settings": {}}
    rest = {"steps": STEPS, "range": (0, 1), "intensity": [], "weights_sha256": "0" * 64, **trained()}
    return Contract.model_validate({**known, **rest, "patch": None, "flags": False, **changes})


FULL = model(["t1", "t2", "adc"])
T2_OF_T1, ADC_OF_T1 = model(["t1"], "t2"), model(["t1"], "adc")


def test_all_inputs_there_need_nothing():
    supply = supply_of(FULL, ["adc", "t1", "t2", "flair", "brain"], MissingInputs(), {})
    assert supply.real == supply.read == ("t1", "t2", "adc")
    assert supply.made == supply.absent == ()


def test_a_gap_is_refused_with_the_ways_out():
    with pytest.raises(InputError, match=r"makes t1ce from t1 \+ t2 \+ adc; t2 and adc are missing") as error:
        supply_of(FULL, ["t1"], MissingInputs(), {})
    for way in ("--input t2=FILE", "--impute t2=RUN", "--missing zeros", "modality dropout"):
        assert way in str(error.value)


@pytest.mark.parametrize("missing", [MissingInputs(), ZEROS, MissingInputs(without=("t1",))])
def test_nothing_can_be_made_of_nothing(missing: MissingInputs):
    for contract in (FULL, FULL.model_copy(update={"flags": True})):
        with pytest.raises(InputError, match="t1 and t2 and adc are missing") as error:
            supply_of(contract, ["flair", *missing.without], missing, {"t1": model(["flair"], "t1")})
        assert "at least one of t1, t2, adc" in str(error.value)


def test_zeros_and_flags_take_any_subset():
    for contract, missing in ((FULL, ZEROS), (FULL.model_copy(update={"flags": True}), MissingInputs())):
        supply = supply_of(contract, ["t2"], missing, {})
        assert supply.real == ("t2",)
        assert supply.absent == ("t1", "adc")


def test_what_is_left_out_on_purpose_is_missing():
    missing = MissingInputs("zeros", without=("adc",))
    assert supply_of(FULL, ["t1", "t2", "adc"], missing, {}).absent == ("adc",)
    fitting = FULL.model_copy(update={"steps": [{"adc": {}}, *STEPS]})
    assert supply_of(fitting, ["t1", "t2", "dwi_b0", "dwi_b1000"], missing, {}).absent == ("adc",)


def test_an_adc_that_can_be_fitted_is_there():
    fitting = FULL.model_copy(update={"steps": [{"adc": {}}, *STEPS]})
    supply = supply_of(fitting, ["t1", "t2", "dwi_b1000", "dwi_b0"], MissingInputs(), {})
    assert supply.real == ("t1", "t2", "adc")
    assert supply.read == ("t1", "t2", "dwi_b0", "dwi_b1000")
    given = supply_of(fitting, ["t1", "t2", "adc", "dwi_b1000", "dwi_b0"], MissingInputs(), {})
    assert given.read == ("t1", "t2", "adc")
    with pytest.raises(InputError, match="adc is missing"):
        supply_of(fitting, ["t1", "t2", "dwi_b1000"], MissingInputs(), {})


def test_gaps_are_imputed_from_what_is_real():
    supply = supply_of(FULL, ["t1"], MissingInputs(), {"t2": T2_OF_T1, "adc": ADC_OF_T1})
    assert supply.real == ("t1",)
    assert supply.made == ("t2", "adc")
    assert supply.absent == ()


def test_an_image_that_only_an_imputer_needs_is_read():
    supply = supply_of(FULL, ["t1", "adc", "flair"], MissingInputs(), {"t2": model(["flair", "t1"], "t2")})
    assert supply.real == ("t1", "flair", "adc")
    unneeded = supply_of(FULL, ["t1", "t2", "adc", "flair"], MissingInputs(), {"t2": model(["flair"], "t2")})
    assert unneeded.real == ("t1", "t2", "adc")


def test_a_chain_is_put_in_order():
    imputers = {"adc": model(["flair", "t2"], "adc"), "t2": model(["flair"], "t2"), "flair": model(["t1"], "flair")}
    assert supply_of(FULL, ["t1"], MissingInputs(), imputers).made == ("flair", "t2", "adc")


def test_circles_and_broken_chains_are_refused_by_a_sentence():
    circle = {"t2": model(["adc"], "t2"), "adc": model(["t2"], "adc")}
    with pytest.raises(InputError, match="t2 is made from adc, and adc is made from t2, and t2 needs t2 again"):
        supply_of(FULL, ["t1"], MissingInputs(), circle)
    assert supply_of(FULL, ["t1", "adc"], MissingInputs(), circle).made == ("t2",)
    with pytest.raises(InputError, match="t2 is made from flair, and nothing makes flair"):
        supply_of(FULL, ["t1", "adc"], MissingInputs(), {"t2": model(["flair"], "t2")})
    assert supply_of(FULL, ["t1"], ZEROS, circle).absent == ("t2", "adc")


def test_an_imputer_with_flags_fills_its_own_gaps():
    flagged = {"t2": model(["t1", "adc"], "t2", flags=True), "adc": model(["t1", "t2"], "adc", flags=True)}
    assert supply_of(FULL, ["t1"], MissingInputs(), flagged).made == ("t2", "adc")
    lost = {"t2": model(["flair", "ct"], "t2", flags=True)}
    with pytest.raises(InputError, match="none of flair, ct is there"):
        supply_of(FULL, ["t1", "adc"], MissingInputs(), lost)


@given(
    there=st.sets(st.sampled_from(CONTRASTS)),
    sources=st.dictionaries(
        st.sampled_from(CONTRASTS), st.lists(st.sampled_from(CONTRASTS), min_size=1, max_size=2, unique=True)
    ),
    flags=st.booleans(),
)
def test_law_every_image_is_made_after_what_it_is_made_from(
    there: set[str], sources: dict[str, list[str]], flags: bool
):
    imputers = {name: model(inputs, name) for name, inputs in sources.items()}
    contract = FULL.model_copy(update={"flags": flags})
    try:
        supply = supply_of(contract, there, ZEROS, imputers)
    except InputError:
        assert not there & set(FULL.inputs)
        return
    known = set(supply.real)
    assert known <= there
    for name in supply.made:
        assert name not in known
        assert set(sources[name]) <= known
        known.add(name)
    assert set(FULL.inputs) - known == set(supply.absent)


def test_the_network_gets_the_background_and_the_flags():
    t1, adc = np.ones((2, 3, 4), np.float32), np.full((2, 3, 4), 0.5, np.float32)
    channels = network_inputs(FULL, {"adc": adc, "t1": t1, "flair": t1})
    assert [float(c.mean()) for c in channels] == [1, 0, 0.5]
    signed = network_inputs(FULL.model_copy(update={"range": (-1, 1)}), {"t1": t1})
    assert [float(c.mean()) for c in signed] == [1, -1, -1]
    flagged = network_inputs(FULL.model_copy(update={"flags": True}), {"adc": adc, "t1": t1})
    assert [float(c.mean()) for c in flagged] == [1, 1, 0, 0, 0.5, 1]
    assert {c.shape for c in flagged} == {(2, 3, 4)}
    assert {c.dtype for c in flagged} == {np.dtype("float32")}


def test_a_run_names_its_imputers(tmp_path: Path):
    assert read_imputers(tmp_path) == {}
    (tmp_path / "imputers.yaml").write_text("T2w: ../t1-t2\nadc: /runs/t1-adc\n")
    assert read_imputers(tmp_path) == {"t2": tmp_path / "../t1-t2", "adc": Path("/runs/t1-adc")}
    for text in ("[t2]", "t2: 3", "{", "t2: [a]"):
        (tmp_path / "imputers.yaml").write_text(text)
        with pytest.raises(ModelError, match=r"imputers\.yaml"):
            read_imputers(tmp_path)


def test_only_the_same_space_can_be_imputed():
    require_same_space(FULL, "t2", T2_OF_T1, "run")
    with pytest.raises(ModelError, match="run does not make adc"):
        require_same_space(FULL, "adc", T2_OF_T1, "run")
    for change in ({"steps": STEPS[:-1]}, {"steps": [*STEPS[:-1], {"resize": {"size": [64, 64]}}]}, {"range": (-1, 1)}):
        with pytest.raises(ModelError, match="prepared differently") as error:
            require_same_space(FULL, "t2", T2_OF_T1.model_copy(update=change), "run")
        assert "resize" in str(error.value) or "values in" in str(error.value)
