from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.errors import CohortError, OutputError
from mrsynth.core.image import Case, Image
from mrsynth.io import CaseRow, PreparedCohort
from mrsynth.io.chunks import fill_box, open_chunked, write_chunked
from mrsynth.io.prepared_case import save_case

SHAPE = (70, 33, 67)  # more than a chunk along x and z, and multiples of nothing


def volume() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) + 1


def read_box(path: Path, start: tuple[int, int, int], size: tuple[int, ...]) -> np.ndarray:
    array = open_chunked(path)
    box = np.full(size, 7, array.dtype)
    fill_box(box, array, start)
    return box


AROUND = np.pad(volume(), 100)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    cohort = PreparedCohort.create(tmp_path_factory.mktemp("boxes") / "p", recipe="r", steps=[], contrasts=["t1", "t2"])
    images = {"t1": Image(volume(), np.eye(4), "t1"), "t2": Image(-volume(), np.eye(4), "t2")}
    brain = {"brain": Image((volume() % 2).astype(np.uint8), np.eye(4), "brain")}
    cohort.write_case(CaseRow("a", "a", "train", {}), Case(images, brain), [], "f")
    cohort.finish(["a"])
    return PreparedCohort.open(cohort.folder)


@given(
    start=st.tuples(*[st.integers(-40, 80)] * 3),
    size=st.tuples(*[st.integers(1, 40)] * 3),
)
def test_a_box_is_that_part_of_the_zero_padded_volume(
    prepared: PreparedCohort, start: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    box = prepared.read("a", ["t1", "t2"], start, size)
    expected = AROUND[tuple(slice(100 + s, 100 + s + n) for s, n in zip(start, size, strict=True))]
    assert box.dtype == np.float32
    np.testing.assert_array_equal(box, [expected, -expected])


def test_masks_can_be_read_beside_contrasts(prepared: PreparedCohort) -> None:
    box = prepared.read("a", ["t1", "brain"], (1, 2, 3), (4, 5, 6))
    np.testing.assert_array_equal(box[1], box[0] % 2)
    assert prepared.array("a", "brain").dtype == np.uint8
    assert prepared.shape("a") == SHAPE
    with pytest.raises(CohortError, match="no flair in the prepared cohort") as caught:
        prepared.read("a", ["t1", "flair"], (0, 0, 0), (1, 1, 1))
    assert caught.value.found == "brain, t1, t2"


def test_every_bit_of_a_voxel_survives(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    bits = draw.integers(0, 2**32, SHAPE, dtype=np.uint32).view(np.float32)  # NaN, infinities and -0 among them
    write_chunked(tmp_path / "a.b2nd", bits.T)
    back = read_box(tmp_path / "a.b2nd", (0, 0, 0), SHAPE[::-1])
    np.testing.assert_array_equal(back.view(np.uint32), bits.T.view(np.uint32))


def test_the_same_array_gives_the_same_bytes(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    write_chunked(tmp_path / "a.b2nd", data)
    write_chunked(tmp_path / "b.b2nd", np.asfortranarray(data))
    assert (tmp_path / "a.b2nd").read_bytes() == (tmp_path / "b.b2nd").read_bytes()


def test_a_box_reads_little_beside_itself(tmp_path: Path) -> None:
    """Of a large volume only a few pages are touched: what lies elsewhere in the file may even be broken."""
    data = np.random.default_rng(0).random((128, 128, 128), dtype=np.float32)
    path = tmp_path / "a.b2nd"
    write_chunked(path, data)
    bytes_before = _read_bytes()
    for k in (3, 70, 100):
        np.testing.assert_array_equal(read_box(path, (0, 0, k), (128, 128, 1))[..., 0], data[..., k])
    assert _read_bytes() - bytes_before < 3 * 5 * data[..., 0].nbytes < path.stat().st_size / 2


def _read_bytes() -> int:
    """Return the bytes that this process has asked the system for."""
    if not Path("/proc/self/io").exists():
        pytest.skip("the system does not count what a process reads")
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])


def test_no_file_stays_open(prepared: PreparedCohort) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("the system does not list open files")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    arrays = [open_chunked(prepared.folder / "cases" / "a" / "t1.b2nd") for _ in range(50)]
    assert arrays[-1][0, 0, 0] == 1
    arrays.clear()
    prepared.read("a", ["t1", "t2"], (0, 0, 0), (9, 9, 9))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@given(data=st.data())
def test_a_damaged_file_gets_a_sentence_or_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes of the header and the index (the rest is compressed voxels, which hold no check sum)."""
    path = tmp_path_factory.mktemp("damage") / "a.b2nd"
    write_chunked(path, np.random.default_rng(0).integers(0, 9, (8, 9, 10)).astype(np.float32))
    good = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        good = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(good)
    try:
        array = open_chunked(path)
        if np.prod(array.shape) < 1e6:
            fill_box(np.empty(array.shape, array.dtype), array, (0, 0, 0))
    except CohortError as error:
        assert "is damaged" in str(error)  # noqa: PT017


def test_a_file_of_another_kind_is_no_array(tmp_path: Path) -> None:
    import blosc2

    for number, other in enumerate([np.zeros(3, np.float32), np.zeros((2, 2, 2), np.float64)]):
        path = tmp_path / f"{number}.b2nd"
        path.write_bytes(blosc2.asarray(other).to_cframe())
        with pytest.raises(CohortError, match="three axes"):
            open_chunked(path)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="no space left"):
        save_case(tmp_path / "a", Case({"t1": Image(volume(), np.eye(4), "t1")}), [], "f")
    assert list(tmp_path.iterdir()) == []
