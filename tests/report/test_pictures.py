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
from mrsynth.drawing.panels import Panel, crop_box, difference_limit, side_labels, tile_webp
from mrsynth.io.columns import read_history
from mrsynth.io.evaluation import PanelsRecord
from mrsynth.report import learning_curves, overview_png, panel_png

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


def seen(one: Panel, kind: str, limit: float) -> np.ndarray:
    """The picture as a browser shows it: (row, column, channel), from 0 to 1."""
    return imread(BytesIO(tile_webp(one, kind, limit)), format="webp") / 255


@pytest.mark.parametrize(("pixel_mm", "ratio"), [(None, 1.0), ([2.0, 1.0], 2.0), ([0.5, 1.0], 0.5)])
def test_a_picture_has_the_proportions_of_the_head(pixel_mm: list[float] | None, ratio: float) -> None:
    one = panel((40, 40))
    meta = {**META, **({"pixel_mm": pixel_mm} if pixel_mm else {})}
    picture = seen(Panel("a", one.arrays, meta), "truth", 1.0)
    plain = seen(one, "truth", 1.0)
    assert picture.shape[1] / picture.shape[0] == pytest.approx(ratio * plain.shape[1] / plain.shape[0], rel=0.02)
    bright = [(one[..., 0] > 0.25).mean() for one in (picture, plain)]
    assert bright[0] == pytest.approx(bright[1], rel=0.03)  # the picture fills its frame


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
    picture = seen(Panel("a", arrays, META), "truth", 1.0)
    top_left, bottom_right = picture[:90, :90, 0].mean(), picture[-90:, -90:, 0].mean()
    assert top_left > 0.8
    assert bottom_right < 0.1


def test_synthetic_says_so_in_its_pixels() -> None:
    one = panel(change=0.0)
    assert tile_webp(one, "synthetic", 1.0) != tile_webp(one, "truth", 1.0)


def test_crop_keeps_all_that_is_seen() -> None:
    box = crop_box(panel(), margin=6)
    assert (box.x.start, box.x.stop, box.y.start, box.y.stop) == (4, 36, 4, 46)
    empty = {name: np.zeros((8, 9), np.float32) for name in panel().arrays}
    box = crop_box(Panel("a", empty, META))
    assert (box.x.stop, box.y.stop) == (8, 9)


@pytest.mark.parametrize(("change", "limit"), [(0.099, 0.1), (0.11, 0.15), (-4.0, 5.0), (0.0, 1.0), (0.0076, 0.01)])
def test_difference_limit_is_a_round_number_above_the_differences(change: float, limit: float) -> None:
    assert difference_limit([panel(change=change)]) == pytest.approx(limit)


def test_difference_limit_of_nothing() -> None:
    assert difference_limit([]) == 1.0


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
