from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dicom_factory as factory
from mrsynth.core.errors import InputError
from mrsynth.io.dicom.scan import scan_dicom
from mrsynth.io.dicom.series import digest_dicom, read_dicom
from mrsynth.io.locator import split_locator


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the bytes of one good file a syntax, and of an enhanced one."""
    folder = tmp_path_factory.mktemp("good")
    values = factory.stored((16, 12, 1))
    files = {name: factory.series(folder / name, values, syntax=name)[0] for name in factory.SYNTAXES}
    each = lambda k: {"b": [0, 1000][k % 2], "place": k // 2}  # noqa: E731
    files["enhanced"] = factory.enhanced(folder / "enhanced", factory.stored((16, 12, 4)), each=each)
    return {name: path.read_bytes() for name, path in files.items()}


@given(data=st.data())
def test_damaged_files_get_a_sentence(tmp_path: Path, good: dict[str, bytes], data: st.DataObject) -> None:
    content = bytearray(good[data.draw(st.sampled_from(sorted(good)))])
    place = st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(place) % max(len(content), 1)
        match data.draw(st.sampled_from(["change", "cut", "insert", "remove"])):
            case "change":
                content[at : at + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=8))
            case "remove":
                del content[at : at + data.draw(st.integers(1, 8))]
    (tmp_path / "x.dcm").write_bytes(content)
    volumes, ignored = scan_dicom(tmp_path)
    assert volumes or ignored
    for volume in volumes:
        where = split_locator(volume.locator)
        digest_dicom(*where)
        with suppress(InputError):
            read_dicom(*where, "t1")
