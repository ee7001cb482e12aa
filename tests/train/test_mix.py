"""The polynomial of the inputs at hand: least squares, for every subset and target."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrsynth.nets.anycontrast import monomials, polynomial
from mrsynth.train.mix import MixFit


def test_a_polynomial_of_the_inputs_is_found_again() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand((4000, 3), generator=random, dtype=torch.float64) - 0.5
    x[:, 2] = 0.3 + x[:, 0] - 2 * x[:, 1] * x[:, 0] ** 2
    fit = MixFit(3)
    fit.update(x, (0, 1, 2))
    made = polynomial(torch.where(torch.tensor([True, True, False]), x, 0)) @ fit.finish()[0b011, 2].double()
    assert float((made - x[:, 2]).abs().max()) < 5e-3


def test_each_subset_has_the_least_squares_of_its_own_terms() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3))
    x[:, 1] += x[:, 0]
    fit = MixFit(3)
    fit.update(torch.from_numpy(x), (0, 1, 2))
    terms = monomials(3)
    alone = [k for k, term in enumerate(terms) if set(term) <= {0}]
    found = fit.finish()[0b001, 1]
    expected, *_ = np.linalg.lstsq(polynomial(torch.from_numpy(x)).numpy()[:, alone], x[:, 1], rcond=None)
    assert found[alone].numpy() == pytest.approx(expected, abs=2e-3)
    assert not found[[k for k in range(len(terms)) if k not in alone]].any()


def test_a_case_that_lacks_a_contrast_teaches_what_it_has() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand((2000, 3), generator=random)
    x[:, 1], x[:, 2] = 2 * x[:, 0], 0
    fit = MixFit(3)
    fit.update(x, (0, 1))
    mix = fit.finish()
    assert float(mix[0b001, 1, monomials(3).index((0,))]) == pytest.approx(2, abs=0.05)
    assert not mix[0b001, 2].any()
    assert not mix[0b011, 2].any()
