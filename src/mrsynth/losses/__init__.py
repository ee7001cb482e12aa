"""losses: functions (prediction, target, inputs) → scalar tensor; `build_loss(terms)` is the way in."""

from mrsynth.losses.contextual import Contextual
from mrsynth.losses.enhancement import EnhancementMAE
from mrsynth.losses.noise import PatchWasserstein
from mrsynth.losses.registry import build_loss
from mrsynth.losses.structure import SliceSSIM

__all__ = ["Contextual", "EnhancementMAE", "PatchWasserstein", "SliceSSIM", "build_loss"]
