"""What a label may be, and which columns of a table are labels."""

from collections.abc import Sequence

from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

UNKNOWN = -1
# What pandas, numpy and R write for a value that is not there.
_BLANK = frozenset({"", "nan", "na"})


def parse_label(text: str) -> int | None:
    """Read one label: 0, 1 or -1 (unknown), also as `1.0` or a blank, `NaN` or `NA`; None where the text is no label.

    Examples:
        >>> from ibca_lightning.data.tables.labels import parse_label
        >>> [parse_label(text) for text in ("1", "0.0", "-1", "", "NaN", "yes")]
        [1, 0, -1, -1, -1, None]
    """
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
    """
    labels, constant = [], []
    for name in sheet.header:
        if not name or name in others:
            continue
        column = sheet.column(name)
        parsed = {text: parse_label(text) for text in set(column)}
        values = set(parsed.values())
        if None in values:
            wrong = [row for row, text in enumerate(column) if parsed[text] is None]
            if 2 * len(wrong) < len(column):
                raise no_labels(sheet, wrong, name, f" or name '{name}' in exclude_columns if it is no label")
        elif {0, 1} <= values:
            labels.append(name)
        elif values & {0, 1}:
            constant.append(name)
    if not labels:
        expected = f"at least one label column (with 0 and 1 among its values) in {sheet.file}"
        got = f"the columns {', '.join(sheet.header)}"
        raise InputError(expected, got, "add the labels, or name them in label_columns")
    return labels, constant


def require_columns(sheet: Sheet, class_names: Sequence[str]) -> None:
    """Refuse a table without a column of each class, as an InputError."""
    missing = [name for name in class_names if name not in sheet.header]
    if missing:
        expected, got = f"the label columns {', '.join(class_names)} in {sheet.file}", f"no column {', '.join(missing)}"
        fix = "every split needs the same label columns (leave values blank where they are unknown)"
        raise InputError(expected, got, fix)


def check_no_other_labels(sheet: Sheet, class_names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a validation or test table with a label that the training table has not.

    Raises:
        InputError: If a column that is not `known` (in the training table, or with another use) has 0 and 1 among its
            values and nothing that is no label.
    """
    for name in sheet.header:
        if name and name not in known:
            values = {parse_label(text) for text in set(sheet.column(name))}
            if None not in values and {0, 1} <= values:
                expected = f"the labels of the training table ({', '.join(class_names)}) in {sheet.file}"
                fix = "add it to the training table, or name it in exclude_columns there and here, or set label_columns"
                raise InputError(expected, f"a further label '{name}'", fix)


def no_labels(sheet: Sheet, rows: Sequence[int], column: str, otherwise: str = "") -> InputError:
    """Return the error for cells that are no labels: the first, which carries the others; `otherwise` adds advice."""
    texts, fix = sheet.column(column), f"correct the value{otherwise}"
    first, *further = (
        InputError(f"0, 1, -1 or blank in column '{column}' of {sheet.where(row)}", repr(texts[row]), fix)
        for row in rows
    )
    return InputError(first.expected, first.got, first.fix, further)
