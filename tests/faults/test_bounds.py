"""Files of strangers that say little and hold, or ask for, much: each is measured before memory is taken."""

import base64
import csv
import os
import re
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
import torch

from ibca_lightning.data import columns_of_text, disk_cache
from ibca_lightning.data.pictures import bit_depth, dicom, header
from ibca_lightning.data.pictures.bit_depth import Stored
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.data.tables import sheet as sheets
from ibca_lightning.data.tables.label_space import read_label_space
from ibca_lightning.data.tables.sheet import check_columns, read_sheet
from ibca_lightning.data.tables.table import encode
from ibca_lightning.datasets.layouts import map_files, npz_pictures
from ibca_lightning.datasets.layouts.tables import parquet, table_file
from ibca_lightning.heads.peers.pooling import lp
from ibca_lightning.heads.peers.pooling.lp import read_embeddings
from ibca_lightning.model.weights import files
from ibca_lightning.run.callbacks.metrics_csv import RunCSVLogger
from ibca_lightning.run.command_line.config_files import read_tree
from ibca_lightning.run.model_card import read_facts
from ibca_lightning.run.run_settings import read_settings
from ibca_lightning.run.tested_figures import figure_files
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.search.recipe import read_mapping
from ibca_lightning.start.recipe import short_side
from ibca_lightning.system import yaml_text
from ibca_lightning.system.errors import DataWarning, InputError, PictureError
from ibca_lightning.system.hashed_names import hashed_names
from ibca_lightning.system.strangers import csv_rows
from ibca_lightning.system.terminal.foreign_words import warning_line
from ibca_lightning.system.whole_files import write_output
from ibca_lightning.use.predictions.files import RowFiles
from tests.data.pictures.test_formats import dicom as write_dicom

SIDE = 700
SMOOTH = np.add.outer(np.arange(SIDE), np.arange(SIDE))


def peak(function: Callable[[], Any]) -> int:
    """The bytes that are taken at most meanwhile, of what Python and numpy know of."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- pictures --------------------------------------------------------------------------------------------------------


def windowed(path: Path) -> str:
    return write_dicom(path / "a.dcm", SMOOTH.astype(np.uint16), WindowCenter=700, WindowWidth=900)


def tiff(path: Path, pixels: np.ndarray) -> str:
    tifffile.imwrite(path / "a.tif", pixels)
    return str(path / "a.tif")


PICTURES: dict[str, tuple[Callable[[Path], str], int]] = {
    "a windowed DICOM": (windowed, 2),
    "a DICOM of a falling line": (lambda path: write_dicom(path / "a.dcm", SMOOTH.astype(np.uint16), bits=16), 2),
    "a gray float TIFF": (lambda path: tiff(path, SMOOTH.astype(np.float32)), 4),
    "a float TIFF of colours": (lambda path: tiff(path, np.dstack([SMOOTH.astype(np.float32)] * 3)), 12),
}


@pytest.mark.parametrize("name", PICTURES)
def test_reading_takes_a_few_times_what_a_picture_holds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, size = PICTURES[name]
    path = write(tmp_path)
    read_image(path)  # what is imported is not counted
    monkeypatch.setattr(bit_depth, "_STRIP", 2**14, raising=False)
    assert peak(lambda: read_image(path)) < SIDE**2 * (4 * size + 7)  # and 8 bits of three colours, twice


def test_strips_change_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = [SMOOTH.astype(kind) for kind in (np.uint16, np.int32, np.float32)]
    stored = [*kinds, SMOOTH / SMOOTH.max(), SMOOTH > SIDE, np.dstack([SMOOTH, SMOOTH, SMOOTH]).astype(np.uint16)]
    whole = [Stored(pixels).rgb("") for pixels in stored]
    path = windowed(tmp_path)
    shown = read_image(path)
    monkeypatch.setattr(bit_depth, "_STRIP", 3 * SIDE)
    assert all(np.array_equal(Stored(pixels).rgb(""), once) for pixels, once in zip(stored, whole, strict=True))
    assert np.array_equal(read_image(path), shown)
    assert Stored(stored[-1]).depth("") == 12


@pytest.mark.parametrize("name", PICTURES)
def test_the_numbers_of_a_picture_are_bounded_before_it_is_decoded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, size = PICTURES[name]
    path = write(tmp_path)
    monkeypatch.setattr(header, "MAX_PICTURE", SIDE**2 * size - 1)
    with pytest.raises(PictureError, match="a picture of 1 to"):
        read_image(path)


def test_no_page_of_a_tiff_is_decoded_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, samples = tmp_path / "pages.tif", tmp_path / "samples.tif"
    tifffile.imwrite(pages, np.zeros((9, 40, 40), np.uint8), photometric="minisblack", compression=None)
    tifffile.imwrite(samples, np.zeros((40, 40, 200), np.uint8), photometric="minisblack", planarconfig="contig")
    assert PictureFile(str(samples)).channels(200).shape == (40, 40, 200)

    def decoded(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(cv2, "imdecodemulti", decoded)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", decoded)
    for path, got in ((pages, "more than 4"), (samples, "200")):
        with pytest.raises(PictureError, match=f"of 4 channels at .* got {got};"):
            PictureFile(str(path)).channels(4)
    monkeypatch.setattr(header, "MAX_PICTURE", 9 * 40 * 40 - 1)
    with pytest.raises(PictureError, match="a picture of 1 to"):
        PictureFile(str(pages)).channels(9)


def test_a_strip_of_a_tiff_that_unpacks_to_more_than_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pixels = tmp_path / "x.tif", np.arange(40 * 40 * 5, dtype=np.uint16).reshape(40, 40, 5)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", compression="zlib", rowsperstrip=20)
    np.testing.assert_array_equal(PictureFile(str(path)).channels(5), PictureFile(str(path)).channels(5))
    bomb = zlib.compress(bytes(2**24))
    with path.open("ab") as file:
        file.write(bomb)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        tags["StripOffsets"].overwrite([path.stat().st_size - len(bomb), tags["StripOffsets"].value[1]])
        tags["StripByteCounts"].overwrite([len(bomb), tags["StripByteCounts"].value[1]])

    def decoded(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(tifffile.TiffPage, "asarray", decoded)
    with pytest.raises(PictureError, match="a TIFF that can be read"):
        PictureFile(str(path)).channels(5)


def elements(count: int) -> bytes:
    """Of a DICOM file, each another, of private groups, without a value."""
    numbers = (struct.pack("<HH", 0x1001 + 2 * (at >> 12), 0x1000 + (at & 4095)) for at in range(count))
    return b"".join(number + b"LO\0\0" for number in numbers)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_a_dicom_header_of_endless_elements(syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "_READS", 2000, raising=False)
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\2\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    start = bytes(128) + b"DICM" + b"\2\0\0\0UL\4\0" + len(meta).to_bytes(4, "little") + meta
    for body in (elements(4000), bytes(2**16)):
        packed = zlib.compress(body, wbits=-zlib.MAX_WBITS) if syntax.endswith("99") else body
        (tmp_path / "a.dcm").write_bytes(start + packed)
        with pytest.raises(PictureError, match="a DICOM header of a usual length"):
            read_image(str(tmp_path / "a.dcm"))


def test_a_dicom_element_that_would_be_a_million_numbers_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_image(write_dicom(tmp_path / "a.dcm", SMOOTH.astype(np.uint16)))
    path = write_dicom(tmp_path / "b.dcm", SMOOTH.astype(np.uint16), WindowCenter=[1.0] * 50, WindowWidth=[9.0] * 50)
    assert not np.array_equal(read_image(path), expected)
    monkeypatch.setattr(dicom, "_LONGEST", 100)
    assert np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("segments", [[0, 1, 5, *[1, 65535, 9] * 2], [0, 1, 5, *[2, 3, 0, 0] * 9], [0, 1, 5, 1, 99, 9]])
def test_a_palette_of_a_few_segments_that_are_billions_of_colours(segments: list[int], tmp_path: Path) -> None:
    colours = ("Red", "Green", "Blue")
    tags: dict[str, Any] = {f"{colour}PaletteColorLookupTableDescriptor": [100, 0, 16] for colour in colours}
    tags |= {
        f"Segmented{colour}PaletteColorLookupTableData": struct.pack(f"<{len(segments)}H", *segments)
        for colour in colours
    }
    path = write_dicom(tmp_path / "a.dcm", SMOOTH.astype(np.uint16), PhotometricInterpretation="PALETTE COLOR", **tags)
    if len(segments) == 6:
        assert read_image(path).shape == (SIDE, SIDE, 3)
        return
    with pytest.raises(PictureError, match="a palette of at most 65536 colours"):
        read_image(path)


# --- tables ----------------------------------------------------------------------------------------------------------


SHORT: dict[str, str] = {
    "one quoted": '"image"\n' + "1\n" * 2**17,
    "one long": "image\n" + "1\n" * 2**17 + "x" * 250 + "\n",
    "one quoted, one long": '"image"\n' + "1\n" * 2**17 + "x" * 250 + "\n",
    "one with an end of a line": "image,a\n" + "1,2\n" * 2**16 + '"x\ny",3\n',
    "one very long": "image\n" + "1\n" * 2**17 + "x" * 5000 + "\n",
    "packed lists": "1,2\n" * 2**16,
}


@pytest.mark.parametrize("name", SHORT)
def test_short_cells_take_a_few_times_their_text(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_of_text, "_PIECE", 2**12, raising=False)
    monkeypatch.setattr(columns_of_text, "_CHUNK", 2**14)
    (tmp_path / "t.csv").write_text(text := SHORT[name], newline="")
    header = ["a", "b"] if name == "packed lists" else None
    assert peak(lambda: read_sheet(str(tmp_path / "t.csv"), header)) < 12 * len(text) + 2**22


def test_rows_of_long_cells_are_taken_in_a_few_times_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns_of_text, "_PIECE", 2**9)
    (tmp_path / "t.csv").write_text("image,a\n" + "".join(f'{at},"{"x" * 300}"\n' for at in range(2**14)))
    sheet = read_sheet(str(tmp_path / "t.csv"))
    assert peak(lambda: sheet.take(range(len(sheet)))) < 4 * 300 * 2**14


@pytest.mark.parametrize("quote", ["", '"'])
def test_tables_of_too_many_rows_or_columns(quote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "t.csv")
    monkeypatch.setattr(sheets, "MAX_ROWS", 9, raising=False)
    (tmp_path / "t.csv").write_text(f"{quote}a{quote},b\n" + "1,2\n" * 9)
    assert len(read_sheet(path)) == 9
    (tmp_path / "t.csv").write_text(f"{quote}a{quote},b\n" + "1,2\n" * 10)
    with pytest.raises(InputError, match=r"at most 9 rows .*t.csv"):
        read_sheet(path)
    (tmp_path / "t.csv").write_text(f"{quote}a{quote}," + ",".join(map(str, range(2**16))) + "\n")
    with pytest.raises(InputError, match=r"t.csv.*(more than 65536 cells|65537 columns)"):
        read_sheet(path)
    (tmp_path / "t.csv").write_text('"a\n"' + ',"\n"' * 2**17 + "\n")  # a row of as many lines
    with pytest.raises(InputError, match="more than 65536 cells"):
        read_sheet(path)


def test_names_of_columns_are_compared_once_each(tmp_path: Path) -> None:
    class Compared(str):
        seen = 0

        def __eq__(self, other: object) -> bool:
            Compared.seen += 1
            return str.__eq__(self, str(other))

        __hash__ = str.__hash__

    check_columns("t.csv", [Compared(at) for at in range(3000)])
    assert Compared.seen < 30_000


def workbook(path: Path, sheet: Callable[[str], str]) -> str:
    """One of two columns and three rows, its sheet changed."""
    book = openpyxl.Workbook()
    for row in (("image", "A"), ("a.png", 1), ("b.png", 0)):
        book.active.append(row)
    book.save(path / "made.xlsx")
    with zipfile.ZipFile(path / "made.xlsx") as made, zipfile.ZipFile(path / "t.xlsx", "w", 8) as new:
        for name in made.namelist():
            data = made.read(name)
            new.writestr(name, sheet(data.decode()) if name.endswith("sheet1.xml") else data)
    return str(path / "t.xlsx")


def test_a_workbook_that_says_to_be_huge_is_read_as_it_is(tmp_path: Path) -> None:
    def huge(sheet: str) -> str:
        sheet = sheet.replace('<dimension ref="A1:B3"', '<dimension ref="A1:XFD1048576"')
        return sheet.replace("</sheetData>", '<row r="300"><c r="A300"/></row></sheetData>')

    path = workbook(tmp_path, huge)
    assert [*table_file.read_workbook(path).rows] == [("a.png", "1"), ("b.png", "0")]
    assert peak(lambda: table_file.read_workbook(path)) < 8e6


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda sheet: sheet[: len(sheet) // 2], "an Excel workbook"),
    "a row beyond all": (lambda sheet: sheet.replace('r="3"', 'r="99999999999"'), "more than 1048576 rows"),
    "many cells": (
        lambda sheet: sheet.replace("<sheetData>", "<sheetData>" + "<c/>" * 40_000),
        "elements",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_workbook_that_is_broken_inside_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, words = BROKEN[name]
    if name == "many cells":
        monkeypatch.setattr(table_file, "MAX_TABLE", 2**18)
    with pytest.raises(InputError, match=words):
        table_file.read_workbook(workbook(tmp_path, change))


def test_a_workbook_without_a_sheet(tmp_path: Path) -> None:
    path = workbook(tmp_path, str)
    with zipfile.ZipFile(path) as made, zipfile.ZipFile(tmp_path / "none.xlsx", "w") as new:
        for name in made.namelist():
            data = made.read(name)
            new.writestr(name, re.sub(b"<sheet .*?>", b"", data) if name == "xl/workbook.xml" else data)
    with pytest.raises(InputError, match=r"an Excel workbook at .* got no sheet;"):
        table_file.read_workbook(str(tmp_path / "none.xlsx"))


def lying(path: Path, table: pa.Table, **options: Any) -> str:
    """A Parquet file of one row group that says to have one byte of text."""
    pq.write_table(table, path, compression="zstd", **options)
    size, said, data = pq.read_metadata(path).row_group(0).total_byte_size, b"", path.read_bytes()
    number = 2 * size  # as Thrift writes it, seven bits a byte
    while number:
        said, number = said + bytes([number & 127 | 128 * (number > 127)]), number >> 7
    assert said in data
    path.write_bytes(data.replace(said, b"\x82" + b"\x80" * (len(said) - 2) + b"\0"))
    assert pq.read_metadata(path).row_group(0).total_byte_size == 1
    return str(path)


@contextmanager
def counted() -> Iterator[Any]:
    """What Arrow takes meanwhile."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(before)


def test_a_parquet_file_that_says_to_be_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [f"{at:05d}{'x' * 1000}" for at in range(3000)]
    path = lying(tmp_path / "t.parquet", pa.table({"a": cells}))
    assert len(table_file.read_any(path)) == 3000
    monkeypatch.setattr(parquet, "MAX_TABLE", 2**20)
    with pytest.raises(InputError, match="a table of at most 1048576 bytes"):
        table_file.read_any(path)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_large_page_of_a_parquet_file_is_refused_before_it_is_unpacked(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"use_dictionary": False, "data_page_size": 2**30, "data_page_version": version}
    path = lying(tmp_path / "t.parquet", pa.table({"a": ["1", "2"], "b": ["x" * 2**24] * 2}), **options)
    monkeypatch.setattr(parquet, "_PAGE", 2**22)
    assert Path(path).stat().st_size < 2**14
    with counted() as pool, pytest.raises(InputError, match=r"pages of at most 4194304 bytes in .*, got 335\d+ in 'b'"):
        table_file.read_any(path)
    assert pool.max_memory() < 2**20


# 272 bytes that pyarrow wrote, the length of a histogram changed: its column(0) threw what C++ does not catch.
HISTOGRAM = (
    "UEFSMRUAFR4VHiwVAhUAFQYVBhwAAAACAAAAAgEFAAAAYS5wbmcVABUcFRwsFQIVABUGFQYcAAAAAgAAAAIBAQAAAAAAAAAVBBk8NQAY"
    "BnNjaGVtYRUEABUMJQIYBWltYWdlJQBMHAAAABUEJQIYAWEAFgIZHBksJgAcFQwZJQYAGRgFaW1hZ2UVABYCFkQWRCYISRwVABUAFQIA"
    "PBYKGQYZJgACAAAAJgAcFQQZJQYAGRgBYRUAFgIWQhZCJkxJHBUAFQAVAgA8KSkZJgACAAAAFoYBFgImCBaGAQAoIHBhcnF1ZXQtY3Bw"
    "LWFycm93IHZlcnNpb24gMjYuMC4xGSwcAAAcAAAAwQAAAFBBUjE="
)


def test_statistics_that_are_none_do_not_end_the_process(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(base64.b64decode(HISTOGRAM))
    with pytest.raises(InputError, match=r"a Parquet table at .*t\.parquet, got .*; restore the file"):
        table_file.read_any(str(tmp_path / "t.parquet"))


def test_a_page_of_a_parquet_file_that_does_not_say_its_size_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": ["1", "2"]}), path, use_dictionary=False, compression=None)
    data, at = path.read_bytes(), pq.read_metadata(path).row_group(0).column(0).data_page_offset
    heads = [b"\0", b"\x15\0\x15\x01", b"\x1c" * 12, b"\xff" * 12, b"\x18\xff\xff\xff\x7f", b"\x15" + b"\xff" * 11]
    for head in heads:
        path.write_bytes(data[:at] + head + data[at + len(head) :])
        with pytest.raises(InputError, match=r"a Parquet table at .*, got a page .*; restore the file"):
            table_file.read_any(str(path))


def test_pages_of_a_parquet_file_are_unpacked_one_at_a_time(tmp_path: Path) -> None:
    names = [f"c{at}" for at in range(30)]
    cells = [f"{row}{'x' * 2**17}" for row in range(8)]
    table = pa.table({name: [f"{name}{cell}" for cell in cells] for name in names})
    pq.write_table(table, tmp_path / "t.parquet", use_dictionary=False, compression="zstd", data_page_size=2**30)
    with counted() as pool:
        sheet = table_file.read_any(str(tmp_path / "t.parquet"))
    assert [sheet.rows[0][0], sheet.rows[7][29]] == [f"c0{cells[0]}", f"c29{cells[7]}"]
    assert pool.max_memory() < 8 * 2**20  # of 30 that the pages hold


def test_columns_of_a_parquet_file_whose_names_begin_alike(tmp_path: Path) -> None:
    columns = {"a.b": ["1"], "a": ["2"], "": ["3"], "a.b.c": ["4"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    sheet = table_file.read_any(str(tmp_path / "t.parquet"))
    assert dict(zip(sheet.header, *sheet.rows, strict=True)) == {name: cell for name, (cell,) in columns.items()}


def sparse(path: Path, size: int = 2**40) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_sparse_files_are_measured_before_they_are_read(tmp_path: Path) -> None:
    sparse(tmp_path / "t.csv")
    with pytest.raises(InputError, match="more than 1073741824 bytes"):
        read_sheet(str(tmp_path / "t.csv"))
    for name in ("config.yaml", "metrics.csv", "model_card.md"):
        sparse(tmp_path / name)
    for read in (read_settings, read_training):
        with pytest.raises(InputError, match="more than 268435456 bytes"):
            read(tmp_path)
    assert read_facts(tmp_path / "model_card.md") == {}
    for name in ("test_metrics.json", "test_metrics.a.json", "test_metrics.b.json"):
        sparse(tmp_path / name)
    with pytest.raises(OSError, match="more than 268435456 bytes"):
        figure_files(tmp_path)


MEASURED: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows.jsonl of stored maps": (map_files._read_rows, "rows of maps at .*, got more than 268435456 bytes"),
    "names of classes": (lambda path: read_label_space(str(path)), "class names in .*, got more than 4194304 bytes"),
    "--config": (lambda path: read_tree(str(path), "at --config"), "a YAML file .*, got more than 268435456 bytes"),
    "a search space": (lambda path: read_mapping(str(path), "a space", "x"), "a space .*, got more than 268435456 byt"),
    "embeddings.csv": (
        lambda path: read_embeddings(str(path), 3),
        "class_embeddings .*more than 268435456 bytes",
    ),
    "embeddings.npy": (
        lambda path: read_embeddings(str(path), 3),
        "class_embeddings .*more than 268435456 bytes",
    ),
    "metrics.csv": (lambda path: RunCSVLogger(str(path.parent)).experiment, "figures of earlier .*more than 268435456"),
    "predictions.csv": (lambda path: RowFiles(path.parent, {}, []), "--output .*, got more than 8589934592 bytes"),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_sparse_file_where_others_are_read_whole(name: str, tmp_path: Path) -> None:
    read, words = MEASURED[name]
    path = sparse(tmp_path / name.replace(" ", "_"))
    if name == "predictions.csv":
        (tmp_path / "predict.json").write_text("{}")
    with pytest.raises(InputError, match=words):
        read(path)


def test_labels_of_maps_are_bounded_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = map_files.MapsRecord(
        "resnet18", 32, "0", [0.5], [0.5], 8, {}, ["A", "B"], [], [[1, 1, 1]], "32",
        {"train": map_files.SplitRecord(2, 1, {})},
    )  # fmt: skip
    writer = map_files.SplitWriter(str(tmp_path), made, "train")
    writer.prepare()
    writer.finish(f'{{"id": "{at}", "group": "", "subgroup": {{}}}}' for at in range(2))
    assert map_files.MapSplit(str(tmp_path), made, "train").table.labels.shape == (2, 2)
    monkeypatch.setattr(map_files, "MAX_PICTURE", 3, raising=False)
    with pytest.raises(InputError, match=r"at most 3 labels of train at .*, got 2 rows of 2;"):
        map_files.MapSplit(str(tmp_path), made, "train")


def test_yaml_of_nothing_but_a_long_comment(tmp_path: Path) -> None:
    with pytest.raises(yaml_text.YAMLTooLargeError, match="more than 1048576 letters"):
        yaml_text.compose("#" + "x" * 2**20)


def test_names_of_classes_come_as_windows_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffpolyp\r\n\r\nulcer\u2028deep \r\nblood".encode())
    assert read_label_space(str(path)) == ["polyp", "ulcer\u2028deep", "blood"]
    path.write_bytes(b"".join(b"%d\n" % at for at in range(400_000)) + b"399999\n")
    with pytest.raises(InputError, match="got '399999' twice"):  # at once
        read_label_space(str(path))


def test_a_line_of_csv_without_end_is_not_read_whole(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.csv", 2**25)

    def refused() -> None:
        with pytest.raises(csv.Error, match="field limit"):
            list(csv_rows(path))

    assert peak(refused) < 2**24
    (tmp_path / "b.csv").write_bytes(b'a,"b\r\nc"\n"\r",\n')
    assert list(csv_rows(tmp_path / "b.csv")) == [["a", "b\r\nc"], ["\r", ""]]


def test_weights_and_embeddings_that_unpack_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"pos_embed": torch.zeros(1).expand(10**9)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="weights of the size of their file"):
        files.read(str(tmp_path / "w.pth"))
    np.savez_compressed(tmp_path / "e.npz", np.zeros((3, 10**5)))
    monkeypatch.setattr(lp, "MAX_TABLE", 2**20, raising=False)
    with pytest.raises(InputError, match="it unpacks to more than 1048576 bytes"):
        lp.read_embeddings(str(tmp_path / "e.npz"), 3)


# --- pipes -----------------------------------------------------------------------------------------------------------


def test_pipes_are_opened_by_nobody(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    os.symlink(tmp_path / "nothing", tmp_path / "link.png")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30, 3), np.uint8))
    assert short_side(str(tmp_path / name) for name in ("pipe.png", "link.png", "a.png")) == 20  # of `ibca init`
    with pytest.raises(PictureError, match="no regular file"):
        disk_cache._content([str(tmp_path / "a.png"), str(pipe)])
    with pytest.raises(InputError, match="no regular file"):
        hashed_names(Namespace(hash_names=True, hash_key=str(pipe)))
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 8, 8), np.uint8))
    made = npz_pictures.unpack(str(tmp_path / "a.npz"), "x", str(tmp_path), 2**20)
    os.remove(made)
    os.mkfifo(made)
    with pytest.raises(OSError, match="no regular file"):
        npz_pictures.unpack(str(tmp_path / "a.npz"), "x", str(tmp_path), 2**20)


# --- names -----------------------------------------------------------------------------------------------------------


def test_no_warning_is_obeyed_by_the_terminal(tmp_path: Path) -> None:
    for kind in (DataWarning, UserWarning):
        assert "\x1b" not in warning_line("group '\x1b]0;evil\x07p1'", kind, "f.py", 1)
    path = write_dicom(tmp_path / "a.dcm", SMOOTH.astype(np.uint16))
    data = Path(path).read_bytes()
    at = data.index(b"\x28\0\2\0")  # pydicom quotes what no character set is called
    Path(path).write_bytes(data[:at] + b"\x08\0\5\0CS\x08\0\x1b]0;ev\x07 " + data[at:])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_image(path)
    assert said == []


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    write_output(tmp_path / "a.json", '{"file": "bad\udcff.png"}\r\n')
    assert (tmp_path / "a.json").read_bytes() == b'{"file": "bad\\udcff.png"}\r\n'
    with pytest.raises(InputError, match=r"ward\\udcff/1.png"):
        encode(["ward\udcff/1.png"])
