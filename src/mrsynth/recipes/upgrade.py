"""Recipes from before `method`: the five sections that said how a network is trained become one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OLD = {"game": "adversarial", "wgan": "wgan", "condition": "wgan", "missing": "supervised"}
"""Sections of earlier recipes, and the kind of `method` that each is a part of."""


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe in the words of today; one of today as it is.

    Earlier recipes said how a network is trained by the sections `game`, `missing`, `condition` and `wgan`, most of
    them null, and named an encoder's weights by `encoder_weights`. Now `method` has a kind and that kind's settings,
    and the weights are `net.weights`.

    Args:
        data: a recipe as YAML has it, with its variants.
    """
    if "method" in data:
        return dict(data)
    given = [OLD[name] for name in OLD if data.get(name)]
    kind = next((kind for kind in given if kind != "supervised"), "supervised")
    changed = _section(data, kind)
    changed["method"] = {"kind": kind, **changed.get("method", {})}
    variants = data.get("variants")
    if isinstance(variants, Mapping):
        changed["variants"] = {
            name: _section(variant, kind) if isinstance(variant, Mapping) else variant
            for name, variant in variants.items()
        }
    return changed


def _section(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return a recipe, or a variant of one that trains by `kind`, with its old sections in `method` and `net`."""
    changed = {name: value for name, value in data.items() if name not in OLD and name != "encoder_weights"}
    method: dict[str, Any] = {}
    for name, of in OLD.items():
        if name not in data:
            continue
        if not isinstance(data[name], Mapping | None):  # refused where the recipe is read
            changed[name] = data[name]
        elif data[name] is None:
            if kind == of != "supervised":
                method = {"kind": "supervised"}
            elif name == "missing" and kind == of:
                method["missing"] = None
        else:
            method |= {"kind": of} if of != kind else {}
            method |= {name: data[name]} if name in ("missing", "condition") else data[name]
    if method:
        changed["method"] = method
    net = changed.get("net", {})
    if "encoder_weights" in data and isinstance(net, Mapping):
        changed["net"] = {**net, "weights": data["encoder_weights"]}
    return changed
