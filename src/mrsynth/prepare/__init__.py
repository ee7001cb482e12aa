"""prepare: scans → what a network sees. Each step is a pure function with a recorded, invertible parameter set."""

from mrsynth.prepare.pipeline import (
    complete_steps,
    invert_steps,
    learn_steps,
    learns,
    parse_steps,
    run_steps,
    split_at_geometry,
)

__all__ = ["complete_steps", "invert_steps", "learn_steps", "learns", "parse_steps", "run_steps", "split_at_geometry"]
