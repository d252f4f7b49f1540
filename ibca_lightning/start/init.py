"""`ibca init`: from a table and a folder of pictures to a YAML that `ibca check` and `ibca fit` take."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ibca_lightning.data.tables.columns import rows_by_split
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.datasets.layouts.picture_index import PictureIndex
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.search.gpus import cores
from ibca_lightning.start.columns import Answer, Column, look
from ibca_lightning.start.experiment_yaml import TEST_FRACTION, data_options, written
from ibca_lightning.start.label_form import form_of
from ibca_lightning.start.recipe import Recipe, choose, has_gpu, has_weights, short_side
from ibca_lightning.start.tables_beside import tables_beside
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_out
from ibca_lightning.system.whole_files import write_text

_ANSWERS: dict[str, tuple[Answer, str]] = {
    "none": ("left out", "of no use here"),
    "label": ("label", "findings: 0 and 1, words, names, numbers above 0"),
    "each": ("each", "findings: each value is a class"),
    "ordered": ("ordered", "a grade: a class for each grade and all above it (1+, 2+, ...)"),
    "count": ("count", "findings: one class, present where the number is above 0"),
    "unknown": ("unknown", "findings, and a blank is unknown, not absent"),
    "group": ("group", "patients: no value in two splits"),
    "subgroup": ("subgroup", "sex, site, device, ...: figures for each value"),
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
        (
            "ibca init --table data/ward7/findings.xlsx --images data/ward7/photos",
            "ibca init --table findings.csv --images photos --output ward7.yaml --yes",
        ),
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
    write_out(_shown(columns))
    told: list[str] = []
    if not options.yes and _on_terminal():
        unsure = [column for column in columns if column.doubt and column.role != "picture"]
        told = [column.asked for column in unsure]
        before, columns = columns, look(sheet, index, _asked(sheet, unsure))
        if changed := [column for column in columns if column not in before]:
            write_out(_shown(changed))
    if not any(column.role == "label" for column in columns):
        raise InputError(
            f"a column with findings in {sheet.file} (0 and 1, yes and no, names of findings, lists of them)",
            "; ".join(f"'{each.name}' {each.told}" + f" ({each.doubt})" * bool(each.doubt) for each in columns),
            "add one, or correct its values",
        )
    splits = {split: rows for c in columns if c.role == "split" for split, rows in rows_by_split(sheet, c.name).items()}
    found = {} if splits else tables_beside(options.table, sheet.header)
    beside = {split: files[0] for split, files in found.items()}
    doubts = [column for column in columns if column.doubt]
    others = _of_all(sheet, columns)
    others += [
        f"not used: {file}, as {beside[split]} is taken for {split}" for split in found for file in found[split][1:]
    ]
    files = _files(sheet, index, columns)
    recipe = _recipe(files, index, columns, splits or dict.fromkeys(beside, ()))
    data, reasons = data_options(
        columns, options.table, options.images, splits=[*splits], beside=beside,
        find_images=any(found not in ("", text) for texts in files for text, found in texts.items()),
        missing=any(not found for texts in files for found in texts.values()),
    )  # fmt: skip
    head = (
        f"Written by ibca init for {len(sheet)} rows of {options.table}; change what you like.",
        f"Next: ibca check --config {output}; then ibca fit --config {output}",
    )
    quiet = [f"'{column.name}': {column.doubt}" for column in doubts]  # without an example, which may name a patient
    text = written(head, data, reasons, recipe, [*quiet, *others])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, text)
    unasked = [column.asked for column in doubts if column.asked not in told]
    write_out("".join(f"unsure: {doubt}\n" for doubt in (*unasked, *others)))
    write_out("".join(f"{split}: {file}, found beside {options.table}\n" for split, file in beside.items()))
    classes = [name for column in columns if column.form for name in column.form.positives]
    write_out(f"{len(classes)} class{'es' * (len(classes) > 1)}: {', '.join(classes)}\n" + _chosen(recipe))
    write_out(f"wrote {output}; next: ibca check --config {output}\n")
    return 0


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _asked(sheet: Sheet, unsure: Sequence[Column]) -> dict[str, Answer]:
    """Ask for each column that is unsure what it is, and return what it is instead."""
    answers: dict[str, Answer] = {}
    write_out("".join(f"  {word:<9} {what}\n" for word, (_, what) in _ANSWERS.items() if unsure))
    for column in unsure:
        write_out(f"{column.asked}\n")
        while True:
            answer = _typed(f"  taken for {column.role}; Enter keeps it, or {', '.join(_ANSWERS)}: ").lower()
            if answer in ("", *_ANSWERS):
                break
            write_out(f"'{answer}' is none of these words\n")
        if answer == "ordered":
            answers[column.name] = _grades(column.name, sheet.column(column.name))
        elif answer:
            answers[column.name] = _ANSWERS[answer][0]
    return answers


def _grades(name: str, texts: Sequence[str]) -> Answer:
    """Ask for the order of grades that are no numbers, until it fits the column."""
    form = form_of(name, texts, "ordered")
    if form is None or form.listed is None or form.listed.ordered:
        return "ordered"
    known = ", ".join([*(grade.removeprefix(f"{name} ") for grade in form.positives), *form.rare])
    while typed := _typed(f"  {known}: put them in order, from the lowest; Enter makes each a class: "):
        grades = tuple(grade.strip() for grade in typed.split(","))
        form = form_of(name, texts, "ordered", grades)
        if form is not None and form.listed is not None and form.listed.ordered:
            return grades
    return "each"


def _typed(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


def _of_all(sheet: Sheet, columns: Sequence[Column]) -> list[str]:
    """What is unsure beside the single columns."""
    doubts = []
    group = next((column.name for column in columns if column.role == "group"), None)
    pictures = [column.name for column in columns if column.role == "picture"]
    if len(pictures) == 1 and (blank := sum(map(is_blank, sheet.column(pictures[0])))):
        doubts.append(f"rows without a name in '{pictures[0]}', left out: {blank}")
    if group is None and len(pictures) == 1:
        doubts.append(
            "no column says which pictures are of one patient: name it in group_column, or write group_column: none"
        )
    if group is not None and (count := len(set(sheet.column(group)))) < _GROUPS:
        doubts.append(f"'{group}' has {count} values only: splits by group will be coarse")
    return doubts


def _files(sheet: Sheet, index: PictureIndex, columns: Sequence[Column]) -> list[dict[str, str]]:
    """For each row the file of each picture by what the table calls it; blank where there is none."""
    pictures = [sheet.column(column.name) for column in columns if column.role == "picture"]
    found = [{text: next(iter(files), "") for text, files in index.find(texts).items()} for texts in pictures]
    rows = zip(*pictures, strict=True)
    return [
        {text: found[at][text] for at, text in enumerate(texts) if len(pictures) == 1 or not is_blank(text)}
        for texts in rows
    ]


def _recipe(
    files: Sequence[Mapping[str, str]],
    index: PictureIndex,
    columns: Sequence[Column],
    splits: Mapping[str, Collection[int]],
) -> Recipe:
    rows = splits.get("train", range(len(files)))
    pictures = sum(bool(file) for row in rows for file in files[row].values())
    share = 1 - 0.2 * ("val" not in splits) - TEST_FRACTION * ("test" not in splits)
    positives = [count for column in columns if column.form for count in column.form.positives.values()]
    looked = index.files[:: max(1, len(index.files) // _MEASURED)]
    side = short_side(os.path.join(index.folder, name) for name in looked)
    return choose(round(share * pictures), side, min(positives) / len(files), has_gpu(), cores())


def _shown(columns: Sequence[Column]) -> str:
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("column", overflow="fold", max_width=30)
    table.add_column("taken for", no_wrap=True)
    table.add_column("why", overflow="fold")
    for column in columns:
        table.add_row(*(Text(text) for text in (column.name, column.role, column.told)))
    text = StringIO()
    Console(file=text, width=Console().width).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _chosen(recipe: Recipe) -> str:
    weights = "" if has_weights(recipe.backbone) else (
        f"the weights of {recipe.backbone} are not on this machine: ibca fit fetches them once; off line, give it "
        "--model.checkpoint_path FILE, or --model.pretrained false to learn without\n"
    )  # fmt: skip
    return (
        f"training: {recipe.backbone}, pictures of {recipe.image_size} px, {recipe.max_epochs} epochs of batches of "
        f"{recipe.batch_size} (why: see the YAML)\n{weights}"
    )
