from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrsynth.core.errors import RecipeError
from mrsynth.core.progress import listening
from mrsynth.core.settings import PredictSettings, parse
from mrsynth.nets import build_net
from mrsynth.volume.engine import Engine
from mrsynth.volume.multiplanar import SliceNet, predict_planes, turn
from mrsynth.volume.predict import Inference, predict_volume

FIFTEEN = PredictSettings(planes=("z", "y", "x"), rotations_deg=(0, 18, 36, 54, 72))
THREE = PredictSettings(planes=("z", "y", "x"))


def slice_net(net: object, **settings: float) -> SliceNet:
    return SliceNet(Engine(net, torch.device("cpu"), torch.float32, 2**30), **settings)  # type: ignore[arg-type]


def middle(x: torch.Tensor) -> torch.Tensor:
    return x[:, x.shape[1] // 2][:, None]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def ball(edge: int = 40, radius: float = 14) -> np.ndarray:
    """A smooth image inside a ball, 0 outside."""
    x, y, z = np.meshgrid(*[np.arange(edge) - (edge - 1) / 2] * 3, indexing="ij")
    image = 1 + 0.3 * np.sin(x / 5) + 0.2 * np.cos((y + z) / 6)
    return np.where(x**2 + y**2 + z**2 <= radius**2, image, 0).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    planes=st.permutations("xyz").flatmap(lambda p: st.integers(1, 3).map(lambda n: tuple(p[:n]))),
    neighbours=st.integers(0, 3),
    stride=st.sampled_from([1, 4, 8]),
)
def test_upright_the_identity_returns_its_input(
    shape: tuple[int, ...], planes: tuple[str, ...], neighbours: int, stride: int
):
    """Of each of two inputs the network sees 2n + 1 slices; it returns the middle one of the first."""
    inputs = [noise(*shape), noise(*shape, seed=1)]

    def first(x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 2 * (2 * neighbours + 1)
        assert not x.shape[2] % stride
        assert not x.shape[3] % stride
        return x[:, neighbours : neighbours + 1]

    net = slice_net(first, neighbours=neighbours, stride=stride)
    out = predict_planes(net, inputs, PredictSettings(planes=planes))  # type: ignore[arg-type]
    np.testing.assert_allclose(out, inputs[0], rtol=3e-7)


@pytest.mark.parametrize("background", [0.0, -5.0])
def test_turned_the_identity_returns_its_input_within_the_interpolation(background: float):
    image = ball() + np.float32(background)
    brain = ball() > 0
    out = predict_planes(slice_net(middle, background=background), [image], FIFTEEN)
    np.testing.assert_allclose(out[~ndimage.binary_dilation(brain, iterations=3)], background, atol=1e-6)
    assert np.abs(out - image)[brain].max() < 0.05
    inner = ndimage.binary_erosion(brain, iterations=3)
    assert np.abs(out - image)[inner].max() < 0.003


def test_turning_does_not_darken_the_edge_of_the_brain():
    """A constant brain, and a network that returns it: constant to the last voxel, whatever it says of the rest."""
    brain = (ball() > 0).astype(np.float32)
    for outside in (0.0, 7.0):

        def net(x: torch.Tensor, outside: float = outside) -> torch.Tensor:
            return torch.where(x > 0, x, outside)

        how = PredictSettings(planes=("z",), rotations_deg=(0, 18, 45))
        out = predict_planes(slice_net(net), [brain], how)
        np.testing.assert_allclose(out[brain > 0], 1, atol=1e-5)


def test_every_voxel_is_predicted_also_in_the_corners_and_of_flat_volumes():
    for shape in ((9, 17, 3), (1, 1, 1), (16, 16, 16)):
        ones = np.ones(shape, np.float32)
        np.testing.assert_allclose(predict_planes(slice_net(middle, stride=8), [ones], FIFTEEN), 1, atol=1e-5)


def test_turning_goes_there_and_back_as_scipy_turns():
    image = ndimage.gaussian_filter(noise(40, 30, 2), (3, 3, 0))
    turned = turn(image, 30, (60, 60))
    back = turn(turned, -30, (40, 30))
    assert np.abs(back - image)[4:-4, 4:-4].max() < 0.002
    expected = ndimage.rotate(np.pad(image, ((10, 10), (15, 15), (0, 0))), 30, reshape=False, order=3)
    np.testing.assert_allclose(turned[22:38, 24:36], expected[22:38, 24:36], atol=2e-3)
    np.testing.assert_allclose(turn(image, 0, (40, 30)), image, atol=1e-5)
    np.testing.assert_allclose(turn(image, 90, (30, 40)), np.rot90(image), atol=1e-5)


def test_a_network_that_is_symmetric_gives_the_axial_prediction_in_every_plane():
    """A pointwise network does not know along which axis it looks."""
    image = ball(24, 9)
    net = slice_net(lambda x: middle(x) ** 2)
    axial = predict_planes(net, [image], PredictSettings())
    np.testing.assert_allclose(predict_planes(net, [image], THREE), axial, rtol=1e-6)


def test_the_mean_over_planes_does_not_depend_on_the_axes_of_the_volume():
    """Turn the head by a quarter, predict, turn back: the same, but for the order of sums."""
    net = build_net("unet25d", inputs=3, width=2, poolings=1).eval()
    image, how = ball(20, 8), Inference(neighbours=1, planes=THREE)

    def symmetric(x: torch.Tensor) -> torch.Tensor:
        return net(x) + net(x.flip(1)) + net(x.mT).mT + net(x.flip(1).mT).mT

    plain = predict_volume(symmetric, [image], how)
    for axes in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        other = predict_volume(symmetric, [image.transpose(axes)], how)
        np.testing.assert_allclose(other.transpose(axes), plain, atol=1e-5)


def test_steps_between_slices_become_smaller():
    """A network that is off by another amount in each slice: li2022's slice jumps, and the remedy."""
    image = ball()
    brain = image > 0
    random = torch.Generator()

    def jumpy(x: torch.Tensor) -> torch.Tensor:
        random.manual_seed(x.shape[0])
        return middle(x) + 0.1 * torch.randn(len(x), 1, 1, 1, generator=random)

    def jumps(out: np.ndarray) -> float:
        both = brain[..., 1:] & brain[..., :-1]
        return float(np.abs(np.diff(out - image, axis=2))[both].mean())

    once = predict_planes(slice_net(jumpy), [image], PredictSettings())
    three = predict_planes(slice_net(jumpy), [image], THREE)
    assert jumps(three) < 0.6 * jumps(once)


def test_planes_rotations_and_neighbours_work_for_other_2d_networks():
    for name, settings_ in (
        ("unet2d", {"widths": [4, 8], "dropout": [0.1, 0.1]}),
        ("hrfcn", {"mode": "2d", "widths": [4, 4, 4], "blocks": 1}),
    ):
        net = build_net(name, inputs=3, **settings_).eval()
        out = predict_volume(net, [ball(20, 8)], Inference(neighbours=1, planes=THREE))
        assert out.shape == (20, 20, 20)
        assert np.isfinite(out).all()


def test_neighbours_beyond_the_volume_are_its_last_slice_again():
    seen: list[np.ndarray] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        seen.extend(x[:, :, 0, 0].numpy().astype(int))
        return x[:, :1]

    image = np.broadcast_to(np.arange(4, dtype=np.float32), (2, 2, 4))
    predict_planes(slice_net(look, neighbours=2), [image, 10 + image], PredictSettings())
    # One more at first: the engine looks at a slice to learn the shape, and does not run it.
    assert [row.tolist() for row in seen] == [
        [0, 0, 0, 1, 2, 10, 10, 10, 11, 12],
        [0, 0, 1, 2, 3, 10, 10, 11, 12, 13],
        [0, 1, 2, 3, 3, 10, 11, 12, 13, 13],
        [1, 2, 3, 3, 3, 11, 12, 13, 13, 13],
    ]


def test_progress_is_that_of_all_passes():
    told: list[str] = []
    with listening(lambda _, what: told.append(what)):
        predict_planes(slice_net(middle), [ball(20, 8)], FIFTEEN)
    assert told[-1] == "300/300"
    done = [int(what.split("/")[0]) for what in told]
    assert all(a < b for a, b in pairwise(done))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"planes": [], "rotations_deg": [0]}, "at least 1"),
        ({"planes": ["z", "z"], "rotations_deg": [0]}, "twice"),
        ({"planes": ["q"], "rotations_deg": [0]}, "planes"),
        ({"planes": ["z"], "rotations_deg": [18]}, "0 among them"),
        ({"planes": ["z"], "rotations_deg": [0, 400]}, "below 360"),
    ],
)
def test_settings_that_cannot_be(settings_: dict[str, object], message: str):
    with pytest.raises(RecipeError, match=message):
        parse(PredictSettings, settings_, "predict")
