from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

from mrsynth.drawing.plates import MARGIN_MM, Plate, PlateRow, Tile, plate_png, shared_extent

SHAPE = (40, 50)


def row(*tiles: Tile, mm: tuple[float, float] = (2.0, 2.0), side_mm: float | None = None) -> PlateRow:
    region = np.ones(SHAPE, bool)
    return PlateRow("case-1, slice 3", tiles, (0.0, 1.0), region, mm, side_mm)


def drawn(*rows: PlateRow) -> np.ndarray:
    """The plate as an array (rows, columns, RGB)."""
    columns = tuple(f"column {i}" for i in range(len(rows[0].tiles)))
    return np.asarray(imread(BytesIO(plate_png(Plate(columns, rows, "a note")))))[..., :3]


def bright(picture: np.ndarray) -> np.ndarray:
    """Rows and columns of the picture, as shares of its size, where pixels are white (words are grey)."""
    return np.argwhere(picture.min(axis=-1) > 0.97) / np.array(picture.shape[:2])


def test_patients_right_is_on_the_left_and_the_front_is_up() -> None:
    data = np.zeros(SHAPE, np.float32)
    data[30:38, 38:48] = 1.0
    place = bright(drawn(row(Tile("image", data)))).mean(axis=0)
    assert place[0] < 0.45  # x and y grow to the right hand and to the front
    assert place[1] < 0.45


def test_a_square_in_millimetres_is_a_square_on_the_plate() -> None:
    data = np.zeros(SHAPE, np.float32)
    data[10:20, 20:25] = 1.0  # 20 mm × 20 mm in voxels of 2 mm × 4 mm
    pixels = np.argwhere(drawn(row(Tile("mask", data), mm=(2.0, 4.0))).min(axis=-1) > 0.97)  # words are grey
    height, width = np.ptp(pixels, axis=0)
    assert height == pytest.approx(width, rel=0.03)


def test_synthetic_and_real_differ_by_a_word_alone() -> None:
    data = np.full(SHAPE, 0.5, np.float32)
    real, synthetic = (drawn(row(Tile("image", data, synthetic=flag))) for flag in (False, True))
    changed = np.argwhere(np.abs(real - synthetic).max(axis=-1) > 0.1) / np.array(real.shape[:2])
    assert len(changed) > 50
    assert changed[:, 0].min() > 0.6  # at the foot
    assert changed[:, 1].max() < 0.75  # on the left


def test_a_missing_picture_leaves_its_reason() -> None:
    data = np.full(SHAPE, 0.5, np.float32)
    words, silent = (drawn(row(Tile("image", data), Tile("image", None, words=w))) for w in ("not run", ""))
    assert words.shape == silent.shape
    assert not np.array_equal(words, silent)


def test_errors_share_one_colour_scale_over_the_plate() -> None:
    small, large = (np.full(SHAPE, v, np.float32) for v in (0.01, 0.1))
    picture = drawn(row(Tile("error", small)), row(Tile("error", large)))
    half = picture.shape[0] // 2
    assert picture[half // 2, picture.shape[1] // 2].sum() < 0.6 < picture[-half // 2, picture.shape[1] // 2].sum()


def test_the_lesion_is_outlined_on_a_mask() -> None:
    mask = np.zeros(SHAPE, np.float32)
    lesion = np.zeros(SHAPE, bool)
    lesion[10:20, 10:20] = True
    plain, outlined = (drawn(row(Tile("mask", mask, lesion=given))) for given in (None, lesion))
    green = outlined[..., 1] - outlined[..., 0]
    assert (green > 0.3).sum() > 100
    assert ((plain[..., 1] - plain[..., 0]) > 0.3).sum() == 0


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=4))
def test_the_shared_extent_holds_every_region(sizes: list[tuple[int, int]]) -> None:
    rows = []
    for width, height in sizes:
        region = np.zeros(SHAPE, bool)
        region[:width, -height:] = True
        rows.append(PlateRow("", (), (0, 1), region, (2.0, 3.0)))
    expected = (max(w for w, _ in sizes) * 2 + 2 * MARGIN_MM, max(h for _, h in sizes) * 3 + 2 * MARGIN_MM)
    assert shared_extent(rows) == pytest.approx(expected)


def test_an_empty_region_shows_something() -> None:
    nothing = PlateRow("", (Tile("image", np.zeros(SHAPE, np.float32)),), (0, 1), np.zeros(SHAPE, bool), (1, 1))
    assert drawn(nothing).size
    assert shared_extent([nothing]) == (1.0, 1.0)


def test_the_same_plate_gives_the_same_bytes() -> None:
    plate = Plate(("a $b", "c"), (row(Tile("image", np.eye(*SHAPE)), Tile("error", np.eye(*SHAPE))),), "1 < 2 & $3")
    assert plate_png(plate) == plate_png(plate)
