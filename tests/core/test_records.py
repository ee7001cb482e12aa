from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from mrsynth.core.errors import CohortError, MrsynthError
from mrsynth.core.records import Part, Record


class Entry(Part):
    case: str = Field(max_length=20)
    dose: float | None = Field(default=None, ge=0, le=1)


class Listing(Record):
    RECORD: ClassVar[str] = "listing"
    VERSION: ClassVar[int] = 2
    DO: ClassVar[str] = "make it anew"
    ERROR: ClassVar[type[MrsynthError]] = CohortError

    entries: tuple[Entry, ...] = ()

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        return {"entries": [{"case": name} for name in content["names"]]} if version == 1 else None


@given(st.lists(st.builds(Entry, case=st.text(max_size=20), dose=st.none() | st.floats(0, 1))))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]):
    path = tmp_path_factory.mktemp("r") / "listing.json"
    Listing(entries=tuple(entries)).write(path)
    assert Listing.read(path) == Listing(entries=tuple(entries))


def test_an_earlier_version_is_read_in_todays_words(tmp_path: Path):
    (tmp_path / "x.json").write_text('{"mrsynth": {"record": "listing", "version": 1}, "names": ["a", "b"]}')
    assert [entry.case for entry in Listing.read(tmp_path / "x.json").entries] == ["a", "b"]


class Lasting(Listing):
    VERSION: ClassVar[int] = 3
    SAME_SINCE: ClassVar[int] = 2


def test_an_earlier_version_that_says_the_same_is_read_as_it_stands(tmp_path: Path):
    for version, entries in ((1, '"names": ["a"]'), (2, '"entries": [{"case": "a"}]')):
        (tmp_path / "x.json").write_text(f'{{"mrsynth": {{"record": "listing", "version": {version}}}, {entries}}}')
        assert [entry.case for entry in Lasting.read(tmp_path / "x.json").entries] == ["a"]
    (tmp_path / "x.json").write_text('{"entries": []}')
    with pytest.raises(CohortError, match="an earlier version"):
        Lasting.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[1]", "holds no JSON object"),
        ('{"entries": []}', "an earlier version"),
        ('{"mrsynth": 3, "entries": []}', "is not a listing"),
        ('{"mrsynth": {"record": "run", "version": 2}}', "record of another kind"),
        ('{"mrsynth": {"record": "listing", "version": 9}}', "later version"),
        ('{"mrsynth": {"record": "listing", "version": 2}, "more": 1}', "more: Extra inputs"),
        ('{"mrsynth": {"record": "listing", "version": 2}, "entries": [{"case": "a", "dose": NaN}]}', "entries.0.dose"),
        (
            '{"mrsynth": {"record": "listing", "version": 2}, "entries": [{"case": "' + "a" * 99 + '"}]}',
            "20 characters",
        ),
    ],
)
def test_damaged_and_foreign_files_are_refused_in_a_sentence(tmp_path: Path, text: str, told: str):
    (tmp_path / "listing.json").write_text(text)
    with pytest.raises(CohortError) as caught:
        Listing.read(tmp_path / "listing.json")
    assert told in str(caught.value)
    assert "listing.json" in str(caught.value)
    assert "do:" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CohortError, match="is missing"):
        Listing.read(tmp_path / "listing.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "listing.json").write_text(json.dumps({"entries": []}))
    monkeypatch.setattr(Listing, "MAX_BYTES", 3)
    with pytest.raises(CohortError, match="too large"):
        Listing.read(tmp_path / "listing.json")
