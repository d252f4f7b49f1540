"""`metrics.csv` of a run, read again."""

import csv
import io
import math
from pathlib import Path

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import regular, told


def read_training(run: Path) -> list[dict[str, float]]:
    """The figures of each row, by name; of a file that a run is writing the whole rows, none where there is no file.

    Raises:
        InputError: The file is another one, or holds what no run writes, such as NaN.
    """
    path = run / "metrics.csv"
    try:
        text = regular(path).read_bytes().decode()
        # Python's own lines would end at U+2028, too, which the name of a class may hold.
        rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        return [{name: _number(name, cell) for name, cell in row.items() if cell} for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"the figures of a training in {path}", told(error), "restore the file, or remove it"
        ) from error


def _number(name: str | None, cell: str | list[str]) -> float:
    if name is None or isinstance(cell, list):
        raise ValueError(f"{cell} beyond the columns")
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{name} {cell!r}") from None
    if math.isnan(value) or (math.isinf(value) and not name.startswith("train/")):  # of float16 a loss may overflow
        raise ValueError(f"{name} {cell}")
    return value
