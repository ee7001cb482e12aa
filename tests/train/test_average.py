"""The moving average of the weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mrsynth.train.average import WeightAverage


def module(every: int = 1) -> Any:
    return SimpleNamespace(net=nn.BatchNorm1d(2), steps_at=lambda index: (index + 1) % every == 0)


def after(average: WeightAverage, trained: Any, values: list[float], every: int = 1) -> None:
    for index, value in enumerate(values):
        trained.net.weight.data.fill_(value)
        trained.net.num_batches_tracked.fill_(index)
        average.on_train_batch_end(None, trained, None, None, index)  # type: ignore[arg-type]


def test_it_is_the_exponential_average() -> None:
    average, trained = WeightAverage(0.5), module()
    trained.net.weight.data.fill_(1.0)
    average.on_train_start(None, trained)  # type: ignore[arg-type]
    after(average, trained, [2.0, 3.0])
    first = (2 / 11) * 1 + (9 / 11) * 2  # (1 + n)/(10 + n) while that is less than the decay
    assert average.average is not None
    assert average.average["weight"].tolist() == pytest.approx([(3 / 12) * first + (9 / 12) * 3] * 2)
    assert average.average["num_batches_tracked"] == 1


def test_a_constant_is_its_own_average_and_batches_without_a_step_do_not_count() -> None:
    average, trained = WeightAverage(0.9), module(every=3)
    trained.net.weight.data.fill_(4.0)
    average.on_train_start(None, trained)  # type: ignore[arg-type]
    after(average, trained, [4.0] * 7)
    assert average.steps == 2
    assert average.average is not None
    assert average.average["weight"].tolist() == [4.0, 4.0]


def test_it_is_lent_for_validation_and_given_back() -> None:
    average, trained = WeightAverage(0.9), module()
    average.on_train_start(None, trained)  # type: ignore[arg-type]
    after(average, trained, [5.0])
    average.on_validation_start(None, trained)  # type: ignore[arg-type]
    assert trained.net.weight[0] != 5
    average.on_validation_end(None, trained)  # type: ignore[arg-type]
    assert trained.net.weight.tolist() == [5.0, 5.0]


def test_a_checkpoint_keeps_it() -> None:
    average, trained = WeightAverage(0.9), module()
    average.on_train_start(None, trained)  # type: ignore[arg-type]
    after(average, trained, [5.0, 1.0])
    again, other = WeightAverage(0.9), module()
    again.load_state_dict(average.state_dict())
    again.on_train_start(None, other)  # type: ignore[arg-type]
    for one in (average, again):
        after(one, trained, [7.0])
    assert average.average is not None
    assert again.average is not None
    assert torch.equal(average.average["weight"], again.average["weight"])
