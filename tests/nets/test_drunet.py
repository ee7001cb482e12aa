from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.nets import build_net, count_parameters
from mrsynth.nets.drunet import DRUNet, UpBasic, UpBottleneck, twice
from mrsynth.nets.resnet import DEPTHS
from mrsynth.nets.weights import weights_file
from mrsynth.volume.stream import stream
from mrsynth.volume.trace import trace

TABLE_1 = {
    "DOWN 1": ((3, 448, 448), (64, 224, 224)),
    "DOWN 2": ((64, 224, 224), (256, 112, 112)),
    "DOWN 3": ((256, 112, 112), (512, 56, 56)),
    "DOWN 4": ((512, 56, 56), (1024, 28, 28)),
    "D-CENTER": ((1024, 28, 28), (2048, 14, 14)),
    "U-CENTER": ((2048, 14, 14), (1024, 28, 28)),
    "UP 1": ((2048, 28, 28), (512, 56, 56)),
    "UP 2": ((1024, 56, 56), (256, 112, 112)),
    "UP 3": ((512, 112, 112), (64, 224, 224)),
    "UP 4": ((64, 224, 224), (1, 448, 448)),
}


def shapes_of(net: DRUNet, size: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the input and output shapes of every stage, in the order of Table 1; on tensors without memory."""
    seen: dict[nn.Module, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[module] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]))

    e = net.encoder
    stages = [e.layer2, e.layer3, e.layer4, *net.decoder]
    ends = [e.conv1, e.bn1, e.layer1, net.head]
    for module in (*stages, *ends):
        module.register_forward_hook(note)
    net(torch.zeros(1, 3, size, size, device="meta"))
    stem = (seen[e.conv1][0], seen[e.bn1][1])
    pooled = (seen[e.bn1][1], seen[e.layer1][1])  # the pooling belongs to DOWN 2
    head = (seen[net.decoder[-1]][1], seen[net.head][1])  # and the last upsampling to UP 4
    return [stem, pooled, *(seen[stage] for stage in stages), head]


def test_every_row_of_table_1():
    with torch.device("meta"):
        net = DRUNet(101)
    assert dict(zip(TABLE_1, shapes_of(net, 448), strict=True)) == TABLE_1


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_decoder_has_the_blocks_of_the_encoder_in_reverse(depth: int):
    """li2022: 3, 4, 23, 3, 3, 23, 4, 3 for 101. The plane and the table's scheme are the same for every depth."""
    with torch.device("meta"):
        net = build_net("drunet", depth=depth)
    e = net.encoder
    encoder = [len(layer) for layer in (e.layer1, e.layer2, e.layer3, e.layer4)]
    assert [len(stage) for stage in net.decoder] == encoder[::-1] == list(DEPTHS[depth].blocks[::-1])
    rows = shapes_of(net, 64)
    assert [shape[1][1] for shape in rows] == [32, 16, 8, 4, 2, 4, 8, 16, 32, 64]
    for down, up in zip(rows[1:5], rows[5:9][::-1], strict=True):
        assert down[0] == up[1]


def reference_resnet(state: dict[str, Tensor], x: Tensor, training: bool) -> list[Tensor]:
    """ResNet written from He et al. 2016 with the layer names that its published weights have; five feature maps."""

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var = (None, None) if training else (state[f"{name}.running_mean"], state[f"{name}.running_var"])
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=training)

    def block(name: str, x: Tensor, stride: int) -> Tensor:
        deep = f"{name}.conv3.weight" in state
        strides = (1, stride, 1) if deep else (stride, 1)
        y = x
        for number, step in enumerate(strides, start=1):
            weight = state[f"{name}.conv{number}.weight"]
            y = norm(f"{name}.bn{number}", F.conv2d(y, weight, stride=step, padding=weight.shape[-1] // 2))
            y = F.relu(y) if number < len(strides) else y
        if f"{name}.downsample.0.weight" in state:
            x = norm(f"{name}.downsample.1", F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride))
        return F.relu(x + y)

    maps = [F.relu(norm("bn1", F.conv2d(x, state["conv1.weight"], stride=2, padding=3)))]
    x = F.max_pool2d(maps[0], 3, 2, 1)
    for layer in (1, 2, 3, 4):
        number = 0
        while f"layer{layer}.{number}.conv1.weight" in state:
            x = block(f"layer{layer}.{number}", x, 2 if layer > 1 and number == 0 else 1)
            number += 1
        maps.append(x)
    return maps


def random_resnet(depth: int) -> tuple[DRUNet, dict[str, Tensor]]:
    torch.manual_seed(depth)
    net = DRUNet(depth)
    state = net.encoder.state_dict()
    for name, value in state.items():
        if "running" in name or "bn" in name or "downsample.1" in name:
            state[name] = torch.rand_like(value.float()).to(value.dtype) + (0.5 if value.dtype.is_floating_point else 0)
    return net, state


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_encoder_equals_resnet_layer_by_layer(depth: int, training: bool, tmp_path: Path):
    net, state = random_resnet(depth)
    classifier = {"fc.weight": torch.zeros(1000, 8), "fc.bias": torch.zeros(1000)}
    save_file({**state, **classifier}, tmp_path / "resnet.safetensors")
    net.begin_with(tmp_path / "resnet.safetensors")
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        pairs = zip(net.encoder.train(training)(x), reference_resnet(state, x, training), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
            assert theirs.std() > 0.1


TORCHVISION = {
    18: [(0.540565, 0.850102), (4.26359, 5.1998), (12.1598, 15.0382), (25.2165, 31.9634), (37.1228, 48.6312)],
    34: [(0.540565, 0.850102), (8.60196, 9.54986), (45.2456, 60.7944), (420.844, 528.151), (813.414, 936.627)],
    50: [(0.540565, 0.850102), (6.19926, 7.50213), (62.2781, 80.6205), (1077.7, 1327.21), (3525.16, 4193.89)],
    101: [(0.540565, 0.850102), (6.19926, 7.50213), (62.2781, 80.6205), (1.02379e7, 1.32938e7), (3.3964e7, 4.0436e7)],
    152: [
        (0.540565, 0.850102),
        (6.19926, 7.50213),
        (453.311, 615.94),
        (3.94334e10, 5.03197e10),
        (1.64665e11, 1.98156e11),
    ],
}
"""Mean and SD of the five feature maps of torchvision 0.29.2's ResNets, with the weights and the input below."""


@pytest.mark.parametrize("depth", DEPTHS)
def test_encoder_has_the_feature_maps_that_torchvisions_resnet_had(depth: int):
    draw, weights = np.random.default_rng(0), {}
    with torch.device("meta"):
        encoder = DRUNet(depth).encoder.eval()
    for name, value in sorted(encoder.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(0)
        elif value.ndim == 4:
            kernel = draw.standard_normal(value.shape) * np.sqrt(2 / np.prod(value.shape[1:]))
            weights[name] = torch.tensor(kernel, dtype=torch.float32)
        else:
            weights[name] = torch.tensor(draw.uniform(0.5, 1.5, value.shape), dtype=torch.float32)
    encoder.load_state_dict(weights, assign=True)
    x = torch.tensor(np.random.default_rng(1).standard_normal((1, 3, 64, 64)), dtype=torch.float32)
    with torch.no_grad():
        found = [(float(m.double().mean()), float(m.double().std())) for m in encoder(x)]
    np.testing.assert_allclose(found, TORCHVISION[depth], rtol=1e-3)


def test_encoder_equals_torchvision():
    """Runs where a torchvision that fits this torch is installed."""
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    for depth in DEPTHS:
        with torch.device("meta"):
            theirs = getattr(models, f"resnet{depth}")().state_dict()
            ours = DRUNet(depth).encoder.state_dict()
        kept = {name: value.shape for name, value in theirs.items() if not name.startswith("fc.")}
        assert {name: value.shape for name, value in ours.items()} == kept
    theirs = models.resnet18().eval()
    net = DRUNet(18).eval()
    net.encoder.load_state_dict(theirs.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 64)
    y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    for number, ours in enumerate(net.encoder(x)[1:], start=1):
        y = getattr(theirs, f"layer{number}")(y)
        torch.testing.assert_close(ours, y)


def test_parameters_of_the_encoders():
    """ResNet's published sizes without the classifier (11.69, 21.80, 25.56, 44.55 and 60.19 M with it)."""
    with_classifier = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
    for depth, expected in with_classifier.items():
        with torch.device("meta"):
            net = DRUNet(depth)
        features = net.encoder.widths[-1]
        assert count_parameters(net.encoder) == expected - 1000 * (features + 1)


@pytest.mark.parametrize("block", [UpBottleneck, UpBasic])
def test_up_blocks_equal_upsampling_first(block: type[nn.Module]):
    """The order that figures 3E and 3F draw (upsample, then convolve) gives the same map, also in training."""
    torch.manual_seed(0)
    up = block(16, 8)
    x = torch.randn(2, 16, 5, 6)
    if block is UpBottleneck:
        drawn = up.inner[0:3](x)
        drawn = torch.relu(up.inner[3:](twice(drawn)) + up.project(twice(x)))
    else:
        drawn = torch.relu(up.after(up.before(twice(x))) + up.project(twice(x)))
    torch.testing.assert_close(up(x), drawn, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("depth", "size"), [(18, (96, 160)), (50, (32, 64))])
def test_any_multiple_of_32(depth: int, size: tuple[int, int]):
    torch.manual_seed(0)
    net = build_net("drunet", depth=depth, inputs=2, outputs=3)
    with torch.no_grad():
        x = torch.rand(2, 2, *size)
        out = net(x)
        torch.testing.assert_close(out, torch.sigmoid(net.logits(x)))
        assert net.eval()(x[:1]).shape == (1, 3, *size)
    assert out.shape == (2, 3, *size)
    assert 0.05 < out.std() < 0.45  # an untrained network is neither flat nor saturated


@pytest.mark.parametrize(("depth", "edge"), [(18, 2), (50, 4)])
def test_the_output_has_full_resolution(depth: int, edge: int):
    """Though the head sees a map that is constant in blocks: of 2×2 pixels, of 4×4 behind bottlenecks."""
    torch.manual_seed(0)
    net, seen = build_net("drunet", depth=depth).eval(), []
    net.head.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    with torch.no_grad():
        out = net.logits(torch.rand(1, 3, 64, 64))[0, 0]
    assert (out[:-1] != out[1:]).any(dim=1).all()
    assert (out[:, :-1] != out[:, 1:]).any(dim=0).all()
    blocks = seen[0].unfold(2, edge, edge).unfold(3, edge, edge)
    assert (blocks == blocks[..., :1, :1]).all()
    wider = seen[0].unfold(2, 2 * edge, 2 * edge)
    assert (wider != wider[..., :1]).any()


def test_filters_as_they_act_on_the_scan():
    """A picture of 7×7 pixels, added to the scan, changes the first layer's value there by filter · picture."""
    torch.manual_seed(0)
    picture = torch.rand(7, 7)
    for inputs, imagenet in ((1, True), (3, True), (2, False)):
        net = DRUNet(18, inputs=inputs, imagenet=imagenet)
        flat = torch.full((1, inputs, 7, 7), 0.5)
        with torch.no_grad():
            first, second = (F.conv2d(net.imagenet_input(x), net.encoder.conv1.weight) for x in (flat, flat + picture))
        torch.testing.assert_close(
            (second - first)[0, :, 0, 0], (net.image_filters() * picture).sum((1, 2)), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("depth", [18, 50])
def test_gradients_reach_every_parameter(depth: int):
    torch.manual_seed(0)
    net = build_net("drunet", depth=depth)
    net(torch.rand(2, 3, 32, 64)).square().mean().backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_weights_that_do_not_fit_are_refused(tmp_path: Path):
    net, state = random_resnet(18)
    path = tmp_path / "w.pt"
    for change, expected in (
        ({**state, "layer9.weight": torch.zeros(1)}, "the encoder has no 'layer9.weight'"),
        ({k: v for k, v in state.items() if k != "conv1.weight"}, r"it has no 'conv1\.weight'"),
        ({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, r"sizes differ of 'conv1\.weight'"),
    ):
        torch.save(change, path)
        with pytest.raises(ModelError, match=expected):
            net.begin_with(path)
    counters = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save(counters, path)
    net.begin_with(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        net.begin_with(path)
    with pytest.raises(ModelError, match="cannot be read"):
        net.begin_with(tmp_path / "none.safetensors")


def test_imagenets_mean_and_sd():
    """One channel is three equal ones; the result is that of a network that is given them normalised."""
    torch.manual_seed(0)
    net = build_net("drunet", depth=18, inputs=1, imagenet=True).eval()
    plain = DRUNet(18).eval()
    plain.load_state_dict(net.state_dict())
    x = torch.rand(2, 1, 32, 64)
    mean, sd = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (x.expand(-1, 3, -1, -1) - mean[:, None, None]) / sd[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(normalised), rtol=1e-3, atol=1e-3)
    three = torch.rand(2, 3, 32, 32)
    shown = build_net("drunet", depth=18, inputs=3, imagenet=True).imagenet_input(three)
    torch.testing.assert_close(shown, (three - mean[:, None, None]) / sd[:, None, None])
    with pytest.raises(RecipeError, match="inputs must be 1 or 3"):
        build_net("drunet", depth=18, inputs=2, imagenet=True)


def test_a_linear_head_is_the_sigmoids_logits():
    x = torch.rand(1, 1, 32, 32)
    linear, bounded = (
        build_net("drunet", generator=torch.Generator().manual_seed(0), depth=18, inputs=1, head=head).eval()
        for head in ("linear", "sigmoid")
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.sigmoid(linear(x)), bounded(x))
        assert linear(x).abs().max() > 0
    with pytest.raises(RecipeError, match="Network drunet"):
        build_net("drunet", depth=18, head="tanh")


def test_the_sigmoid_keeps_its_steps_in_half_precision():
    """bfloat16 has no number between 0.996 and 1: the sigmoid is taken in float32."""
    net = DRUNet(18, inputs=1).eval()
    net.head.weight.data.zero_()
    net.head.bias.data.fill_(6.0)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        out = net(torch.rand(1, 1, 32, 32))
    torch.testing.assert_close(out, torch.full_like(out, torch.sigmoid(torch.tensor(6.0)).item()), rtol=1e-5, atol=0)


def test_it_streams():
    """Synthesis plans its memory by the layers; slices of 448×448 are larger than what it may use at once."""
    torch.manual_seed(0)
    net = build_net("drunet", depth=18, inputs=1, imagenet=True).eval().double()
    x = torch.rand(1, 1, 64, 32, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(stream(trace(net, x.shape), x, 16), net(x))
    assert len(trace(net.to(torch.bfloat16), x.shape)) > 50


def test_the_cache_is_named_where_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = DRUNet(34)
    with pytest.raises(ModelError, match=r"ImageNet weights of resnet34"):
        weights_file(str(net.public_weights), "cache")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(net.encoder.state_dict(), folder / "resnet34-b627a593.pth")
    with pytest.raises(ModelError, match="damaged or another file"):
        weights_file(str(net.public_weights), "cache")
    torch.save(net.encoder.state_dict(), tmp_path / "own.pt")
    net.begin_with(weights_file(str(net.public_weights), str(tmp_path / "own.pt")))


def test_wrong_sizes_and_depths_are_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        build_net("drunet", depth=18)(torch.rand(1, 3, 48, 64))
    with pytest.raises(RecipeError, match="no ResNet-33"):
        build_net("drunet", depth=33)
