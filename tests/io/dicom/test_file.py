"""A header says the same however it is read: from memory or from the file, converted by pydicom or as it is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import dicom_factory as factory
from mrsynth.io.dicom import file as rooms
from mrsynth.io.dicom.file import Damaged, Header, number, numbers, quiet, read_header, text
from mrsynth.io.dicom.frames import frames_of

KEYWORDS = {
    "SeriesDescription": "LO",
    "ImageType": "CS",
    "StudyDate": "DA",
    "SeriesInstanceUID": "UI",
    "ImageComments": "LT",
    "EchoTime": "DS",
    "SeriesNumber": "IS",
    "Rows": "US",
}

STORED = st.one_of(
    st.binary(max_size=24),
    st.text("0123456789+-.eE\\ \0", max_size=24).map(str.encode),
    st.text("aZ_ \\\0\x1b(B~^=", max_size=24).map(str.encode),
    st.lists(st.floats(-1e6, 1e6).map("{:.9g}".format), max_size=4).map(lambda said: "\\".join(said).encode()),
)


def stored(keyword: str, value: bytes, explicit: bool, little: bool, charset: str) -> Dataset:
    """Return a data set with an element as it is read from a file."""
    tag, kind = Tag(keyword), KEYWORDS[keyword] if explicit else None
    found = Dataset()
    found[tag] = RawDataElement(tag, kind, len(value), value, 0, not explicit, little)
    found.set_original_encoding(not explicit, little, charset)
    return found


@given(
    st.sampled_from(sorted(KEYWORDS)), STORED, st.booleans(), st.booleans(), st.sampled_from(["iso8859", "shift_jis"])
)
@example("SeriesDescription", b"\x1b$B\x3b\x33\x1b(B", True, True, "iso2022_jp_2")  # escape sequences are ASCII too
@example("EchoTime", b"4.5\\6 ", False, True, "iso8859")
@example("Rows", b"\x01\0", True, False, "iso8859")
def test_a_value_says_the_same_before_and_after_pydicom_converts_it(keyword, value, explicit, little, charset):
    raw = stored(keyword, value, explicit, little, charset)
    converted = stored(keyword, value, explicit, little, charset)
    with quiet():
        try:
            assert isinstance(converted[keyword], DataElement)
        except Exception:  # damaged: neither may say anything but text as it stands
            assert number(raw, keyword) is None
            return
        assert number(raw, keyword) == number(converted, keyword)
        assert numbers(raw, keyword, 2) == numbers(converted, keyword, 2)
        # A number that is longer than the standard allows is rounded by pydicom.
        if KEYWORDS[keyword] != "DS" or max(map(len, value.split(b"\\"))) <= 16:
            assert text(raw, keyword) == text(converted, keyword)


def what(path: Path) -> object:
    """Return everything that a file says up to its pixels, or why it says nothing."""
    try:
        with quiet():
            header: Header = read_header(path)
            return frames_of(path, header), str(header.tags), header.syntax, header.pixels, header.stored_bytes
    except Damaged as error:
        return str(error)


@pytest.mark.parametrize("syntax", [*factory.SYNTAXES, "enhanced", "cut", "cut within", "long"])
def test_a_header_says_the_same_wherever_the_first_bytes_end(syntax, tmp_path, monkeypatch):
    if syntax == "enhanced":
        path = factory.enhanced(tmp_path / "x.dcm", each=lambda k: {"b": [0, 1000][k % 2], "place": k // 2})
    elif syntax == "long":  # longer than what is read at first, in one element and in an open sequence
        item = Dataset()
        item.TextValue = "y" * rooms.SOON
        more = {"ImageComments": "x" * rooms.SOON, "AcquisitionContextSequence": [item]}
        path = factory.series(tmp_path, factory.stored((6, 5, 1)), **more)[0]
    else:
        path = factory.series(tmp_path, syntax="explicit" if "cut" in syntax else syntax)[0]
    if "cut" in syntax:
        path.write_bytes(path.read_bytes()[: 300 if syntax == "cut" else -20])
    size = path.stat().st_size
    said = what(path)
    for soon in {0, 1, 140, 200, *range(0, size, max(1, size // 40)), size - 1, size, size + 1}:
        monkeypatch.setattr(rooms, "SOON", soon)
        assert what(path) == said, soon
