"""Metrics with their region, range, dimension and aggregation; baselines; statistics over patients."""

from __future__ import annotations

from mrsynth.evaluate.baselines import LinearIdentity, TrainingMean
from mrsynth.evaluate.metrics import HIGHER_IS_BETTER
from mrsynth.evaluate.pair import PairInfo
from mrsynth.evaluate.presets import PRESETS, evaluate_pair
from mrsynth.evaluate.record import (
    COLUMNS,
    MetricRecord,
    frame_records,
    is_metrics_table,
    read_records,
    records_frame,
    write_records,
)
from mrsynth.evaluate.regions import build_regions
from mrsynth.evaluate.stats import beats_baseline, independent_t, paired_tests, summarise

__all__ = [
    "COLUMNS",
    "HIGHER_IS_BETTER",
    "PRESETS",
    "LinearIdentity",
    "MetricRecord",
    "PairInfo",
    "TrainingMean",
    "beats_baseline",
    "build_regions",
    "evaluate_pair",
    "frame_records",
    "independent_t",
    "is_metrics_table",
    "paired_tests",
    "read_records",
    "records_frame",
    "summarise",
    "write_records",
]
