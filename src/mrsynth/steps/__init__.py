"""prepare: scans → what a network sees. Each step is a pure function with a recorded, invertible parameter set."""

from mrsynth.core.threads import limit_threads
from mrsynth.steps.pipeline import (
    complete_steps,
    invert_steps,
    learn_steps,
    learns,
    parse_steps,
    run_on_grid_of,
    run_steps,
    split_at_geometry,
)

__all__ = [
    "complete_steps",
    "invert_steps",
    "learn_steps",
    "learns",
    "limit_threads",
    "parse_steps",
    "run_on_grid_of",
    "run_steps",
    "split_at_geometry",
]
