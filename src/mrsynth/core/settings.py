"""The base of all settings: frozen, unknown keys refused with the nearest valid name; and what recipe and run share."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mrsynth.core.errors import RecipeError
from mrsynth.core.text import shortened


class Settings(BaseModel):
    """Base of every settings section."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Plane = Literal["x", "y", "z"]
"""The axis that slices are counted along: z axial (x, y), y coronal (x, z), x sagittal (y, z)."""


class PredictSettings(Settings):
    """How a 2-D network goes over a volume: along each axis, at each rotation of the slices, and the mean of all.

    Attributes:
        planes: the axes along which slices are counted.
        rotations_deg: in the plane of the slices, 0 among them, so that every voxel is predicted in every plane.
    """

    planes: tuple[Plane, ...] = Field(default=("z",), min_length=1)
    rotations_deg: tuple[float, ...] = (0.0,)

    @field_validator("planes", "rotations_deg")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("one of them stands there twice")
        return values

    @field_validator("rotations_deg")
    @classmethod
    def _upright_too(cls, angles: tuple[float, ...]) -> tuple[float, ...]:
        if 0 not in angles or not all(abs(angle) < 360 for angle in angles):
            raise ValueError("expected angles below 360 degrees, 0 among them")
        return angles

    @property
    def is_axial(self) -> bool:
        """Say whether each axial slice is predicted once, as it lies."""
        return self.planes == ("z",) and self.rotations_deg == (0.0,)


S = TypeVar("S", bound=BaseModel)


def nearest(word: str, valid: list[str]) -> str | None:
    """Return a sentence with the valid word that is nearest to a wrong one.

    Args:
        word: what was written.
        valid: what may be written.

    Returns:
        "did you mean …?", None where nothing is near.
    """
    near = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else None


def parse(kind: type[S], data: Mapping[str, Any], where: str) -> S:
    """Validate data as settings of a kind.

    Args:
        kind: the class of the settings.
        data: keys and values, as YAML gives them.
        where: what the data belongs to, for the message ("recipe osman2022", "step resize").

    Raises:
        RecipeError: for the first wrong key, by its dotted name and the nearest valid one.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        # A misspelt key is also a missing one: say which was written, not which was not.
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            valid = _keys_beside(kind, first["loc"])
            hint = nearest(str(first["loc"][-1]), valid)
            raise RecipeError(
                f"{where}: unknown key '{key}'.", expected="one of " + ", ".join(sorted(valid)), do=hint
            ) from None
        found = None if first["type"] == "missing" else shortened(repr(first.get("input")))
        raise RecipeError(f"{where}: '{key}': {first['msg']}.", found=found) from None


def _keys_beside(kind: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the section in which the last part of loc stands."""
    section: Any = kind
    for part in loc[:-1]:
        section = _part_of(section, str(part))
    fields = getattr(section, "model_fields", None)
    return list(fields) if fields else list(kind.model_fields)


def _part_of(section: Any, name: str) -> Any:
    """Return the kind of settings, or of a table of settings, that stands under a name; None where there is none."""
    if get_origin(section) is dict:
        found = get_args(section)[1]
    else:
        fields = getattr(section, "model_fields", {})
        found = fields[name].annotation if name in fields else None
    options = get_args(found) if get_origin(found) in (Union, UnionType) else (found,)  # `X | None`
    return next((o for o in options if hasattr(o, "model_fields") or get_origin(o) is dict), None)
