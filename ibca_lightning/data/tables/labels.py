"""What a label may be, and which columns of a table are labels."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache

import numpy as np

from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError, first_of

UNKNOWN = -1
MOSTLY = 0.5  # a column with more blanks than this is no label unless somebody says so
_SHOWN, _COLUMNS = 40, 20  # characters of a cell, and columns, in a message
_MARK = 3  # characters of what may stand for 1 beside blanks: x, X, +, yes in another language
# What pandas, numpy, R, SQL and Excel write for a value that is not there.
_BLANK = frozenset({"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none"})
_WORDS = {
    **dict.fromkeys(("true", "t", "yes", "y", "positive", "pos", "present"), 1),
    **dict.fromkeys(("false", "f", "no", "n", "negative", "neg", "absent"), 0),
}
# What nobody sees: soft hyphens, zero-width spaces, marks of direction, byte-order marks; and joiners, which some
# scripts need in a word but not to tell it from another.
_UNSEEN = re.compile("[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
_SIGNS = str.maketrans({
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02b9\u02bc\u00b4\u0060", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
})  # fmt: skip
_DECIMAL_COMMA = re.compile(r"([+-]?[01]),(0{1,2})")  # three zeros would be a thousand


def parse_label(text: str) -> int | None:
    """Read one label: 0, 1 or -1 (unknown); None where the text is none.

    Also `1.0` and `1,0`; true and false (t, f), yes and no (y, n), positive and negative (pos, neg), present and
    absent, in any case; a blank, `NaN`, `NA`, `N/A`, `NULL` or `None`, which are unknown.

    Examples:
        >>> from ibca_lightning.data.tables.labels import parse_label
        >>> [parse_label(text) for text in ("1", "0,0", "-1", "", "NULL", "Yes", "FALSE", "2")]
        [1, 0, -1, -1, -1, 1, 0, None]
    """
    text = text.strip().lower()
    if text in _BLANK:
        return UNKNOWN
    # Python also takes `0_1` and digits of other scripts, which nobody writes for a label.
    if text in _WORDS or "_" in text or not text.isascii():
        return _WORDS.get(text)
    try:
        number = float(_DECIMAL_COMMA.sub(r"\1.\2", text) if _DECIMAL_COMMA.fullmatch(text) else text)
    except ValueError:
        return None
    return int(number) if number in (0.0, 1.0, -1.0) else None


def is_blank(text: str) -> bool:
    """Whether a cell holds nothing: blank, `NaN`, `NA`, `N/A`, `NULL` or `None`."""
    return text.strip().lower() in _BLANK


@lru_cache(2**12)
def plain_name(name: str) -> str:
    """Return what a name of a class has in common with other ways to write it.

    Without regard to case, the form of Unicode, white space, what nobody sees, and the quotes and dashes of word
    processors.

    Examples:
        >>> from ibca_lightning.data.tables.labels import plain_name
        >>> plain_name("Barrett\u2019s  \u00d6sophagus") == plain_name("barrett's O\u0308sophagus")
        True
    """
    seen = _JOINERS.sub("", _UNSEEN.sub("", name.translate(_SIGNS)))
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).split())


def shown_name(name: str) -> str:
    """Return a name as it is shown: letters in one piece, nothing that nobody sees."""
    return name if name.isascii() else unicodedata.normalize("NFC", _UNSEEN.sub("", name))


def find_label_columns(
    sheet: Sheet, others: Sequence[str], blank_is_meant: bool = False
) -> tuple[list[str], list[str]]:
    """Choose the label columns of a training table: those that have 0 and 1 among their values and are half filled.

    Args:
        sheet: The training table.
        others: Columns that have another use (picture, group, subgroups) or are excluded.
        blank_is_meant: Whether a blank says something, so that a column may consist of blanks.

    Returns:
        The label columns in the table's order; and of the columns that may have been meant as labels, why they are not
        taken: they are blank, mostly or wholly, or hold only one of 0 and 1, or 0 and 1 beside more of something
        else, or two values that are none, or a mark such as x beside blanks.

    Raises:
        InputError: If most values of a column that are filled in are 0, 1 or -1 and some are not, or no column is a
            label.
    """
    labels, doubtful = [], []
    for name in sheet.header:
        if not name or name in others:
            continue
        texts, of_rows = sheet.coded(name)
        counts = np.bincount(of_rows, minlength=len(texts))
        parsed = {text: parse_label(text) for text in texts}
        values, strange = set(parsed.values()), {text.lower(): text for text in parsed if parsed[text] is None}
        if strange:
            wrong = np.flatnonzero(np.array([parsed[text] is None for text in texts])[of_rows])
            filled = sum(count for text, count in zip(texts, counts, strict=True) if not is_blank(text))
            # `N`, `Y`, `F` or `T` alone is also a point of the compass or a letter of a code: no mistake.
            meant = {0, 1} <= values or any(text[-1:].isdigit() for text in parsed if parsed[text] is not None)
            if meant and 2 * len(wrong) < filled:
                raise no_labels(sheet, wrong, name, f" or name '{name}' in exclude_columns if it is no label")
            mark = UNKNOWN in values and all(len(text) <= _MARK for text in strange)  # a cross here and there
            if {0, 1} <= values or 2 - mark <= len(strange) + len(values & {0, 1}) <= 2:
                doubtful.append(
                    f"'{name}' (it holds {texts[of_rows[wrong[0]]][:_SHOWN]!r}, as on line {sheet.lines[wrong[0]]})"
                )
        elif {0, 1} <= values:
            blank = sum(count for text, count in zip(texts, counts, strict=True) if is_blank(text)) / len(sheet)
            if blank > MOSTLY and not blank_is_meant:
                doubtful.append(f"'{name}' ({blank:.0%} blank, else 0 and 1)")
            else:
                labels.append(name)
        elif values & {0, 1}:
            doubtful.append(f"'{name}' (only one of 0 and 1)")
        elif values and all(map(is_blank, parsed)):
            doubtful.append(f"'{name}' (blank)")
    if not labels:
        expected = f"at least one label column (with 0 and 1 among its values) in {sheet.file}"
        got = f"the columns {', '.join(sheet.header)}" + "".join(f"; not {each}" for each in doubtful)
        raise InputError(expected, got, "add the labels, or name them in label_columns")
    return labels, doubtful


def require_columns(sheet: Sheet, class_names: Sequence[str]) -> None:
    """Refuse a table without a column of each class, as an InputError."""
    missing = [name for name in class_names if name not in sheet.header]
    if missing:
        expected, got = f"the label columns {', '.join(class_names)} in {sheet.file}", f"no column {', '.join(missing)}"
        fix = "every split needs the same label columns (leave values blank where they are unknown)"
        near = get_close_matches(missing[0], [name for name in sheet.header if name not in class_names], 1)
        fix = f"did you mean '{near[0]}'?" if near else f"{fix}; it has {first_of(sheet.header, _COLUMNS)}"
        raise InputError(expected, got, fix)


def check_no_other_labels(sheet: Sheet, class_names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a validation or test table with a label that the training table has not.

    Raises:
        InputError: If a column that is not `known` (in the training table, or with another use) has 0 and 1 among its
            values and nothing that is no label.
    """
    for name in sheet.header:
        if name and name not in known:
            values = {parse_label(text) for text in sheet.coded(name)[0]}
            if None not in values and {0, 1} <= values:
                expected = f"the labels of the training table ({', '.join(class_names)}) in {sheet.file}"
                fix = "add it to the training table, or name it in exclude_columns there and here, or set label_columns"
                raise InputError(expected, f"a further label '{name}'", fix)


def no_labels(sheet: Sheet, rows: Iterable[int], column: str, otherwise: str = "") -> InputError:
    """Return the error for cells that are no labels: the first, which carries the others; `otherwise` adds advice."""
    texts, fix = sheet.column(column), f"correct the value{otherwise}"
    first, *further = (
        InputError(f"0, 1, -1 or blank in column '{column}' of {sheet.where(row)}", repr(texts[row]), fix)
        for row in rows
    )
    return InputError(first.expected, first.got, first.fix, further)
