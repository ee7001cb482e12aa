"""The network of anycontrast: where it begins, what it does not look at, what it says of its error."""

from __future__ import annotations

import torch
from torch import Tensor

from mrsynth.nets import build_net
from mrsynth.nets.anycontrast import MIDDLE, STRETCH, AnyContrast, ErrorOf
from mrsynth.nets.starts import Polynomial

SLICES, SIZE = 3, 16


def network(**settings: object) -> AnyContrast:
    net = build_net(
        "anycontrast",
        contrasts=3,
        slices=SLICES,
        widths=(8, 16),
        generator=torch.Generator().manual_seed(0),
        **settings,
    )
    assert isinstance(net, AnyContrast)
    return net


def seen(roles: tuple[int, int, int], seed: int = 0) -> Tensor:
    """One sample of three contrasts, (1, 18, 16, 16), with a border of background."""
    images = 0.05 + 0.9 * torch.rand((3, SLICES, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    images[..., :2, :] = 0
    role = torch.tensor(roles, dtype=torch.float32)[:, None, None, None].expand_as(images)
    return torch.stack([images, role], dim=1).flatten(0, 2)[None]


def learned(net: AnyContrast) -> AnyContrast:
    """Move all weights off where they begin."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=random)
    return net


def test_it_begins_at_its_polynomial() -> None:
    net = network()
    term = Polynomial(3).products.index((0, 1))
    net.mix[0b011, 2, term], net.mix[0b011, 2, 0] = 0.5, 0.25
    x = seen((1, 1, -1))
    middle = x.reshape(3, 2, SLICES, SIZE, SIZE)[:, 0, 1]
    a, b = ((middle[k] - MIDDLE) * STRETCH for k in (0, 1))
    expected = torch.where(middle[0] > 0, (0.25 + 0.5 * a * b) / STRETCH + MIDDLE, 0)
    torch.testing.assert_close(net.eval()(x)[0, 0], expected)


def test_what_it_adds_is_taken_as_far_as_it_is_trusted() -> None:
    net, x = learned(network(mirrored=False)).eval(), seen((1, 1, -1))
    found = []
    for trust in (0.0, 0.5, 1.0):
        net.trust[0b011, 2] = trust
        found.append(net(x))
    torch.testing.assert_close(found[1], (found[0] + found[2]) / 2)
    assert not torch.allclose(found[0], found[2])
    net.trust[0b001, 2] = 0.3
    torch.testing.assert_close(net(x), found[2])


def test_what_is_not_there_is_not_looked_at() -> None:
    """Neither an input whose role is 0 nor the target's own image, whatever stands in their channels."""
    net = learned(network()).eval()
    other = seen((0, 1, -1), seed=5).reshape(3, 2, SLICES, SIZE, SIZE)
    one = seen((0, 1, -1)).reshape(3, 2, SLICES, SIZE, SIZE)
    other[1] = one[1]
    torch.testing.assert_close(*(net(x.reshape(1, -1, SIZE, SIZE)) for x in (one, other)))


def test_the_background_is_zero_and_the_error_positive_in_the_brain() -> None:
    image, error = learned(network()).eval().image_and_error(seen((1, 0, -1)))
    assert not image[..., :2, :].any()
    assert not error[..., :2, :].any()
    assert (error[..., 2:, :] > 0).all()


def test_a_mirrored_head_gives_the_mirrored_image() -> None:
    net, x = learned(network()).eval(), seen((1, 1, -1))
    torch.testing.assert_close(net(x.flip(2)), net(x).flip(2))
    alone = learned(network(mirrored=False)).eval()
    assert not torch.allclose(alone(x.flip(2)), alone(x).flip(2))


def test_each_target_and_each_subset_is_another_task() -> None:
    net = learned(network()).eval()
    found = [net(seen(roles)) for roles in ((1, 1, -1), (1, -1, 1), (1, 0, -1), (-1, 1, 1))]
    assert not any(torch.allclose(a, b) for k, a in enumerate(found) for b in found[k + 1 :])


def test_filling_slices_up_changes_nothing_but_the_normalisation() -> None:
    """Roles are found although slices were filled up with 0 at their far ends (SliceNet)."""
    net = network()
    net.mix[0b001, 2, Polynomial(3).products.index((0,))] = 1
    x = seen((1, 0, -1))
    padded = torch.nn.functional.pad(x, (0, 4, 0, 4))
    torch.testing.assert_close(net.eval()(padded)[..., :SIZE, :SIZE], net(x))


def test_the_error_is_a_network_of_its_own() -> None:
    net, x = learned(network()).eval(), seen((1, 1, -1))
    torch.testing.assert_close(ErrorOf(net)(x), net.image_and_error(x)[1])
