"""prepare: scans → what a network sees. Each step is a pure function with a recorded, invertible parameter set."""

from mrsynth.prepare.pipeline import invert_steps, parse_steps, run_steps, split_at_geometry

__all__ = ["invert_steps", "parse_steps", "run_steps", "split_at_geometry"]
