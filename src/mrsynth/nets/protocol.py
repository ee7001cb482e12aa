"""What a network says of itself. Whoever checks, trains, predicts with or draws one asks here, never for its class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from mrsynth.nets.initial import Scheme


class Network(nn.Module):
    """A network of the table `NETS`; what a network leaves out here is as below.

    A 3-D network is streamed row by row where each of its operations has a rule in `volume/rules.py`; one that has
    others is run on overlapping boxes.

    Attributes:
        inputs: channels that it takes.
        stride: voxels that an edge of its input must be a multiple of, or up to which it pads; one number, or one an
            axis.
        smallest: voxels that an edge of its input must have at least.
        first_weights: how `build_net` draws its first weights; None where its layers draw their own.
        told: what it is told beside the images, in order (names of the cohort table's columns): `forward` takes it as
            one tensor (b, len(told)).
        judges: of a critic, what it returns: "patches", a logit each, or "scores", one a sample; None of what makes
            images.
        brain_alone: whether it makes nothing where all its images are background, and needs nothing of that: then the
            box around the rest is predicted alone.
        public_weights: the name of the public network whose weights `begin_with` takes; None where it takes none.
    """

    inputs: int
    stride: int | tuple[int, ...] = 1
    smallest: int = 1
    first_weights: Scheme | None = None
    told: tuple[str, ...] = ()
    judges: Literal["patches", "scores"] | None = None
    brain_alone: bool = False
    public_weights: str | None = None

    @property
    def dimensions(self) -> int:
        """3 for volumes (b, c, x, y, z), 2 for slices (b, c, x, y)."""
        return 3 if any(isinstance(module, nn.Conv3d) for module in self.modules()) else 2

    def begin_with(self, weights: Path) -> None:
        """Put the public weights of a file into the part that takes them.

        Args:
            weights: the file.

        Raises:
            ModelError: where they do not fit.
        """
        raise NotImplementedError

    def drawn_layers(self) -> Mapping[str, nn.Module]:
        """Return the layers whose maps a study draws, by name (li2022, Figure 9: "lowest", "last")."""
        return {}

    def image_filters(self) -> Tensor:
        """Return the first layer's filters as they act on an image, (f, u, v), of a network with layers to draw."""
        raise NotImplementedError
