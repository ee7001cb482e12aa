"""nets: networks as the papers have them; `build_net(name, **settings)` is the way in."""

from mrsynth.nets.ensemble import Ensemble
from mrsynth.nets.protocol import Network
from mrsynth.nets.registry import build_net, count_parameters, sketch

__all__ = ["Ensemble", "Network", "build_net", "count_parameters", "sketch"]
