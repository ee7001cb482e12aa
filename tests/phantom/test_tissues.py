"""The tissue table: sources, contrast agent, a person's own factors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.phantom.tissues import (
    FIELDS_TESLA,
    PARAMETERS,
    draw_jitter,
    raw_table,
    relaxivity_l_mmol_s,
    tissue_table,
    with_agent,
    with_jitter,
)


def entries():
    for group in ("tissues", "agents"):
        for name, row in raw_table()[group].items():
            for key, entry in row.items():
                for pair in entry.values() if isinstance(entry, dict) else [entry]:
                    yield f"{name}.{key}", pair


def test_every_number_has_a_source() -> None:
    used = set()
    for where, (value, source) in entries():
        assert isinstance(value, int | float), where
        assert source in raw_table()["sources"] or source.startswith("assumed: "), f"{where}: {source}"
        used.add(source)
    assert set(raw_table()["sources"]) <= used, "a source that no number uses"


def test_every_tissue_has_every_parameter() -> None:
    for name, row in raw_table()["tissues"].items():
        assert set(PARAMETERS) - {"flow"} <= set(row) <= set(PARAMETERS), name


@pytest.mark.parametrize("b0_tesla", FIELDS_TESLA)
def test_times_are_physical(b0_tesla: float) -> None:
    table = tissue_table(b0_tesla)
    assert (table.t2star_s <= table.t2_s).all()
    assert (table.t2_s <= table.t1_s).all()
    assert ((table.pd >= 0) & (table.pd <= 1)).all()
    row = table.index
    assert table.t1_s[row("white")] < table.t1_s[row("grey")] < table.t1_s[row("csf")]
    assert table.t2_s[row("white")] < table.t2_s[row("grey")] < table.t2_s[row("csf")]


def test_relaxivities_are_those_of_rohrer_2005() -> None:
    assert relaxivity_l_mmol_s("gadobutrol", 1.5) == (5.2, 6.1)
    assert relaxivity_l_mmol_s("gadobutrol", 3.0) == (5.0, 7.1)
    assert relaxivity_l_mmol_s("gadoterate", 1.5) == (3.6, 4.3)
    assert relaxivity_l_mmol_s("gadoterate", 3.0) == (3.5, 4.9)


@pytest.mark.parametrize("agent", ["gadobutrol", "gadoterate"])
@pytest.mark.parametrize("b0_tesla", FIELDS_TESLA)
def test_relaxation_rates_are_linear_in_the_dose(agent: str, b0_tesla: float) -> None:
    table = tissue_table(b0_tesla)
    r1, r2 = relaxivity_l_mmol_s(agent, b0_tesla)
    for dose in (0.1, 0.5, 1.0):
        after = with_agent(table, agent, dose)
        np.testing.assert_allclose(1 / after.t1_s - 1 / table.t1_s, r1 * dose * table.c_full_mmol_l, atol=1e-12)
        np.testing.assert_allclose(1 / after.t2_s - 1 / table.t2_s, r2 * dose * table.c_full_mmol_l, atol=1e-10)
    assert with_agent(table, agent, 0.0) is table


def test_the_full_dose_shortens_t1_of_enhancing_tumour_as_measured() -> None:
    """Nöth 2020: T1 falls by 838 ± 210 ms in enhancing tumour, by 32 ± 35 ms in normal-appearing tissue (3 T)."""
    table = tissue_table(3.0)
    fall_s = table.t1_s - with_agent(table, "gadobutrol", 1.0).t1_s
    assert fall_s[table.index("enhancing_tumour")] == pytest.approx(0.838, abs=0.03)
    assert fall_s[table.index("white")] == pytest.approx(0.032, abs=0.035)


def test_wrong_names_and_doses_are_refused() -> None:
    with pytest.raises(InputError, match="gadobutrol"):
        relaxivity_l_mmol_s("gadobutroll", 3.0)
    with pytest.raises(InputError, match="did you mean 'white'"):
        tissue_table(3.0).index("whit")
    with pytest.raises(InputError, match="field strength"):
        tissue_table(7.0)
    with pytest.raises(InputError, match="dose"):
        with_agent(tissue_table(3.0), "gadobutrol", 1.2)


def test_a_persons_factors_are_small_and_keep_the_fluids_alike() -> None:
    table = tissue_table(3.0)
    own = with_jitter(table, draw_jitter(np.random.default_rng(1), 0.03))
    assert np.abs(own.t1_s / table.t1_s - 1).max() < 0.15
    assert own.t1_s[own.index("csf")] == own.t1_s[own.index("ventricles")]
    assert not np.array_equal(own.t1_s, table.t1_s)


def test_between_and_below_the_tables_fields_times_follow_a_power_law() -> None:
    low, high, one, between = (tissue_table(b0) for b0 in (1.5, 3.0, 1.0, math.sqrt(1.5 * 3.0)))
    for name in ("pd", "t1_s", "t2_s", "t2star_s"):
        a, b, c = (getattr(table, name) for table in (low, between, high))
        np.testing.assert_allclose(b, np.sqrt(a * c), rtol=1e-12)
    white, grey, fluid = (one.index(name) for name in ("white", "grey", "csf"))
    assert one.t1_s[white] < low.t1_s[white]
    assert one.t1_s[white] < one.t1_s[grey] < one.t1_s[fluid] == low.t1_s[fluid]
    assert (one.t2star_s <= one.t2_s).all()
    for r_one, r_low in zip(
        relaxivity_l_mmol_s("gadobutrol", 1.0), relaxivity_l_mmol_s("gadobutrol", 1.5), strict=True
    ):
        assert r_one == pytest.approx(r_low, rel=0.1)
    for beyond in (0.2, 3.1):
        with pytest.raises(InputError, match="field strength"):
            tissue_table(beyond)
