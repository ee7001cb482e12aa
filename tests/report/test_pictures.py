from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mrsynth.core.errors import InputError
from mrsynth.drawing.display import display
from mrsynth.drawing.figures import best_epoch
from mrsynth.drawing.plates import limits_of, shared_extent, tile_webp
from mrsynth.io.columns import read_history
from mrsynth.io.evaluation import PanelsRecord
from mrsynth.report import learning_curves, overview_png, panel_png
from mrsynth.report.panels import Panel, rows_png, side_labels

MakeRun = Callable[..., Path]
META = {"case": "a", "window": [0, 1], "axis": "axial"}


def panel(shape: tuple[int, int] = (40, 50), change: float = 0.1) -> Panel:
    truth = np.zeros(shape, np.float32)
    truth[10:30, 10:40] = 0.5
    arrays = {
        "input": truth,
        "truth": truth,
        "synthetic": truth + change * (truth > 0),
        "mask": truth > 0,
        "ssim": truth,
    }
    return Panel("a", {name: np.asarray(array, np.float32) for name, array in arrays.items()}, META)


KINDS = ("input", "synthetic", "truth", "difference", "ssim")


def tile(one: Panel, kind: str, limit: float = 1.0) -> bytes:
    """One of a panel's pictures."""
    row = one.row()
    return tile_webp(row, row.tiles[KINDS.index(kind)], {"difference": limit, "ssim": 1.0})


def seen(one: Panel, kind: str, limit: float = 1.0) -> np.ndarray:
    """The picture as a browser shows it: (row, column, channel), from 0 to 1."""
    return imread(BytesIO(tile(one, kind, limit)), format="webp") / 255


@pytest.mark.parametrize("pixel_mm", [None, (2.0, 1.0), (0.5, 1.0)])
def test_a_picture_has_the_proportions_of_the_head(pixel_mm: tuple[float, float] | None) -> None:
    one = panel((40, 40))
    one = Panel("a", one.arrays, {**META, **({"pixel_mm": pixel_mm} if pixel_mm else {})})
    picture = seen(one, "truth")
    x_mm, y_mm = pixel_mm or (1.0, 1.0)
    width, height = 20 * x_mm + 12, 30 * y_mm + 12  # what is bright, and 6 mm on each side
    assert shared_extent([one.row()]) == (width, height)
    assert picture.shape[1] / picture.shape[0] == pytest.approx(width / height, rel=0.02)
    assert (picture[..., 0] > 0.25).mean() == pytest.approx((width - 12) * (height - 12) / (width * height), rel=0.05)


def test_display_puts_anterior_up_and_patient_left_on_the_right() -> None:
    ras = np.zeros((4, 6))
    ras[3, 5] = 1  # the patient's right (x grows to the right), anterior
    shown = display(ras)
    assert shown.shape == (6, 4)
    assert shown[0, 0] == 1
    assert side_labels("axial") == ("R", "L")
    assert side_labels("sagittal") == ("A", "P")


def test_tile_shows_the_right_side_on_its_left() -> None:
    one = panel((60, 60))
    arrays = dict(one.arrays) | {"truth": np.zeros((60, 60), np.float32), "mask": np.ones((60, 60), np.float32)}
    arrays["truth"][45:, 45:] = 1
    picture = seen(Panel("a", arrays, META), "truth")
    top_left, bottom_right = picture[40:110, 40:110, 0].mean(), picture[-110:-40, -110:-40, 0].mean()
    assert top_left > 0.8
    assert bottom_right < 0.1


def test_synthetic_says_so_in_its_pixels() -> None:
    one = panel(change=0.0)
    assert tile(one, "synthetic") != tile(one, "truth")


def test_all_that_is_seen_is_shown() -> None:
    region = panel().row().region
    assert np.array_equal(region, panel().arrays["truth"] > 0)
    assert shared_extent([panel().row()]) == (20 + 12, 30 + 12)
    bright = {name: np.ones((8, 9), np.float32) if name == "input" else np.zeros((8, 9), np.float32) for name in KINDS}
    assert Panel("a", {**bright, "mask": bright["truth"]}, META).row().region.all()  # outside of the mask


def test_differences_outside_of_the_mask_are_not_shown() -> None:
    arrays = {**panel().arrays, "truth": np.ones((40, 50), np.float32)}
    change = Panel("a", arrays, META).row().tiles[3].data
    assert change is not None
    assert not change[arrays["mask"] == 0].any()
    assert change[arrays["mask"] > 0].all()


@pytest.mark.parametrize(("change", "limit"), [(0.099, 0.1), (0.11, 0.15), (-4.0, 5.0), (0.0, 1.0), (0.0076, 0.01)])
def test_difference_limit_is_a_round_number_above_the_differences(change: float, limit: float) -> None:
    assert limits_of([panel(change=change).row()])["difference"] == pytest.approx(limit)


def test_difference_limit_of_nothing() -> None:
    assert limits_of([])["difference"] == 1.0


def test_difference_is_dark_at_zero_and_of_two_colours() -> None:
    colours = [seen(panel(change=c), "difference", 0.1) for c in (0.1, 0.0, -0.1)]
    red, blue = ([c[..., i].max() for c in colours] for i in (0, 2))
    assert red[0] > blue[0]
    assert blue[2] > red[2]


def test_learning_curves_are_written_and_stand_unfinished_epochs(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,train_loss,val_loss,lr,seconds\n0,1,2,.1,1\n1,.5,.9,.1,1\n2,.2,,.1,1\n3,0,nan,.1,1\n")
    assert learning_curves(path, tmp_path / "curves.png") == tmp_path / "curves.png"
    assert imread(tmp_path / "curves.png").shape[2] == 4
    assert best_epoch(read_history(path)) == 1


def test_the_best_epoch_is_one_of_the_last_stage(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = ["epoch,stage,train_loss,val_loss", "0,0,1,0.1", "1,1,9,9", "2,1,9,8", "3,1,9,8.5"]
    path.write_text("\n".join(rows) + "\n")
    assert best_epoch(read_history(path)) == 2
    assert learning_curves(path, tmp_path / "curves.png").stat().st_size > 10_000


def test_learning_curves_without_epochs_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,train_loss,val_loss\n")
    with pytest.raises(InputError, match="no epoch"):
        learning_curves(path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_panel_and_overview_pictures(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"$a": 0.9, "b": 0.6, "c": 0.8, "d": 0.7}, dict.fromkeys(("$a", "b", "c", "d"), 0.5), pictures=True)
    one = imread(panel_png(run / "panels" / "0.npz", {"case": "$a", "window": [0, 1]}, tmp_path / "one.png"))
    three = imread(overview_png(run, tmp_path / "three.png"))
    assert one.shape[1] == three.shape[1]
    assert 2 < three.shape[0] / one.shape[0] < 3
    assert imread(overview_png(run, tmp_path / "all.png", cases=99)).shape[0] > three.shape[0]


def test_overview_without_pictures_is_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"a": 0.9}, {"a": 0.5})
    PanelsRecord(panels=[]).write(run / "panels" / "panels.json")
    with pytest.raises(InputError, match="no picture"):
        overview_png(run, tmp_path / "x.png")


def test_the_expected_error_stands_beside_the_difference_where_every_panel_has_one() -> None:
    plain = panel()
    mapped = Panel(plain.case, {**plain.arrays, "error": np.full_like(plain.arrays["truth"], 0.04)}, plain.meta)
    assert [tile.kind for tile in mapped.row().tiles] == ["image", "image", "image", "difference", "error", "ssim"]
    assert limits_of([mapped.row()])["error"] == pytest.approx(0.05)
    both = rows_png([plain, mapped], ["x", "y"])
    assert imread(BytesIO(both)).shape[0] > imread(BytesIO(rows_png([mapped], ["y"]))).shape[0]
