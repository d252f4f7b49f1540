"""What the columns of a table may say beside 0 and 1: words, counts, a split, several pictures of a case."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.columns_of_text import LONGEST, Cells
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

CASE = "case of the picture"
_SAME = {"true": ("yes", "on"), "false": ("no", "off")}  # YAML of before wrote `yes` as true into config.yaml
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*|,\d{1,2})?|\.\d+)(?:e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_SPLITS = {
    "train": ("train", "training", "trn", "tr", "trainset"),
    "val": ("val", "valid", "validation", "dev", "tune", "tuning", "validierung"),
    "test": (
        "test", "testing", "tst", "holdout", "hold-out", "hold out", "held-out", "held out", "testset", "external",
        "external validation",
    ),
}  # fmt: skip
_SPLIT_OF = {spelling: split for split, spellings in _SPLITS.items() for spelling in spellings}
_BUILT_ON = ("development", "derivation")  # as studies call it, where nothing is called training
_SET = re.compile(r"[ _-](set|data|dataset|split|cohort|sample|images)$")


def split_of(text: str) -> str | None:
    """Return the split that a cell means; None where it means none.

    Examples:
        >>> from ibca_lightning.data.tables.columns import split_of
        >>> [split_of(text) for text in ("Training", "dev", "holdout", "Test set", "3")]
        ['train', 'val', 'test', 'test', None]
    """
    return _SPLIT_OF.get(_SET.sub("", text.strip().casefold()).replace("_", " "))


def splits_of(texts: Iterable[str]) -> dict[str, str | None]:
    """Return the split that each cell of a column means: `development` is for training where nothing else is."""
    splits = {text: split_of(text) for text in texts}
    if "train" in splits.values():
        return splits
    return {
        text: "train" if _SET.sub("", text.strip().casefold()) in _BUILT_ON else split for text, split in splits.items()
    }


def two_tests(texts: Iterable[str]) -> bool:
    """Whether some cells say `external` and others another word for test: two tests, whose figures would be mixed."""
    tests = {text.strip().casefold().startswith("extern") for text in texts if split_of(text) == "test"}
    return len(tests) > 1


def rows_by_split(sheet: Sheet, column: str) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each split that a column names.

    Raises:
        InputError: If a cell names none, no row is for training, or an external test stands beside another one.
    """
    texts, of_rows = sheet.coded(column)
    splits = [*splits_of(texts).values()]
    if None in splits:
        row = int(np.flatnonzero(np.array([split is None for split in splits])[of_rows])[0])
        expected = f"train, val or test in column '{column}' of {sheet.where(row)}"
        raise InputError(expected, repr(sheet.column(column)[row]), "correct the value, or leave out data.split_column")
    if "train" not in splits:
        raise InputError(f"rows of train in column '{column}' of {sheet.file}", "none", "correct data.split_column")
    if two_tests(texts):
        fix = "write train, val and test, and leave the rows of one test out"
        raise InputError(f"one test in column '{column}' of {sheet.file}", "external rows beside those of test", fix)
    named = np.array(splits)[of_rows]
    return {split: np.flatnonzero(named == split) for split in _SPLITS if split in splits}


def with_values(sheet: Sheet, columns: Collection[str], values: Mapping[str, int], counts: Collection[str]) -> Sheet:
    """Return a table whose labels are 0, 1 and -1.

    Args:
        sheet: The table.
        columns: Columns whose cells may hold words.
        values: What a word means, without regard to case; a number is one in any way to write it; "" for a blank.
        counts: Columns of numbers, which are 1 above 0.
    """
    named = {_word(word): str(value) for word, value in values.items()}
    meant = {same: named[word] for word in named for same in _SAME.get(word, ())} | named
    changed: dict[str, Cells] = {}
    for name in sheet.header:
        if (meant and name in columns) or name in counts:
            texts, of_rows = sheet.coded(name)
            changed[name] = _cells([_value(text, meant, name in counts) for text in texts], of_rows)
    return sheet.with_columns(changed)


def _cells(texts: Sequence[str], of_rows: NDArray[np.intp]) -> Cells:
    """A byte a character; long cells, and those that hold the end of a line, as text: `Columns` wants them so."""
    if any("\n" in text or len(text) > LONGEST for text in texts):
        return [texts[code] for code in of_rows]
    return np.array([text.encode() for text in texts], "S")[of_rows]


def idle_words(sheet: Sheet, columns: Collection[str], words: Collection[object]) -> list[str]:
    """Return which of the words that `with_values` takes stand in no cell of some columns; a blank may always do so."""
    cells = {text.casefold() for name in sheet.header if name in columns for text in sheet.coded(name)[0]}
    numbers = {number_of(text) for text in cells} - {None}
    return [
        word
        for word in filter(None, map(_word, words))
        if number_of(word) not in numbers and cells.isdisjoint((word, *_SAME.get(word, ())))
    ]


def number_of(text: str) -> float | None:
    """Return the number that a cell holds, also with a decimal comma; None where it is none, or may be a thousand.

    Examples:
        >>> from ibca_lightning.data.tables.columns import number_of
        >>> [number_of(text) for text in ("-1.0", "02", "1,5", "1,000", "nan", "1_0")]
        [-1.0, 2.0, 1.5, None, None, None]
    """
    found = _NUMBER.fullmatch(text)
    return float(text.replace(",", ".")) if found else None


def _word(key: object) -> str:
    """What a key is called; YAML has None for `~`, and Python's callers may have others."""
    return "" if key is None else str(key).strip().casefold()


def _value(text: str, meant: Mapping[str, str], count: bool) -> str:
    plain = "" if is_blank(text) and text.casefold() not in meant else text.casefold()
    if plain not in meant and (number := number_of(plain)) is not None:
        plain = next((word for word in meant if number_of(word) == number), plain)
    if count and plain not in meant:
        try:
            return str(int(float(plain.replace(",", ".")) > 0)) if not plain.startswith("-") else text
        except ValueError:
            return text
    return meant.get(plain, text)


def one_row_a_picture(sheet: Sheet, columns: Sequence[str]) -> Sheet:
    """Return a table with a row for each picture of a case, which names it in the first of some columns.

    The column `CASE` says which pictures are of one case, by the first of them.

    Raises:
        InputError: If a case has no picture.
    """
    pictures = list(zip(*(sheet.column(name) for name in columns), strict=True))
    rows, names, cases = [], [], []
    for row, cells in enumerate(pictures):
        named = [name for name in cells if not is_blank(name)]
        if not named:
            fix = "fill in a path or remove the row"
            raise InputError(f"a picture in {', '.join(columns)} of {sheet.where(row)}", "blanks only", fix)
        rows += [row] * len(named)
        names += named
        cases += [named[0]] * len(named)
    return sheet.take(rows).with_columns({columns[0]: names, CASE: cases})
