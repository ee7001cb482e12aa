"""Trained models by name: those that the package ships, and the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mrsynth.core.errors import ModelError
from mrsynth.io.run import Model

OWN = "MRSYNTH_MODELS"
"""The environment variable that names the folder of the user's own models."""


@dataclass(frozen=True)
class Known:
    """A model that is known by name.

    Attributes:
        name: that of its folder.
        folder: a run folder, or that of a model alone.
        shipped: whether it came with the package.
    """

    name: str
    folder: Path
    shipped: bool

    @property
    def model(self) -> Model:
        """Its files."""
        return Model.of(self.folder)


def own_folder() -> Path:
    """Return the folder whose subfolders are the user's own models: $MRSYNTH_MODELS, else one in the home folder."""
    named = os.environ.get(OWN)
    return Path(named).expanduser() if named else Path.home() / ".local" / "share" / "mrsynth" / "models"


def shipped_folder() -> Path:
    """Return the folder of the models that came with the package; it need not exist."""
    return Path(str(resources.files("mrsynth").joinpath("shipped")))


def known_models() -> list[Known]:
    """Return the models that are known by name, the user's own first; of one name, the user's own alone."""
    found: dict[str, Known] = {}
    for folder, shipped in ((own_folder(), False), (shipped_folder(), True)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in found and _holds_model(path):
                found[path.name] = Known(path.name, path, shipped)
    return list(found.values())


def find_model(name: Path | str) -> Path:
    """Return the folder of a model.

    Args:
        name: a run folder or that of a model alone, or the name of a known model; a folder that exists comes first.

    Raises:
        ModelError: where there is neither.
    """
    if (path := Path(name)).exists():
        return path
    known = known_models()
    for one in known:
        if one.name == str(name):
            return one.folder
    names = ", ".join(one.name for one in known)
    raise ModelError(
        f"{name} holds no trained model.",
        found="no such folder, and no model of this name",
        expected=f"a run folder made by mrsynth train, or one of {names or 'your own models by name'}",
        do=f"mrsynth models list shows those that are known by name; yours lie in {own_folder()}",
    )


def _holds_model(folder: Path) -> bool:
    """Say whether a folder holds a model; links that lead nowhere and files do not."""
    try:
        return folder.is_dir() and Model.of(folder).contract.is_file()
    except ModelError:
        return False
