"""A Parquet file as a table of text; the only file that knows pyarrow, the extra `parquet`.

Its text is bounded before it is read and while it is, and a cell that stands a million times is held once. What the
end of the file says of its sizes may be a lie, so pages are measured by their own headers, which they are unpacked by.
Columns are read one by one, so that it is one page, and one dictionary, at a time. Texts that a page writes as what
differs from the one before (DELTA_BYTE_ARRAY), so that each may be as large as the page, are refused by pyarrow, which
cannot read them into a dictionary.
Nothing but text, numbers, truth values and times is taken: no object is made from what a file says that it is.
"""

from itertools import islice
from typing import Any

from ibca_lightning.data.storage import here
from ibca_lightning.data.tables.sheet import Sheet, check_columns
from ibca_lightning.datasets.layouts.tables.parquet_pages import page_sizes
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular

_CELLS = MAX_TABLE // 16
_ROWS = 2**16  # that are read at once
_PAGE = 2**26  # bytes of one page; usual ones have one million


def read_parquet(path: str) -> Sheet:
    """Read a Parquet file; its rows are counted from 1.

    Raises:
        InputError: If pyarrow is not installed, the file is damaged or too large, it has no rows or a column twice, or
            one of another type.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        fix = "install it: pip install 'ibca-lightning[parquet]', or save the table as CSV"
        raise InputError(f"pyarrow, to read {path}", "no such package", fix) from None
    own = here(path)
    try:
        with open(regular(own), "rb") as pages, parquet.ParquetFile(own) as file:
            facts, schema = file.metadata, file.schema_arrow
            said = sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups))
            _require_bounded(path, facts.num_rows, facts.num_columns, said)
            check_columns(path, schema.names)
            for field in schema:
                _require_plain(path, field)
            unpacked = 0
            for column, size in page_sizes(pages, facts):
                unpacked += size
                _require_bounded(path, facts.num_rows, facts.num_columns, unpacked)
                if size > _PAGE:
                    expected = f"pages of at most {_PAGE} bytes in {path}"
                    raise InputError(
                        expected, f"{size} in '{schema.names[column]}'", "save it as CSV, or in pages of 1 MiB"
                    )
        # Dictionaries stay what they are: a long text that stands in every row is not written out.
        texts = [field.name for field in schema if _kind(field.type) == "text"]
        with parquet.ParquetFile(own, read_dictionary=texts) as file:
            columns: list[list[str]] = [[] for _ in schema.names]
            words: dict[str, str] = {}
            letters = seen = 0
            for name, cells in zip(schema.names, columns, strict=True):
                for batch in file.iter_batches(_ROWS, columns=[name], use_threads=False):  # `a` brings `a.b` along
                    cells += _texts(batch.column(batch.schema.get_field_index(name)), words)
                    letters, seen = letters + sum(map(len, islice(words, seen, None))), len(words)
                    _require_bounded(path, len(cells), len(columns), letters)
        rows = list(zip(*columns, strict=True))
    except FileNotFoundError:
        raise InputError(f"a Parquet table at {path}", "nothing there", "correct the path") from None
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"a Parquet table at {path}", str(error).partition("\n")[0], "restore the file") from None
    if not rows:
        raise InputError(f"rows in {path}", "none", "restore the file")
    return Sheet(path, list(schema.names), rows, [*range(1, len(rows) + 1)])


def _require_bounded(path: str, rows: int, columns: int, size: int) -> None:
    if size > MAX_TABLE or rows * max(columns, 1) > _CELLS:
        got = f"{rows} rows of {columns} columns, {size} bytes"
        raise InputError(f"a table of at most {MAX_TABLE} bytes and {_CELLS} cells in {path}", got, "split it")


def _kind(of: Any) -> str:
    """How a type is read; blank where it is not."""
    from pyarrow import types

    if types.is_dictionary(of):
        return "text" if _kind(of.value_type) == "text" else ""
    if types.is_string(of) or types.is_large_string(of):
        return "text"
    if types.is_integer(of) or types.is_floating(of) or types.is_boolean(of) or types.is_null(of):
        return "number"
    return "time" if types.is_date(of) or types.is_timestamp(of) else ""


def _require_plain(path: str, field: Any) -> None:
    if not _kind(field.type) or b"ARROW:extension:name" in (field.metadata or {}):
        expected = f"text, numbers or times in column '{field.name}' of {path}"
        raise InputError(expected, field.type, "leave the column out, or save it as text")


def _texts(column: Any, words: dict[str, str]) -> list[str]:
    """The cells of some rows as the text of a CSV file would have them; a word of `words` is held once."""
    import pyarrow

    kind = _kind(column.type)
    if kind == "time":
        column = column.cast(pyarrow.string())
    if not pyarrow.types.is_dictionary(column.type):
        return [_text(value) for value in column.to_pylist()]
    used = column.indices.unique()
    meant = [words.setdefault(text, text) for text in map(_text, column.dictionary.take(used).to_pylist())]
    own = dict(zip(used.to_pylist(), meant, strict=True))
    return [own[at] for at in column.indices.to_pylist()]


def _text(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
