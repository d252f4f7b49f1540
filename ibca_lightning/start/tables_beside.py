"""Tables of validation and test that lie beside one of training: `test.csv` beside `train.csv`."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ibca_lightning.data.tables.columns import split_of
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.system.errors import InputError


def tables_beside(table: str, header: Sequence[str]) -> dict[str, list[str]]:
    """Return, by split, the files that differ from a table of training in the word of the split alone.

    The first is the one to take: `test.csv` before `testing.csv` before `external.csv`.

    Args:
        table: The path of the table.
        header: Its columns, which they have too.
    """
    own = _words(table)
    found: dict[str, list[tuple[bool, bool, str]]] = {}
    for other in sorted(Path(table).parent.iterdir()):
        differ = [pair for pair in zip(own, _words(other), strict=False) if pair[0] != pair[1]]
        if len(_words(other)) != len(own) or len(differ) != 1 or split_of(differ[0][0]) != "train":
            continue
        word = differ[0][1]
        split = split_of(word)
        with suppress(InputError):  # a file that is no table
            if split in ("val", "test") and {*read_any(str(other)).header} == {*header}:
                found.setdefault(split, []).append((word != split, not word.startswith(split), str(other)))
    return {split: [file for *_, file in sorted(files)] for split, files in sorted(found.items(), reverse=True)}


def _words(path: str | Path) -> list[str]:
    return re.split(r"([^a-z]+)", Path(path).name.lower())
