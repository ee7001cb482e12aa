"""The slices that a report shows: read from an evaluation's files, and made rows of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.drawing.plates import Plate, PlateRow, Tile, plate_png
from mrsynth.io.arrays import read_arrays
from mrsynth.io.evaluation import EVALUATE

PANEL_ARRAYS = ("input", "synthetic", "truth", "ssim", "mask")

NOTE = (
    "SYNTHETIC: never acquired. Left of the picture is the patient's right. Difference and SSIM inside the brain mask; "
    "outlined: the lesion. Research software, not a medical device."
)


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of one case.

    Attributes:
        case: its name.
        arrays: (x, y) float32 by name (see PANEL_ARRAYS, and `lesion` and `error` where there is one).
        meta: the case's entry in panels.json (window, axis, slice_index, pixel_mm, contrasts, note).
    """

    case: str
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    @property
    def lesion(self) -> np.ndarray | None:
        """Where the lesion is, (x, y); None where there is none."""
        lesion = self.arrays.get("lesion")
        return None if lesion is None or not (lesion > 0).any() else lesion > 0

    def contrast(self, of: str) -> str:
        """Return the contrast of the "input" or the "target" for a heading."""
        return str(self.meta.get(f"{of}_contrast") or "").upper()

    def row(self, caption: str = "", error: bool = True) -> PlateRow:
        """Return its pictures: input, synthetic, truth, difference, the expected error where there is one, and SSIM.

        Args:
            caption: what stands beside them.
            error: whether the expected error is shown.
        """
        inside = self.arrays["mask"] > 0
        change = np.where(inside, self.arrays["synthetic"] - self.arrays["truth"], 0)
        # Outside the mask two backgrounds agree perfectly; shown, that would drown the map in full marks.
        maps = {"difference": change, "ssim": np.where(inside, self.arrays["ssim"], 0)}
        expected = [self.arrays["error"]] if error and "error" in self.arrays else []
        images = [Tile("image", self.arrays[name], name == "synthetic") for name in ("input", "synthetic", "truth")]
        low, high = map(float, self.meta["window"])
        x_mm, y_mm = self.meta.get("pixel_mm") or (1.0, 1.0)
        return PlateRow(
            caption,
            (
                *images,
                Tile("difference", maps["difference"], lesion=self.lesion),
                *(Tile("error", np.where(inside, one, 0), lesion=self.lesion) for one in expected),
                Tile("ssim", maps["ssim"], lesion=self.lesion),
            ),
            (low, high),
            self._shown(low + 0.02 * (high - low)),
            (float(x_mm), float(y_mm)),
            sides=side_labels(self.meta.get("axis", "axial")),
        )

    def _shown(self, edge: float) -> np.ndarray:
        """Return what is no background: the mask, and where input or truth are above the edge."""
        arrays = self.arrays
        return np.asarray((arrays["mask"] > 0) | (arrays["truth"] > edge) | (arrays["input"] > edge))


def side_labels(axis: object) -> tuple[str, str]:
    """Return what lies at a picture's left and right edge.

    Args:
        axis: along which the slice was taken: axial, coronal, sagittal or z, y, x.
    """
    return ("A", "P") if str(axis).lower() in ("sagittal", "x", "0") else ("R", "L")


def caption_of(panel: Panel) -> str:
    """Return the short text beside a row: the case and what it scored."""
    score = panel.meta.get("ssim")
    return panel.case if score is None else f"{panel.case}\nSSIM {float(score):.3f}"


def rows_png(panels: Sequence[Panel], captions: Sequence[str]) -> bytes:
    """Return panels as one picture: a row a panel, a column a kind.

    Args:
        panels: the slices, from top to bottom; the first says what the columns are called.
        captions: what stands beside each row.

    Returns:
        PNG bytes.
    """
    source, target = (panels[0].contrast(of) for of in ("input", "target"))
    error = all("error" in panel.arrays for panel in panels)
    columns = [f"input {source}", f"synthetic {target}", f"truth {target}", "synthetic − truth"]
    columns += [*(["expected error"] if error else []), "SSIM"]
    rows = [panel.row(caption, error) for panel, caption in zip(panels, captions, strict=True)]
    return plate_png(Plate(tuple(map(str.strip, columns)), tuple(rows), NOTE))


def read_panel(path: Path, meta: Mapping[str, Any]) -> Panel:
    """Read one panel and check that its arrays share one 2-D shape.

    Args:
        path: an .npz file, never unpickled.
        meta: fields of its `PanelEntry`; `window` is needed.

    Raises:
        InputError: where it is missing or something else.
    """
    try:
        arrays = {name: np.asarray(array, dtype=np.float32) for name, array in read_arrays(path).items()}
    except FileNotFoundError:
        raise InputError(f"{path}: panels.json names a picture that is not there.", do=EVALUATE) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a panel.", found=str(error), do=EVALUATE) from None
    absent = [name for name in PANEL_ARRAYS if name not in arrays]
    shapes = {array.shape for array in arrays.values()}
    if absent or len(shapes) != 1 or any(len(shape) != 2 or 0 in shape for shape in shapes):
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise InputError(
            f"{path} is not a panel.", found=found, expected=", ".join(PANEL_ARRAYS) + " of one 2-D shape", do=EVALUATE
        )
    window = meta.get("window")
    if not isinstance(window, list | tuple) or len(window) != 2 or not window[0] < window[1]:
        raise InputError(f"{path}: the grey window is not usable.", found=window, expected="[low, high]")
    return Panel(case=str(meta.get("case", path.stem)), arrays=arrays, meta=meta)
