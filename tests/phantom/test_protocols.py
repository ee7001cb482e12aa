"""Drawn scanners: sources, ranges, and the order of tissues that physics asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.seeds import generator
from mrsynth.phantom import signals
from mrsynth.phantom.protocols import draw_site, null_ti_s, ranges, site_of
from mrsynth.phantom.scanner import Protocol, SiteProfile, site_profile, tissue_signals
from mrsynth.phantom.tissues import tissue_table, with_agent


@cache
def drawn() -> tuple[SiteProfile, ...]:
    return tuple(draw_site(generator(seed, "site")) for seed in range(300))


def entries(part: object) -> Iterator[tuple[object, str]]:
    """Yield each range or choice below a part of the file, and its source."""
    if isinstance(part, list) and all(isinstance(value, int | float) for value in part[:2]):
        yield part[:2], part[2]
    elif isinstance(part, dict) and "choice" in part:
        yield part["choice"], part["source"]
    elif isinstance(part, dict | list):
        for value in part.values() if isinstance(part, dict) else part:
            yield from entries(value)


def test_every_range_has_a_source_and_every_choice_shares_that_sum_to_one() -> None:
    known, used = ranges()["sources"], set()
    for name in ("scanner", "coverage", "contrasts"):
        for value, source in entries(ranges()[name]):
            assert source in known or source.startswith("assumed: "), source
            used.add(source)
            assert sum(value.values()) == pytest.approx(1) if isinstance(value, dict) else value[0] <= value[1]
    assert set(known) <= used, "a source that no range uses"
    for contrast in ranges()["contrasts"].values():
        assert sum(kind["share"] for kind in contrast["sequences"]) == pytest.approx(1)


def holds(kind: dict, protocol: Protocol) -> bool:
    """Say whether a protocol lies within the ranges of one kind of sequence."""
    if kind["sequence"] != protocol.sequence:
        return False
    allowed = {**ranges()["coverage"][kind["coverage"]], **kind}
    low_high = {name: entry for name, entry in allowed.items() if isinstance(entry, list) and name != "ti_of_null"}
    return protocol.plane in allowed["plane"]["choice"] and all(
        entry[0] <= getattr(protocol, name) <= entry[1] for name, entry in low_high.items()
    )


def test_what_is_drawn_lies_within_the_ranges() -> None:
    scanner = ranges()["scanner"]
    for site in drawn():
        assert site.b0_tesla in scanner["b0_tesla"]["choice"]
        for name in ("bias", "noise", "tissue_spread", "mask_mm", "rotation_deg", "shift_mm"):
            assert scanner[name][0] <= getattr(site, name) <= scanner[name][1]
        for name, protocol in site.contrasts.items():
            entry = ranges()["contrasts"]["t1" if name == "t1ce" else name]
            assert any(holds(kind, protocol) for kind in entry["sequences"]), (name, protocol)
            assert entry["scale"][0] <= protocol.scale <= entry["scale"][1]


def test_every_kind_of_scanner_and_sequence_occurs_about_as_often_as_its_share() -> None:
    fields = [site.b0_tesla for site in drawn()]
    for field, share in ranges()["scanner"]["b0_tesla"]["choice"].items():
        assert fields.count(field) / len(fields) == pytest.approx(share, abs=0.1)
    sequences = [site.contrasts["t1"].sequence for site in drawn()]
    for kind in ranges()["contrasts"]["t1"]["sequences"]:
        assert sequences.count(kind["sequence"]) / len(sequences) == pytest.approx(kind["share"], abs=0.1)
    own = sum("t1ce" in site.contrasts for site in drawn())
    assert own / len(fields) == pytest.approx(0.25, abs=0.1)
    assert len({site.contrasts["t2"].slice_mm for site in drawn()}) > 0.95 * len(fields)


def test_every_drawn_contrast_orders_the_tissues_as_a_radiologist_expects() -> None:
    for site in drawn():
        table = tissue_table(site.b0_tesla)
        white, grey, fluid, oedema = (table.index(name) for name in ("white", "grey", "csf", "oedema"))
        t1, t2, flair, dwi = (tissue_signals(site.contrasts[name], table) for name in ("t1", "t2", "flair", "dwi"))
        assert t1[white] > t1[grey] > t1[fluid]
        assert t2[white] < t2[grey] < t2[oedema] < t2[fluid]
        assert flair[oedema] > 1.2 * flair[white]
        off = site.contrasts["flair"].ti_s / null_ti_s(table.t1_s[fluid], site.contrasts["flair"].tr_s) - 1
        assert flair[fluid] / flair[white] < (0.65 if abs(off) > 0.03 else 0.25)
        assert dwi[grey] > 2 * dwi[fluid]


def test_the_agent_brightens_a_tumour_on_every_drawn_t1() -> None:
    for site in drawn():
        protocol = site.contrasts.get("t1ce", site.contrasts["t1"])
        table = tissue_table(site.b0_tesla)
        before, after = (tissue_signals(protocol, t) for t in (table, with_agent(table, site.agent, 1.0)))
        ratio = after / np.maximum(before, 1e-9)
        assert ratio[table.index("enhancing_tumour")] > 1.3
        assert ratio[table.index("white")] < 1.1


@given(t1=st.floats(0.5, 5.0), tr=st.floats(0.5, 20.0))
def test_the_inversion_time_of_the_null_leaves_no_signal(t1: float, tr: float) -> None:
    one = np.ones(1)
    at_null = signals.flair(one, t1 * one, one, tr_s=tr, ti_s=null_ti_s(t1, tr), te_s=0.0)
    assert at_null[0] < 1e-9
    assert null_ti_s(t1, 50 * t1) == pytest.approx(math.log(2) * t1)


def test_a_site_comes_back_from_the_draws_and_the_same_seed_draws_the_same_one() -> None:
    for seed, site in enumerate(drawn()[:20]):
        told = json.loads(json.dumps(site.model_dump(mode="json", exclude_none=True)))
        assert site_of({"site": "drawn", "protocol": told}) == site == draw_site(generator(seed, "site"))
    assert len({site.model_dump_json() for site in drawn()}) == len(drawn())
    assert site_of({"site": "site-B"}) == site_profile("site-B")
