"""The rival of the inputs at hand: least squares, for every subset and target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrsynth.nets.starts import STARTS, Polynomial, StartName
from mrsynth.train.mix import MixFit


@pytest.mark.parametrize(("start", "off"), [("polynomial", 5e-3), ("tables", 3e-2)])
def test_a_function_of_the_inputs_is_found_again(start: StartName, off: float) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand((4000, 3), generator=random, dtype=torch.float64) - 0.5
    x[:, 2] = 0.3 + x[:, 0] - 2 * x[:, 1] * x[:, 0] ** 2
    fit = MixFit(STARTS[start](3))
    fit.update(x, (0, 1, 2))
    terms = fit.start.terms(torch.where(torch.tensor([True, True, False]), x, 0))
    made = terms @ fit.finish()[0b011, 2].double()
    assert float((made - x[:, 2]).abs().max()) < off


def test_tables_find_what_no_polynomial_knows() -> None:
    """A step, and a sum of steps of two contrasts."""
    random = torch.Generator().manual_seed(0)
    x = 4 * torch.rand((6000, 3), generator=random, dtype=torch.float64) - 2
    x[:, 2] = (x[:, 0] > 0.3).double() + (x[:, 1] > x[:, 0]).double()
    off = {}
    for name, start in STARTS.items():
        fit = MixFit(start(3))
        fit.update(x, (0, 1, 2))
        made = fit.start.terms(x) @ fit.finish()[0b011, 2].double()
        off[name] = float((made - x[:, 2]).abs().mean())
    assert off["tables"] < 0.6 * off["polynomial"]


def test_each_subset_has_the_least_squares_of_its_own_terms() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    x[:, 1] += x[:, 0]
    start = Polynomial(3)
    fit = MixFit(start)
    fit.update(torch.from_numpy(x), (0, 1, 2))
    alone = [k for k, needs in enumerate(start.needs) if needs <= {0}]
    found = fit.finish()[0b001, 1]
    expected, *_ = np.linalg.lstsq(start.terms(torch.from_numpy(x)).numpy()[:, alone], x[:, 1], rcond=None)
    assert found[alone].numpy() == pytest.approx(expected, abs=2e-3)
    assert not found[[k for k in range(len(start.needs)) if k not in alone]].any()


@pytest.mark.parametrize("name", STARTS)
def test_a_case_that_lacks_a_contrast_teaches_what_it_has(name: StartName) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand((2000, 3), generator=random)
    x[:, 1], x[:, 2] = 2 * x[:, 0], 0
    fit = MixFit(STARTS[name](3))
    fit.update(x, (0, 1))
    mix = fit.finish()
    made = fit.start.terms(torch.tensor([[0.5, 0, 0]])) @ mix[0b001, 1]
    assert float(made) == pytest.approx(1, abs=0.05)
    assert not mix[0b001, 2].any()
    assert not mix[0b011, 2].any()
