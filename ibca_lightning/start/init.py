"""`ibca init`: from a table and a folder of pictures to a YAML that `ibca check` and `ibca fit` take."""

import os
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ibca_lightning.data.tables.columns import rows_by_split
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.picture_index import PictureIndex
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.datasets.layouts.table_file import read_any
from ibca_lightning.search.gpus import cores
from ibca_lightning.start.columns import Column, Role, look
from ibca_lightning.start.experiment_yaml import data_options, written
from ibca_lightning.start.recipe import Recipe, choose, has_gpu, short_side
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_out
from ibca_lightning.system.whole_files import write_text

_ANSWERS: dict[str, Role] = {
    "none": "left out",
    "label": "label",
    "group": "group",
    "subgroup": "subgroup",
    "split": "split",
}
_MEASURED = 50  # pictures whose headers tell the size
_GROUPS = 10  # groups below which splits by group are coarse


def init(arguments: list[str]) -> int:
    """Look at a table and its pictures, say what is found, write a YAML; the options stand behind `ibca init`.

    Raises:
        InputError: If the output is there, or table and pictures do not go together.
    """
    parser = OptionParser(
        "ibca init",
        "ibca init --table TABLE --images FOLDER",
        "Look at a table and a folder of pictures, say what each column is taken for and why, and write a YAML for "
        "ibca check and ibca fit. On a terminal it asks where it is unsure.",
    )
    parser.add_argument("--table", required=True, help="CSV, TSV, XLSX or Parquet: a row for each picture or case.")
    parser.add_argument("--images", required=True, help="The folder of the pictures, or of folders with them.")
    parser.add_argument("--output", help="The YAML; default: named after the table, in this folder. Never replaced.")
    parser.add_argument("--yes", action="store_true", help="Ask nothing; what is unsure is said and written down.")
    options = parser.parse_args(arguments)
    output = Path(options.output or f"{Path(options.table).name.partition('.')[0]}.yaml")
    if os.path.lexists(output):
        raise InputError(f"no file at {output} yet", "one", "give another --output, or remove it yourself")
    if not os.path.isdir(options.images):
        got = "a file" if os.path.exists(options.images) else "nothing there"
        raise InputError(f"a folder of pictures (--images) at {options.images}", got, "correct the path")
    sheet, index = read_any(options.table), PictureIndex(options.images)
    if not index.files:
        raise InputError(f"pictures in and below {options.images}", "none", "give another folder with --images")
    columns = look(sheet, index)
    if not options.yes and _on_terminal():
        columns = _asked(sheet, index, columns)
    if not any(column.role == "label" for column in columns):
        raise InputError(
            f"a column with findings in {sheet.file} (0 and 1, yes and no, names of findings, lists of them)",
            "; ".join(f"'{column.name}' {column.why}" for column in columns), "add one, or correct its values",
        )  # fmt: skip
    splits = [name for c in columns if c.role == "split" for name in rows_by_split(sheet, c.name)]
    doubts = [f"'{column.name}': {column.doubt}" for column in columns if column.doubt] + _of_all(sheet, columns)
    recipe = _recipe(sheet, index, columns)
    search, missing = _names(sheet, index, columns)
    data, reasons = data_options(
        columns, options.table, options.images, find_images=search, missing=missing, splits=splits
    )
    head = (
        f"Written by ibca init for {len(sheet)} rows of {options.table}; change what you like.",
        f"Next: ibca check --config {output}; then ibca fit --config {output}",
    )
    text = written(head, data, reasons, recipe, doubts)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, text)
    write_out(_shown(columns))
    write_out("".join(f"unsure: {doubt}\n" for doubt in doubts))
    classes = [name for column in columns if column.form for name in column.form.positives]
    write_out(f"{len(classes)} classes: {', '.join(classes)}\n" + _chosen(recipe))
    write_out(f"wrote {output}; next: ibca check --config {output}\n")
    return 0


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _asked(sheet: Sheet, index: PictureIndex, columns: list[Column]) -> list[Column]:
    """Show what is unsure, ask for each column once, and look again."""
    write_out(_shown(columns))
    forced: dict[str, Role] = {}
    for column in [column for column in columns if column.doubt and column.role != "picture"]:
        write_out(f"'{column.name}': {column.doubt}\n")
        while True:
            try:
                answer = input(f"  taken for {column.role}; Enter keeps it, or {', '.join(_ANSWERS)}: ").strip().lower()
            except EOFError:
                answer = ""
            if answer in _ANSWERS:
                forced[column.name] = _ANSWERS[answer]
            if answer in ("", *_ANSWERS):
                break
    return look(sheet, index, forced) if forced else columns


def _of_all(sheet: Sheet, columns: Sequence[Column]) -> list[str]:
    """What is unsure beside the single columns."""
    doubts = []
    group = next((column.name for column in columns if column.role == "group"), None)
    pictures = [column.name for column in columns if column.role == "picture"]
    if len(pictures) == 1 and (blank := sum(map(is_blank, sheet.column(pictures[0])))):
        doubts.append(f"{blank} rows name no picture in '{pictures[0]}': they are left out")
    if group is None and len(pictures) == 1:
        doubts.append(
            "no column says which pictures are of one patient: name it in group_column, or write group_column: none"
        )
    if group is not None and (count := len(set(sheet.column(group)))) < _GROUPS:
        doubts.append(f"'{group}' has {count} values only: splits by group will be coarse")
    return doubts


def _names(sheet: Sheet, index: PictureIndex, columns: Sequence[Column]) -> tuple[bool, bool]:
    """Whether pictures are named otherwise than by their paths, and whether some are not there."""
    pictures = [column.name for column in columns if column.role == "picture"]
    names = {text for name in pictures for text in sheet.column(name) if len(pictures) == 1 or not is_blank(text)}
    found = {name: index.find(name) for name in names}
    return any(files and files != [name] for name, files in found.items()), not all(found.values())


def _recipe(sheet: Sheet, index: PictureIndex, columns: Sequence[Column]) -> Recipe:
    pictures = sum(column.role == "picture" for column in columns) * len(sheet)
    positives = [count for column in columns if column.form for count in column.form.positives.values()]
    looked = index.files[:: max(1, len(index.files) // _MEASURED)]
    side = short_side(os.path.join(index.folder, name) for name in looked)
    return choose(round(0.64 * pictures), side, min(positives) / len(sheet), has_gpu(), cores())


def _shown(columns: Sequence[Column]) -> str:
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("column", overflow="fold", max_width=30)
    table.add_column("taken for", no_wrap=True)
    table.add_column("why", overflow="fold")
    for column in columns:
        table.add_row(*(Text(text) for text in (column.name, column.role, column.why)))
    text = StringIO()
    Console(file=text, width=Console().width).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _chosen(recipe: Recipe) -> str:
    return (
        f"training: {recipe.backbone}, pictures of {recipe.image_size} px, {recipe.max_epochs} epochs of batches of "
        f"{recipe.batch_size} (why: see the YAML)\n"
    )
