"""mrsynth export: what other programs compute is what mrsynth computes."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from mrsynth.cli import main
from mrsynth.core.errors import ModelError, OutputError
from mrsynth.export import onnx_folder
from mrsynth.export.network import exported
from mrsynth.export.run import export
from mrsynth.model import load_contract, load_weights, save_model
from mrsynth.nets import build_net
from mrsynth.nets.registry import NETS
from mrsynth.nets.starts import STARTS
from mrsynth.recipes.recipe import load_recipe
from mrsynth.steps import complete_steps
from mrsynth.synthesize.run import synthesize_files
from mrsynth.volume.onnx_net import compared, onnx_bytes
from mrsynth.volume.predict import Inference, predict_volume
from mrsynth.volume.runtimes import onnx_session
from tiny import STEPS, tiny_scans, trained
from tiny_contrasts import save_any_run

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


pytestmark = pytest.mark.usefixtures("no_shape_checks")


def save_run(folder: Path, net: str = "unet2d", patch: list[int | None] | None = None, **settings: Any) -> Path:
    """A run whose network has its first weights."""
    torch.manual_seed(1)
    settings = settings or {"inputs": 1, "widths": [4, 4], "dropout": [0.0, 0.0]}
    contract = {
        "recipe": "tiny", "inputs": ["t1"], "target": "t2", "net": net, "net_settings": settings, "patch": patch,
        "flags": False, "steps": complete_steps(STEPS), "range": [0, 1], "intensity": [],
        **trained(patients={"train": ["Ada Example"], "val": [], "test": []}),
    }  # fmt: skip
    save_model(folder / "model", build_net(net, **settings).state_dict(), contract, "# card\n")
    return folder


def outside(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def test_the_reader_of_the_page_needs_onnxruntime_alone_and_computes_the_same(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    run = save_run(tmp_path / "run")
    export(run, "onnx", tmp_path / "out")
    volume = np.random.default_rng(0).random((21, 18, 5), np.float32)  # not multiples of the network's stride
    np.save(tmp_path / "t1.npy", volume)
    alone = "import sys; sys.modules.update(dict.fromkeys(['torch', 'mrsynth', 'nibabel', 'monai'], None))\n"
    (tmp_path / "reader.py").write_text(alone + BLOCK.findall(PAGE.read_text(encoding="utf-8"))[0])
    done = outside(tmp_path / "reader.py", tmp_path / "out", tmp_path / "t2.npy", tmp_path / "t1.npy")
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC t2" in done.stdout
    contract = load_contract(run)
    net = build_net(contract.net, **contract.net_settings)
    expected = np.clip(predict_volume(load_weights(run, contract, net), [volume], Inference()), 0, 1)
    np.testing.assert_allclose(np.load(tmp_path / "t2.npy"), expected, atol=1e-5)


def test_the_page_s_reader_is_short():
    (block,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(block.splitlines()) <= 30


def test_what_is_handed_out_says_that_it_is_synthetic_and_names_no_patient(tmp_path: Path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    run = save_run(tmp_path / "run")
    for form in ("onnx", "bundle"):
        export(run, form, tmp_path / form)
        assert load_contract(tmp_path / form / ("models" if form == "bundle" else "")).target == "t2"
        for path in (tmp_path / form).rglob("*"):
            assert path.is_dir() or b"Ada Example" not in path.read_bytes(), path
    said = {prop.key: prop.value for prop in onnx.load(tmp_path / "onnx" / "model.onnx").metadata_props}
    assert "not for diagnosis" in said["notice"]
    assert said["weights_sha256"] == load_contract(run).weights_sha256
    assert json.loads((tmp_path / "onnx" / "network.json").read_text())["channels"] == ["t1"]


NETWORKS = {
    "osman2022": ("unet2d", None, {"inputs": 2, "widths": [4, 8], "dropout": [0.0, 0.0]}),
    "chen2022": ("hrfcn", [None, None, 3], {"inputs": 3, "mode": "slab", "widths": [4, 8, 16], "blocks": 1}),
    "chen2022/unet2d": ("unet2d_deep", None, {"inputs": 3, "widths": [4, 8], "convolutions": 2, "norm": "batch"}),
    "chen2022/unet3d": ("unet3d", [None, None, 3], {"inputs": 3, "mode": "slab", "widths": [4, 8], "norm": "batch"}),
    "chen2022/pix2pix": ("pix2pix", None, {"inputs": 3, "blocks": 1, "mode": "2d", "widths": [4, 8, 8]}),
    "chen2022/decnn": ("decnn", None, {"inputs": 3, "mode": "2d", "width": 4, "norm": "batch"}),
    "chen2022/lagan": ("lagan", [32, 32, 32], {"inputs": 3, "mode": "cube", "widths": [4, 8, 8], "cell": 4}),
    "chen2022/medgan": ("medgan", None, {"inputs": 3, "blocks": 2, "mode": "2d", "widths": [4, 8, 8]}),
    "li2022": ("drunet", None, {"inputs": 1, "depth": 18, "imagenet": True, "head": "linear"}),
    "pasumarthi2021": ("unet25d", None, {"inputs": 14, "widths": [4, 8]}),
    "pinetz2023": ("lowdose", [32, 32, 32], {"width": 12, "scales": 2}),
}


@pytest.mark.parametrize("recipe", NETWORKS)
def test_every_network_of_the_recipes_computes_the_same_at_any_size(recipe: str, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    name, patch, settings = NETWORKS[recipe]
    assert load_recipe(recipe).net.name == name
    settings = {k: v for k, v in settings.items() if k in _settings_of(name)}
    run = save_run(tmp_path / "run", name, patch, **settings)
    contract = load_contract(run)
    if name == "lowdose":
        condition = {"dose": (0.1, 0.33), "b0_tesla": (1.5, 3.0)}
        contract = type(contract).model_validate(
            {**contract.model_dump(), "inputs": ["t1", "t1ce"], "condition": condition}
        )
    torch.manual_seed(1)
    net = build_net(name, **settings)
    parts = exported(contract, net)
    channels = [str(n) for n in range(3 if name == "lowdose" else net.inputs)]
    if name != "lowdose":  # statistics of a batch, so that values stay in bounds as those of a trained network do
        for module in net.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = None
        with torch.no_grad():
            net.train()(*parts._replace(channels=channels).example(2, 2))
        parts = exported(contract, net.eval())
    parts = parts._replace(channels=channels)
    run_onnx = onnx_session(onnx_bytes(parts.net, parts.example(1, 1), parts.names))
    for batch, times in ((1, 1), (2, 2)):
        found = compared(parts.net, run_onnx, parts.example(batch, times))
        assert found.difference <= max(1e-5 * max(found.spread, 1), 4 * found.rounding)
        assert found.rounding < 1e-4 * max(found.spread, 1)


@pytest.mark.parametrize("start", STARTS)
def test_a_network_that_makes_any_contrast_is_told_its_task(start: str, tmp_path: Path, no_shape_checks: None):
    """Its channels are all contrasts, each with its role; the image is that of `synthesize` for the target."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    run = save_any_run(tmp_path / "run", net_settings={"start": start})
    export(run, "onnx", tmp_path / "out")
    network = json.loads((tmp_path / "out" / "network.json").read_text("utf-8"))
    role = "role (1 there, 0 not there, -1 to be made)"
    assert network["channels"][:4] == ["t1, slice -1", "t1, slice +0", "t1, slice +1", f"t1 {role}, slice -1"]
    assert len(network["channels"]) == 18
    x = exported(load_contract(run), build_net("anycontrast", contrasts=3, widths=(8, 16))).example(2, 1)[0]
    assert x.reshape(2, 3, 2, 3, 16, 16)[:, :, 1].mean((0, 2, 3, 4)).tolist() == [1, -1, 1]  # t1 + flair → t2


def _settings_of(name: str) -> set[str]:
    return set(inspect.signature(NETS[name]).parameters)


def test_a_network_that_onnx_computes_otherwise_is_not_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    run = save_run(tmp_path / "run")

    def off(content: bytes) -> Any:
        session = onnx_session(content)
        return lambda *arrays: session(*arrays) + np.float32(1e-4)

    monkeypatch.setattr(onnx_folder, "onnx_session", off)
    with pytest.raises(ModelError, match="different images"):
        export(run, "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_missing_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = save_run(tmp_path / "run")
    monkeypatch.setattr("mrsynth.core.extras.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["mrsynth", "export", str(run), "--to", "onnx", "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "pip install 'mrsynth[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path: Path):
    run = save_run(tmp_path / "run")
    with pytest.raises(OutputError, match="is there already"):
        export(run, "bundle", run)


def test_the_bundle_makes_the_image_of_synthesize_to_the_byte(tmp_path: Path):
    pytest.importorskip("monai", reason="monai is not installed")
    pytest.importorskip("fire", reason="fire is not installed")
    run = save_run(tmp_path / "run")
    scan = next(tiny_scans(tmp_path / "scans", cases=1).rglob("*t1n*"))
    export(run, "bundle", tmp_path / "bundle")
    done = outside(
        "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", "--bundle_root", ".",
        "--images", f"{{'t1': '{scan}'}}", "--output", tmp_path / "bundle.nii.gz", cwd=tmp_path / "bundle",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    synthesize_files(run, {"t1": scan}, tmp_path / "own.nii.gz")
    theirs, ours = (nib.load(tmp_path / name) for name in ("bundle.nii.gz", "own.nii.gz"))
    assert np.asarray(theirs.dataobj).tobytes() == np.asarray(ours.dataobj).tobytes()
    assert theirs.header.binaryblock == ours.header.binaryblock
    checked = outside(
        "-m", "monai.bundle", "verify_net_in_out", "network_def", "--meta_file", "configs/metadata.json",
        "--config_file", "configs/inference.json", "--n", "2", "--any", "32", "--device", "cpu",
        cwd=tmp_path / "bundle",
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
