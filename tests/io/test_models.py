"""Models by name: a path first, then the user's own, then the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.core.errors import ModelError
from mrsynth.io import models
from mrsynth.io.models import OWN, find_model, known_models, own_folder
from tiny_run import save_run


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the user's own models and one for the shipped ones, both not there yet."""
    monkeypatch.setenv(OWN, str(tmp_path / "own"))
    monkeypatch.setattr(models, "shipped_folder", lambda: tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_folders_nothing_is_known(shelves: Path) -> None:
    assert known_models() == []
    with pytest.raises(ModelError, match="no model of this name"):
        find_model("any")


def test_a_path_comes_first_then_the_users_own_then_the_shipped_one(shelves: Path) -> None:
    shipped = save_run(shelves / "shipped" / "any", ["t1"], "t2", 1)
    save_run(shelves / "shipped" / "other", ["t1"], "t2", 1)
    assert find_model("any") == shipped
    own = save_run(shelves / "own" / "any", ["t1"], "t2", 2)
    assert find_model("any") == own
    assert [(one.name, one.shipped) for one in known_models()] == [("any", False), ("other", True)]
    save_run(shelves / "any", ["t1"], "t2", 3)
    assert find_model("any") == Path("any")
    with pytest.raises(ModelError, match="one of any, other"):
        find_model("anny")


def test_the_folder_of_a_model_alone_is_known_and_what_holds_none_is_not(shelves: Path) -> None:
    save_run(shelves / "run", ["t1"], "t2", 1)
    (shelves / "own").mkdir()
    (shelves / "run" / "model").rename(shelves / "own" / "alone")
    (shelves / "own" / "empty").mkdir()
    (shelves / "own" / "notes.txt").write_text("x")
    (shelves / "own" / "gone").symlink_to(shelves / "nowhere")
    assert [one.name for one in known_models()] == ["alone"]
    assert known_models()[0].model.weights.is_file()


@pytest.mark.parametrize("name", ["../shipped/any", "/any", "", "any/"])
def test_a_name_leads_nowhere_else(shelves: Path, name: str) -> None:
    save_run(shelves / "own" / "any", ["t1"], "t2", 1)
    if name:
        with pytest.raises(ModelError):
            find_model(name)
    else:
        assert find_model(name) == Path()


def test_the_users_folder_lies_at_home_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(OWN, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder() == tmp_path / ".local" / "share" / "mrsynth" / "models"


def test_what_is_shipped_can_be_read() -> None:
    """Whatever this version ships."""
    from mrsynth.model import load_contract

    for path in models.shipped_folder().iterdir() if models.shipped_folder().is_dir() else ():
        contract = load_contract(path)
        assert contract.licence
        assert not contract.patients_seen()
        assert sum(file.stat().st_size for file in path.iterdir()) <= 12_000_000
