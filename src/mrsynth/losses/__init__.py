"""losses: functions (prediction, target) → scalar tensor; `build_loss(name)` is the way in."""

from mrsynth.losses.pixel import build_loss

__all__ = ["build_loss"]
