"""Where anycontrast begins: what is fitted is what the network computes."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch

from mrsynth.nets.starts import HIGHEST, KNOTS, LOWEST, PAIR_KNOTS, STARTS, Polynomial, StartName, Tables


@pytest.mark.parametrize("contrasts", [1, 2, 4])
@pytest.mark.parametrize("name", STARTS)
def test_the_terms_that_are_fitted_are_those_that_are_summed(name: StartName, contrasts: int) -> None:
    start, random = STARTS[name](contrasts), torch.Generator().manual_seed(0)
    numbers = torch.randn((2, len(start.needs)), generator=random)
    values = 2 * torch.randn((2, contrasts, 5, 7), generator=random)
    terms = start.terms(values.permute(0, 2, 3, 1).reshape(-1, contrasts)).reshape(2, 35, -1)
    expected = torch.einsum("bnt,bt->bn", terms, numbers).reshape(2, 1, 5, 7)
    torch.testing.assert_close(start.apply(numbers, values), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", STARTS)
def test_a_term_asks_for_no_contrast_that_it_does_not_need(name: StartName) -> None:
    start, random = STARTS[name](3), torch.Generator().manual_seed(0)
    values = torch.randn((6, 3), generator=random)
    other = values.clone()
    other[:, 1] += 0.7
    moved = (start.terms(values) != start.terms(other)).any(0)
    assert not any(bool(m) and 1 not in needs for m, needs in zip(moved, start.needs, strict=True))


def test_a_table_is_read_between_its_knots() -> None:
    """NumPy's interpolation, within and beyond the knots."""
    start, random = Tables(1), torch.Generator().manual_seed(0)
    table, values = torch.randn(KNOTS, generator=random), torch.linspace(-6, 6, 97)
    place = np.linspace(LOWEST, HIGHEST, KNOTS)
    expected = np.interp(values / (1 + values.abs()), place, table)
    found = start.apply(table[None], values[None, None, None])[0, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_terms_of_tables_add_up_to_one_for_each_table() -> None:
    values = torch.linspace(-9, 9, 50, dtype=torch.float64)[:, None].expand(-1, 2)
    single, pair = Tables(2).terms(values).split([2 * KNOTS, PAIR_KNOTS**2], dim=1)
    torch.testing.assert_close(single.sum(1), torch.full((50,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(pair.sum(1), torch.ones(50, dtype=torch.float64))


@pytest.mark.parametrize("contrasts", [2, 4])
def test_the_polynomial_is_that_of_its_terms(contrasts: int) -> None:
    values = torch.rand((5, contrasts), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = Polynomial(contrasts)
    products = [term for d in range(4) for term in combinations_with_replacement(range(contrasts), d)]
    expected = torch.stack([values[:, list(term)].prod(dim=1) for term in products], dim=1)
    torch.testing.assert_close(start.terms(values), expected)
