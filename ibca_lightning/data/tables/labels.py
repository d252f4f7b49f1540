"""What a label may be, and which columns of a table are labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

UNKNOWN = -1
# What pandas, numpy and R write for a value that is not there.
_BLANK = frozenset({"", "nan", "na"})
_COMMON = {"0": 0, "1": 1, "-1": UNKNOWN, "": UNKNOWN}


def parse_label(text: str) -> int | None:
    """Read one label.

    Args:
        text: A cell of a table: 0, 1, -1, also as `1.0`; blank, `NaN` or `NA` for unknown.

    Returns:
        0, 1 or -1 (unknown), or None where the text is no label.

    Example:
        >>> from ibca_lightning.data.tables.labels import parse_label
        >>> [parse_label(text) for text in ("1", "0.0", "-1", "", "NaN", "yes")]
        [1, 0, -1, -1, -1, None]
    """
    value = _COMMON.get(text)
    if value is not None:
        return value
    text = text.strip().lower()
    if text in _BLANK:
        return UNKNOWN
    # Python also takes `0_1` and digits of other scripts, which nobody writes for a label.
    if "_" in text or not text.isascii():
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number in (0.0, 1.0, -1.0) else None


def is_blank(text: str) -> bool:
    """Whether a cell holds nothing: blank, `NaN` or `NA`."""
    return text.strip().lower() in _BLANK


def find_label_columns(sheet: Sheet, others: Sequence[str]) -> tuple[list[str], list[str]]:
    """Choose the label columns of a training table: those that have 0 and 1 among their values.

    Args:
        sheet: The training table.
        others: Columns that have another use (picture, group, subgroups) or are excluded.

    Returns:
        The label columns in the table's order; and the columns that hold only one of 0 and 1, which are not labels
        here but may have been meant as such.

    Raises:
        InputError: If most values of a column are 0, 1, -1 or blank and some are not, or no column is a label.

    Example:
        >>> from ibca_lightning.data.tables.labels import find_label_columns
        >>> from ibca_lightning.data.tables.sheet import Sheet
        >>> rows = [["a.png", "63", "1", "0"], ["b.png", "58", "0", "0"], ["c.png", "71", "", "0"]]
        >>> sheet = Sheet("train.csv", ["image", "age", "drusen", "scar"], rows, lines=[2, 3, 4])
        >>> find_label_columns(sheet, others=["image"])  # no scar was ever seen: a label, perhaps, but not to learn
        (['drusen'], ['scar'])
    """
    labels, constant = [], []
    for name in sheet.header:
        if not name or name in others:
            continue
        column = sheet.column(name)
        parsed = [parse_label(text) for text in column]
        values = set(parsed)
        if None in values:
            wrong = [row for row, value in enumerate(parsed) if value is None]
            if 2 * len(wrong) < len(parsed):
                raise no_labels(sheet, wrong, name, f" or name '{name}' in exclude_columns if it is no label")
        elif {0, 1} <= values:
            labels.append(name)
        elif values & {0, 1}:
            constant.append(name)
    if not labels:
        raise InputError(
            f"at least one label column (with 0 and 1 among its values) in {sheet.file}",
            f"the columns {', '.join(sheet.header)}",
            "add the labels, or name them in label_columns",
        )
    return labels, constant


def read_labels(sheet: Sheet, class_names: Sequence[str]) -> NDArray[np.int8]:
    """Read the label columns of a table.

    Args:
        sheet: The table.
        class_names: The L columns to read, in this order.

    Returns:
        Labels (N, L) int8 in {0, 1, -1}.

    Raises:
        InputError: If a column is absent or a value is no label.

    Example:
        >>> from ibca_lightning.data.tables.labels import read_labels
        >>> from ibca_lightning.data.tables.sheet import Sheet
        >>> sheet = Sheet("train.csv", ["image", "drusen"], [["a.png", "1"], ["b.png", ""]], lines=[2, 3])
        >>> read_labels(sheet, ["drusen"]).tolist()  # a blank is unknown
        [[1], [-1]]
        >>> read_labels(Sheet("train.csv", ["drusen"], [["2"]], lines=[7]), ["drusen"])
        Traceback (most recent call last):
        ibca_lightning...InputError: 0, 1, -1 or blank in column 'drusen' of train.csv, line 7, got '2'; correct ...
    """
    require_columns(sheet, class_names)
    labels = np.empty((len(sheet), len(class_names)), dtype=np.int8)
    for at, name in enumerate(class_names):
        column = sheet.column(name)
        parsed = [parse_label(text) for text in column]
        if None in parsed:
            raise no_labels(sheet, [row for row, value in enumerate(parsed) if value is None], name)
        labels[:, at] = parsed  # type: ignore[assignment]  # no None is left
    return labels


def require_columns(sheet: Sheet, class_names: Sequence[str]) -> None:
    """Refuse a table without a label column.

    Raises:
        InputError: If one of `class_names` is no column.
    """
    missing = [name for name in class_names if name not in sheet.header]
    if missing:
        raise InputError(
            f"the label columns {', '.join(class_names)} in {sheet.file}",
            f"no column {', '.join(missing)}",
            "every split needs the same label columns (leave values blank where they are unknown)",
        )


def check_no_other_labels(sheet: Sheet, class_names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a validation or test table with a label that the training table has not.

    Args:
        sheet: The table.
        class_names: The labels of the training table.
        known: Columns that cannot be one: those of the training table, and those with another use.

    Raises:
        InputError: If a further column has 0 and 1 among its values and nothing that is no label.
    """
    for name in sheet.header:
        if name and name not in known:
            values = {parse_label(text) for text in sheet.column(name)}
            if None not in values and {0, 1} <= values:
                raise InputError(
                    f"the labels of the training table ({', '.join(class_names)}) in {sheet.file}",
                    f"a further label '{name}'",
                    "add it to the training table, or name it in exclude_columns there and here, or set label_columns",
                )


def no_labels(sheet: Sheet, rows: Sequence[int], column: str, otherwise: str = "") -> InputError:
    """Return the error for cells that are no labels: the first, which carries the others; `otherwise` adds advice."""
    first, *further = (
        InputError(
            f"0, 1, -1 or blank in column '{column}' of {sheet.where(row)}",
            repr(sheet.column(column)[row]),
            f"correct the value{otherwise}",
        )
        for row in rows
    )
    return InputError(first.expected, first.got, first.fix, further)
