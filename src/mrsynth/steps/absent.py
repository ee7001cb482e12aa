"""The steps of a recipe for a case that lacks contrasts which they name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mrsynth.steps.pipeline import Steps, parse_steps


def steps_without(
    steps: Steps, missing: Collection[str], forgo: Collection[str] = ()
) -> list[dict[str, dict[str, Any]]]:
    """Return the steps, with all settings, as they run where some contrasts are missing.

    `to` and `of` a missing contrast become null: the first, or the best, of the images that are there. Without an ADC
    none is fitted.

    Args:
        steps: as the recipe writes them.
        missing: contrasts that are not there.
        forgo: missing contrasts whose scale the others do without: an image that was to take it (`like`, radiometric)
            keeps its own. With any other the step itself says what it lacks.
    """
    kept = []
    for name, settings in parse_steps(steps):
        if (name == "adc" and "adc" in missing) or getattr(settings, "reference", None) in forgo:
            continue
        values = settings.model_dump(mode="json")
        for key in ("to", "of"):
            if values.get(key) in missing:
                values[key] = None
        if "like" in values:
            values["like"] = {image: source for image, source in values["like"].items() if source not in forgo}
        kept.append({name: values})
    return kept
