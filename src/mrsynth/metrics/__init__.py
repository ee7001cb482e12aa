"""Metrics with their region, range, dimension and aggregation; baselines; statistics over patients."""

from __future__ import annotations

from mrsynth.metrics.baselines import LinearIdentity, TrainingMean
from mrsynth.metrics.metrics import HIGHER_IS_BETTER
from mrsynth.metrics.pair import PairInfo
from mrsynth.metrics.presets import PRESETS, evaluate_pair
from mrsynth.metrics.record import (
    COLUMNS,
    MetricRecord,
    is_metrics_table,
    read_records,
    records_frame,
    write_records,
)
from mrsynth.metrics.regions import build_regions
from mrsynth.metrics.stats import best_rivals, independent_t, paired_tests, summarise

__all__ = [
    "COLUMNS",
    "HIGHER_IS_BETTER",
    "PRESETS",
    "LinearIdentity",
    "MetricRecord",
    "PairInfo",
    "TrainingMean",
    "best_rivals",
    "build_regions",
    "evaluate_pair",
    "independent_t",
    "is_metrics_table",
    "paired_tests",
    "read_records",
    "records_frame",
    "summarise",
    "write_records",
]
