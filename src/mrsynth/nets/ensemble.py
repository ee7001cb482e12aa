"""Several networks as one: the mean of what they make. Cross-validation leaves one network a fold."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mrsynth.nets.protocol import Network


class Ensemble(Network):
    """Networks of one kind, each with weights of its own; what one needs all need.

    Args:
        nets: the members, one at least.
    """

    def __init__(self, nets: Sequence[Network]) -> None:
        super().__init__()
        if not nets:
            raise ValueError("an ensemble has one member at least")
        first = nets[0]
        self.nets = nn.ModuleList(nets)
        self.inputs, self.stride, self.smallest, self.told = first.inputs, first.stride, first.smallest, first.told
        self.brain_alone = first.brain_alone

    def forward(self, *given: Tensor) -> Tensor | list[Tensor]:
        """Return the members' mean; of members that return several scales, that of each.

        Args:
            given: what each member takes.
        """
        found = [net(*given) for net in self.nets]
        if isinstance(found[0], Tensor):
            return _mean(found)
        return [_mean(scale) for scale in zip(*found, strict=True)]

    def members(self) -> list[nn.Module]:
        """Return the members."""
        return list(self.nets)


def _mean(values: Sequence[Tensor]) -> Tensor:
    """Return the mean of tensors, one after the other: no more than two are held."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total * (1 / len(values))
