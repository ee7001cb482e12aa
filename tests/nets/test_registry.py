from __future__ import annotations

from typing import Any

import pytest
import torch

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net
from mrsynth.nets.registry import NETS


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"widths": (-4, 8), "dropout": (0.0, 0.0)}, "unet2d"),
        ({"widths": (0, 0), "dropout": (0.0, 0.0)}, "no channel"),
        ({"widths": (200_000, 400_000), "dropout": (0.0, 0.0)}, "too large"),
        ({"widths": (10**30, 4), "dropout": (0.0, 0.0)}, "unet2d"),
        ({"widths": "x"}, "unet2d"),
        ({"width": 4}, "unet2d"),
    ],
)
def test_settings_that_make_no_network_are_refused_before_memory_is_taken(settings: dict[str, Any], told: str):
    with pytest.raises(RecipeError, match=told):
        build_net("unet2d", **settings)


def test_the_look_at_its_size_draws_no_number():
    """First weights are those that they were before networks were measured."""
    torch.manual_seed(3)
    drawn = torch.nn.Conv2d(2, 3, 3).weight.clone()
    torch.manual_seed(3)
    with torch.device("meta"):
        NETS["drunet"](depth=18)
    assert torch.equal(torch.nn.Conv2d(2, 3, 3).weight, drawn)
