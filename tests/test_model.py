from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import ModelError
from mrsynth.model import load_contract, load_weights, save_model
from mrsynth.nets import build_net
from tiny import STEPS, trained

SMALL = {"widths": [4, 4], "dropout": [0.0, 0.0]}
CONTRACT = {
    "recipe": "tiny",
    "inputs": ["t1"],
    "target": "t2",
    "net": "unet2d",
    "net_settings": SMALL,
    "patch": None,
    "flags": False,
    "steps": STEPS,
    "range": [0, 1],
    "intensity": [],
    **trained(),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", build_net("unet2d", **SMALL).state_dict(), CONTRACT, "# card\n")
    return tmp_path


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path):
    net = build_net("unet2d", **SMALL).eval()
    save_model(tmp_path / "model", net.state_dict(), CONTRACT, "# card\n")
    contract = load_contract(tmp_path)
    again = load_weights(tmp_path, contract, build_net(contract.net, **contract.net_settings))
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(again(x), net(x), rtol=0, atol=0)
    assert not again.training
    assert contract.steps == STEPS
    assert load_contract(tmp_path / "model") == contract


def test_altered_weights_are_refused(run: Path):
    path = run / "model" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="not the file that the contract describes"):
        load_weights(run, load_contract(run), build_net("unet2d", **SMALL))


def test_a_pickle_in_place_of_weights_is_never_loaded(run: Path):
    """Even with a contract that vouches for it: the reader knows safetensors alone."""
    import hashlib

    path = run / "model" / "weights.safetensors"
    torch.save({"head.weight": torch.zeros(1)}, path)
    contract = json.loads((run / "model" / "contract.json").read_text())
    contract["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (run / "model" / "contract.json").write_text(json.dumps(contract))
    with pytest.raises(ModelError, match="does not fit"):
        load_weights(run, load_contract(run), build_net("unet2d", **SMALL))


def test_missing_broken_and_foreign_contracts(run: Path, tmp_path: Path):
    with pytest.raises(ModelError, match=r"holds no trained model[\s\S]*no such folder"):
        load_contract(tmp_path / "nowhere")
    contract = run / "model" / "contract.json"
    good = contract.read_text()
    for bad in ("{", "[]", good.replace('"target"', '"tarket"'), "\x00\xff"):
        contract.write_text(bad)
        with pytest.raises(ModelError, match=r"not a contract that mrsynth wrote|cannot be read|no JSON object"):
            load_contract(run)
    for later, says in ((good.replace('"version": 1', '"version": 99'), "later version"), ('{"format": 1}', "earlier")):
        contract.write_text(later)
        with pytest.raises(ModelError, match=says):
            load_contract(run)
    contract.write_text(good)
    (run / "model" / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="is missing"):
        load_weights(run, load_contract(run), build_net("unet2d", **SMALL))


def test_weights_of_another_network_are_refused(run: Path):
    with pytest.raises(ModelError, match="does not fit the network"):
        load_weights(run, load_contract(run), build_net("unet2d", widths=[4, 8], dropout=[0.0, 0.0]))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": []},
        {"inputs": ["t1", "t1"]},
        {"inputs": ["../t1"]},
        {"target": "../../../escaped"},
        {"target": "/escaped"},
        {"range": [1, 0]},
        {"range": [0, 0]},
        {"range": [0, 1e999]},
        {"patch": [8, 8]},
        {"patch": [0, 8, 8]},
        {"neighbours": -1},
        {"voxels_mm": [[0, 1, 1], [1, 1, 1]]},
        {"weights_sha256": "../.."},
        {"training": {"patients": 5}},
        {"training": {"unknown": 1}},
    ],
)
def test_a_contract_keeps_to_its_bounds(run: Path, change: dict[str, object]):
    """Files may come from strangers: no name in a contract leads out of a folder, no number is out of its bounds."""
    path = run / "model" / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=f"not a contract that mrsynth wrote[\\s\\S]*{next(iter(change))}"):
        load_contract(run)


def test_a_contract_of_before_is_read(run: Path):
    """Contracts had no version, and said all that is known of the training side by side."""
    path = run / "model" / "contract.json"
    now = load_contract(run)
    old = json.loads(path.read_text())
    del old["mrsynth"]
    old |= {"format": 2, "training": old.pop("began") | old["training"]}
    del old["training"]["scans"]
    path.write_text(json.dumps(old))
    assert load_contract(run) == now.model_copy(update={"training": now.training.model_copy(update={"scans": None})})
