"""A Parquet file as a table of text; the only file that knows pyarrow, the extra `parquet`.

Its text is bounded before it is read, and a cell that stands a million times is held once. Nothing but text, numbers,
truth values and times is taken: no object is made from what a file says that it is.
"""

from typing import Any

from ibca_lightning.data.storage import here
from ibca_lightning.data.tables.sheet import Sheet, check_columns
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular

_CELLS = MAX_TABLE // 16


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
        with parquet.ParquetFile(regular(own)) as file:
            facts, schema = file.metadata, file.schema_arrow
            text = sum(facts.row_group(at).total_byte_size for at in range(facts.num_row_groups))
            if text > MAX_TABLE or facts.num_rows * max(facts.num_columns, 1) > _CELLS:
                got = f"{facts.num_rows} rows of {facts.num_columns} columns, {text} bytes"
                raise InputError(f"a table of at most {MAX_TABLE} bytes and {_CELLS} cells in {path}", got, "split it")
            check_columns(path, schema.names)
            for field in schema:
                _require_plain(path, field)
        # Dictionaries stay what they are: a long text that stands in every row is not written out.
        texts = [field.name for field in schema if _kind(field.type) == "text"]
        with parquet.ParquetFile(own, read_dictionary=texts) as file:
            columns = [_texts(column) for column in file.read(use_threads=False).columns]
    except FileNotFoundError:
        raise InputError(f"a Parquet table at {path}", "nothing there", "correct the path") from None
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"a Parquet table at {path}", str(error).partition("\n")[0], "restore the file") from None
    rows = list(zip(*columns, strict=True))
    if not rows:
        raise InputError(f"rows in {path}", "none", "restore the file")
    return Sheet(path, list(schema.names), rows, [*range(1, len(rows) + 1)])


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


def _texts(column: Any) -> list[str]:
    """The cells of a column as the text of a CSV file would have them."""
    import pyarrow

    kind = _kind(column.type)
    if kind == "time":
        column = column.cast(pyarrow.string())
    cells: list[str] = []
    for chunk in column.chunks:
        if pyarrow.types.is_dictionary(chunk.type):
            words = [_text(word) for word in chunk.dictionary.to_pylist()]
            cells += ["" if at is None else words[at] for at in chunk.indices.to_pylist()]
        else:
            cells += [_text(value) for value in chunk.to_pylist()]
    return cells


def _text(value: object) -> str:
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
