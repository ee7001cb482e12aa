from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.drawing.labels import arrow, decimals, duration, in_order, interval, metric_name, number, p_value


@pytest.mark.parametrize(
    ("value", "text"), [(29.453, "29.45"), (0.9142, "0.914"), (0.00321, "0.00321"), (-0.5, "−0.500"), (1234.5, "1234")]
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert number(value, decimals(value)) == text


@given(st.floats(min_value=1e-4, max_value=1e5))
def test_no_number_loses_more_than_half_a_percent(value: float) -> None:
    assert float(number(value, decimals(value))) == pytest.approx(value, rel=5.1e-3)


def test_what_is_no_number_is_said() -> None:
    assert number(math.nan, 2) == "–"
    assert number(math.inf, 2) == "∞"
    assert interval(math.nan, 1.0, 2) == ""
    assert interval(-1.0, 1.0, 1, sign=True) == "[−1.0, +1.0]"
    assert p_value(math.nan) == "–"
    assert p_value(0.00099) == "< 0.001"
    assert arrow(None) == ""


def test_a_measure_is_not_called_its_error() -> None:
    for name, words in (("cnr", "CNR"), ("enhancement_percent", "enhancement")):
        found = [metric_name(name + end) for end in ("", "_truth", "_error")]
        assert len(set(found)) == 3
        assert all(one.startswith(words) for one in found)
        assert ["error" in one for one in found] == [False, False, True]
    assert metric_name("lesion_to_brain_ratio") == "lesion-to-brain ratio"


def test_order_and_duration() -> None:
    assert in_order(["x", "mse", "ssim", "x"], ("ssim", "psnr", "mse")) == ["ssim", "mse", "x"]
    assert [duration(s) for s in (42, 600, 7500)] == ["42 s", "10 min", "2 h 05 min"]
