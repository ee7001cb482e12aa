"""Tissue parameters at a field strength, their change with contrast agent, and the source of every number.

The numbers live in assets/tissues.yaml, each beside its source; nothing here repeats them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from mrsynth.core.errors import InputError
from mrsynth.core.settings import nearest

PARAMETERS: tuple[str, ...] = ("pd", "t1_s", "t2_s", "t2star_s", "adc_mm2_s", "hu", "c_full_mmol_l", "flow")
"""Columns of the table; `flow` is the fraction of a spin echo's signal that flowing blood leaves (1 for still
tissue).
"""

FIELDS_TESLA: tuple[float, ...] = (1.5, 3.0)
"""Field strengths of the table."""

LOWEST_TESLA = 1.0
"""Down to here, and between the table's fields, times follow the power law through its two values (rooney2007)."""


@dataclass(frozen=True, eq=False)
class TissueTable:
    """Parameters of all tissues at one field. Each array has the shape (tissues,), in the order of `names`.

    Attributes:
        names: of the tissues; background is the first.
        b0_tesla: field strength.
        pd: relative to cerebrospinal fluid.
        t1_s, t2_s, t2star_s: relaxation times without contrast agent.
        adc_mm2_s: apparent diffusion coefficient.
        hu: in a CT.
        c_full_mmol_l: gadolinium concentration after the full dose.
        flow: the fraction of a spin echo's signal that flowing blood leaves (1 for still tissue).
    """

    names: tuple[str, ...]
    b0_tesla: float
    pd: np.ndarray
    t1_s: np.ndarray
    t2_s: np.ndarray
    t2star_s: np.ndarray
    adc_mm2_s: np.ndarray
    hu: np.ndarray
    c_full_mmol_l: np.ndarray
    flow: np.ndarray

    def index(self, name: str) -> int:
        """Return the row of a tissue; raises InputError that names the nearest one."""
        if name not in self.names:
            raise InputError(
                f"'{name}' is not a tissue.", expected=", ".join(self.names), do=nearest(name, list(self.names))
            )
        return self.names.index(name)


@cache
def raw_table() -> Mapping[str, Any]:
    """Return the table file as read: `sources` (key → citation), `agents` and `tissues`, numbers with sources."""
    text = (files("mrsynth.phantom") / "assets" / "tissues.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def tissue_names() -> tuple[str, ...]:
    """Return the names of all tissues in table order; background is the first."""
    return tuple(raw_table()["tissues"])


@cache
def tissue_table(b0_tesla: float) -> TissueTable:
    """Return the table at a field from 1 to 3 T; raises InputError for another one."""
    tissues = raw_table()["tissues"]
    columns = {
        name: np.array([_number(row.get(name, [1.0, ""]), b0_tesla) for row in tissues.values()]) for name in PARAMETERS
    }
    columns["t2star_s"] = np.minimum(columns["t2star_s"], columns["t2_s"])  # below the table's fields they would cross
    return TissueTable(tuple(tissues), b0_tesla, **columns)


def relaxivity_l_mmol_s(agent: str, b0_tesla: float) -> tuple[float, float]:
    """Return (r1, r2) of a contrast agent in l/(mmol·s), plasma at 37 °C.

    Args:
        agent: its name in the table.
        b0_tesla: field strength.

    Raises:
        InputError: for an unknown agent.
    """
    agents = raw_table()["agents"]
    if agent not in agents:
        raise InputError(
            f"'{agent}' is not a contrast agent.", expected=", ".join(agents), do=nearest(agent, [*agents])
        )
    row = agents[agent]
    return _number(row["r1_l_mmol_s"], b0_tesla), _number(row["r2_l_mmol_s"], b0_tesla)


def with_agent(table: TissueTable, agent: str, dose: float) -> TissueTable:
    """Return the tissues after a contrast agent: C = dose·C_full, R1 = R10 + r1·C, R2 = R20 + r2·C (and R2*).

    Fast water exchange is assumed, the usual reading of the relaxivity equation.

    Args:
        table: the tissues without agent.
        agent: its name in the table.
        dose: fraction of the full dose; 0 returns the table's own values.

    Raises:
        InputError: for a dose outside 0 to 1.
    """
    if not 0.0 <= dose <= 1.0:
        raise InputError("The dose is no fraction of the full dose.", found=dose, expected="0 to 1 (1 = 0.1 mmol/kg)")
    if dose == 0.0:
        return table
    r1, r2 = relaxivity_l_mmol_s(agent, table.b0_tesla)
    c_mmol_l = dose * table.c_full_mmol_l
    return replace(
        table,
        t1_s=1.0 / (1.0 / table.t1_s + r1 * c_mmol_l),
        t2_s=1.0 / (1.0 / table.t2_s + r2 * c_mmol_l),
        t2star_s=1.0 / (1.0 / table.t2star_s + r2 * c_mmol_l),
    )


def draw_jitter(rng: np.random.Generator, spread: float) -> dict[str, list[float]]:
    """Draw a person's own factors on pd, T1, T2, ADC and uptake, one a tissue, log-normal.

    Args:
        rng: the generator of random numbers.
        spread: standard deviation of the logarithm; pd varies by a third of it.
    """
    widths = {"pd": spread / 3, "t1_s": spread, "t2_s": spread, "adc_mm2_s": spread, "c_full_mmol_l": 4 * spread}
    count = len(tissue_names())
    return {name: np.exp(rng.normal(0.0, width, count)).round(6).tolist() for name, width in widths.items()}


def with_jitter(table: TissueTable, jitter: Mapping[str, list[float]]) -> TissueTable:
    """Return the table with each column multiplied by a person's factors.

    Args:
        table: the tissues.
        jitter: as `draw_jitter` draws it.
    """
    # csf and ventricles are one fluid; T2* follows T2
    factors = {name: np.asarray(values, float).copy() for name, values in jitter.items()}
    for values in factors.values():
        values[table.index("ventricles")] = values[table.index("csf")]
    factors["t2star_s"] = factors["t2_s"]
    return replace(table, **{name: getattr(table, name) * values for name, values in factors.items()})


def _number(entry: Any, b0_tesla: float) -> float:
    """Return an entry's number: [value, source], or one such pair for each field."""
    if not LOWEST_TESLA <= b0_tesla <= FIELDS_TESLA[1]:
        raise InputError(
            "No tissue parameters for this field strength.",
            found=f"{b0_tesla} T",
            expected=f"{LOWEST_TESLA} to {FIELDS_TESLA[1]} T",
        )
    if not isinstance(entry, dict):
        return float(entry[0])
    if b0_tesla in entry:
        return float(entry[b0_tesla][0])
    low, high = (float(entry[field][0]) for field in FIELDS_TESLA)
    return low * (high / low) ** (math.log(b0_tesla / FIELDS_TESLA[0]) / math.log(FIELDS_TESLA[1] / FIELDS_TESLA[0]))
