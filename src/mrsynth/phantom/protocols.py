"""A scanner and protocol of a patient's own, drawn from the ranges of assets/drawn.yaml (domain randomisation).

What is drawn is a `SiteProfile` like those of assets/sites.yaml. It stands whole in the draws of its patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import yaml

from mrsynth.core.settings import parse
from mrsynth.phantom.scanner import Protocol, SiteProfile, site_profile
from mrsynth.phantom.tissues import tissue_table

DRAWN = "drawn"
"""The site of a patient whose scanner was drawn."""

Sites = Literal["usual", "drawn"]
"""Where the patients of a cohort are scanned: at the sites of the profile, or each on a drawn scanner."""


@cache
def ranges() -> Mapping[str, Any]:
    """Return the file of ranges as read: `sources` (key → citation), `scanner`, `coverage` and `contrasts`."""
    text = (files("mrsynth.phantom") / "assets" / "drawn.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def site_of(draws: Mapping[str, Any]) -> SiteProfile:
    """Return the site of a subject's draws: the one that was drawn for it, or that of its name."""
    if "protocol" in draws:
        return parse(SiteProfile, draws["protocol"], "drawn site")
    return site_profile(draws["site"])


def draw_site(rng: np.random.Generator) -> SiteProfile:
    """Draw a scanner and its sequences.

    The T1-weighted image after the agent is made with the sequence of the one before, but for some scanners that have a
    `t1ce` of their own. A FLAIR's inversion time is drawn around that which nulls the fluid at its TR.
    """
    scanner = {name: _draw(rng, entry) for name, entry in ranges()["scanner"].items()}
    own_t1ce = scanner.pop("own_t1ce")
    t1_fluid_s = _fluid_t1_s(scanner["b0_tesla"])
    drawn = {name: _draw_protocol(rng, name, t1_fluid_s) for name in ranges()["contrasts"]}
    other = _draw_protocol(rng, "t1", t1_fluid_s)
    return SiteProfile(**scanner, contrasts={**drawn, "t1ce": other} if own_t1ce else drawn)


def null_ti_s(t1_s: float, tr_s: float) -> float:
    """Return the inversion time at which a tissue gives no signal; ln 2 · T1 for a long TR.

    Args:
        t1_s: of the tissue.
        tr_s: inversion to inversion.
    """
    return t1_s * math.log(2.0 / (1.0 + math.exp(-tr_s / t1_s)))


def _fluid_t1_s(b0_tesla: float) -> float:
    table = tissue_table(b0_tesla)
    return float(table.t1_s[table.index("csf")])


def _draw_protocol(rng: np.random.Generator, contrast: str, t1_fluid_s: float) -> Protocol:
    entry = ranges()["contrasts"][contrast]
    low, high, _ = entry["scale"]
    kinds = entry["sequences"]
    kind = kinds[rng.choice(len(kinds), p=[kind["share"] for kind in kinds])]
    times = {name: _draw(rng, kind[name]) for name in kind if name not in ("share", "sequence", "coverage")}
    if "ti_of_null" in times:
        times["ti_s"] = round(times.pop("ti_of_null") * null_ti_s(t1_fluid_s, times["tr_s"]), 4)
    if "pulses" in times:
        times["pulses"] = round(times["pulses"])
    covered = {name: _draw(rng, value) for name, value in ranges()["coverage"][kind["coverage"]].items()}
    scale = round(math.exp(rng.uniform(math.log(low), math.log(high))), 1)
    return Protocol(sequence=kind["sequence"], scale=scale, **times, **covered)


def _draw(rng: np.random.Generator, entry: Any) -> Any:
    """Draw from a choice {value: share}, or evenly from a range [lowest, highest, source]."""
    if isinstance(entry, dict):
        values, shares = zip(*entry["choice"].items(), strict=True)
        return values[rng.choice(len(values), p=shares)]
    return round(float(rng.uniform(entry[0], entry[1])), 5)
