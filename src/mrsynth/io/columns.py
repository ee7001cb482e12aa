"""Tables that stages leave as CSV (metrics, history, dose response), read as text columns and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mrsynth.core.errors import InputError


def read_columns(path: Path, what: str, columns: Sequence[str], do: str) -> pd.DataFrame:
    """Read a CSV file that must have certain columns; every cell is text, so that a case named 007 stays 007.

    Args:
        path: the file.
        what: what the file should hold ("training history"), for messages.
        columns: the names of the columns that must be there; others may be.
        do: what you can do about a file that cannot be used, for messages.

    Returns:
        The table with all columns of the file; an empty cell is "".

    Raises:
        InputError: where the file is missing, is no CSV table or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path.parent} has no {what} ({path.name}).", expected=path, do=do) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a CSV table.", found=str(error), do=do) from None
    if absent := [name for name in columns if name not in table]:
        raise InputError(
            f"{path} holds no {what}.", found="no column " + ", ".join(absent), expected=", ".join(columns), do=do
        )
    return table


def read_history(path: Path) -> pd.DataFrame:
    """Read a training history (epoch, train_loss, val_loss, …) as float columns, one row an epoch.

    `stage` is 0 throughout where the history has no stages.
    Raises InputError where the file is missing or lacks a column.
    """
    table = read_columns(
        path, "training history", ("epoch", "train_loss", "val_loss"), "train again, or leave the file out"
    )
    table = table.apply(pd.to_numeric, errors="coerce")
    if "stage" not in table:
        table["stage"] = 0
    return table.dropna(subset=["epoch"]).astype(float)
