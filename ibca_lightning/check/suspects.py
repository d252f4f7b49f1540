"""`ibca check --suspects`: labels that models which did not learn from them contradict."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ibca_lightning.check.page import SIDE, Thumb
from ibca_lightning.data.pictures.drawing import fitted
from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.metrics.columns import excel_safe
from ibca_lightning.run.run_settings import picture_folders, read_settings
from ibca_lightning.run.tested_figures import OUT_OF_FOLD, first_training
from ibca_lightning.run.tested_samples import Tested, read_tested
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_folder, require_least
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.pages.html_page import document, jpeg, refuse_other
from ibca_lightning.system.strangers import csv_rows, told
from ibca_lightning.system.terminal.table import terminal_table
from ibca_lightning.system.whole_files import write_csv, write_text
from ibca_lightning.use.model_options import add_excel_safe
from ibca_lightning.use.picture_list import inside

GENERATOR = "ibca_check_--suspects"
_HEADER = ("id", "class", "label", "probability", "doubt")


def suspects(arguments: list[str]) -> int:
    """Print the labels most in doubt, and write all that are into `suspects.csv`; the options stand behind `check`."""
    parser = OptionParser(
        "ibca check",
        "ibca check --suspects RUN [RUN ...] [--output DIR]",
        "Labels that are contradicted by models which did not learn from them, those most in doubt first. Look at the "
        "pictures before you change a label.",
    )
    parser.add_argument("--suspects", nargs="+", action="extend", required=True, metavar="RUN",
                        help="Folders of ibca sweep --folds (OUTPUT/HEAD-SEED); of several, the mean.")  # fmt: skip
    parser.add_argument("--output", help="Folder for suspects.csv and suspects.html (default: the first RUN).")
    parser.add_argument("--shown", type=int, default=20, help="Rows on the screen, pictures on the page (default 20).")
    parser.add_argument("--images", help="Folder of the pictures; default that of the RUN's config.yaml.")
    parser.add_argument("--no_images", action="store_true", help="No suspects.html, which has the pictures.")
    add_excel_safe(parser)
    options = parser.parse_args(arguments)
    require_least(options, shown=1)
    folder = Path(options.output or options.suspects[0])
    require_folder(os.fspath(folder), "--output")
    table, html = folder / "suspects.csv", folder / "suspects.html"
    refuse_other(html, GENERATOR)
    runs = [Path(run) for run in options.suspects]
    tested = [_pooled(run) for run in runs]
    first = tested[0]
    for run, own in zip(runs, tested, strict=True):
        if (own.ids, own.class_names) != (first.ids, first.class_names):
            raise InputError(f"the pictures and classes of {runs[0]} in {run}", "others", "give runs on the same data")
    wrong = {key for run in runs for key in _made_wrong(run)}
    made = torch.tensor([[(picture, name) in wrong for name in first.class_names] for picture in first.ids])
    labels = torch.where(made, 1 - first.labels, first.labels)
    probability = torch.stack([own.probabilities for own in tested]).mean(0)
    doubt = doubts(labels, probability)
    order = doubt.flatten().argsort(descending=True, stable=True)[: int((doubt > 0).sum())]
    listed = [divmod(place, len(first.class_names)) for place in order.tolist()]
    rows = [
        (first.ids[at[0]], first.class_names[at[1]], int(labels[at]), f"{probability[at]:.4f}", f"{doubt[at]:.4f}")
        for at in listed
    ]
    cell = excel_safe if options.excel_safe else str
    write_csv(table, [_HEADER, *((cell(name), cell(label), *more) for name, label, *more in rows)])
    title = f"{len(rows)} of {int((labels >= 0).sum())} labels are in doubt"
    write_out(terminal_table([list(_HEADER), *(list(map(str, row)) for row in rows[: options.shown])], title))
    if wrong:
        write_out(_precision([bool(made[place]) for place in listed], int(made.sum())))
    if options.no_images:
        html.unlink(missing_ok=True)  # of an earlier call, with patients' pictures
    else:
        pictures = options.images or picture_folders(read_settings(first_training(runs[0])))[0]
        thumbs = list(_thumbs(pictures, rows[: options.shown])) if pictures else []
        missing = min(len(rows), options.shown) - len(thumbs)
        where = f"below {pictures}" if pictures else f"of which the config.yaml of {runs[0]} says where they lie"
        note = f"not shown: {missing} suspects that are no pictures {where}; --images DIR has them" if missing else ""
        page = document(
            "check/suspects.html.j2", GENERATOR, ["check/page.css"], title=title, pictures=thumbs, note=note
        )
        write_text(html, page)
        write_err(f"note: {note}\n" if note else "")
    write_out(f"wrote {table}{'' if options.no_images else f' and {html}'}\n")
    return 0


def _thumbs(folder: str, rows: Sequence[tuple[str, str, int, str, str]]) -> Iterator[Thumb]:
    """The pictures of suspects, as far as they can be read, with what is said of each."""
    for name, label, given, probability, _ in rows:
        with suppress(InputError):
            pixels = PictureFile(os.path.join(folder, inside(name))).pixels(SIDE)
            said = f"labelled {label}" if given else f"not labelled {label}"
            yield Thumb(name, f"{said}, p = {float(probability):.2f}", name, jpeg(fitted(pixels, SIDE)))


def doubts(labels: Tensor, probability: Tensor) -> Tensor:
    """Say how far each probability lies beyond what speaks for the other label, on average over its class.

    For a label 0 that is p less the mean p of the positives, for a label 1 the mean p of the negatives less p: the
    threshold of a class is its own, so that a rare one, whose probabilities are low, is judged by its own scale.
    Source: confident learning, Northcutt et al. 2021, arXiv 1911.00068; here for each label by itself.

    Args:
        labels: (N, L) in {0, 1, -1}.
        probability: (N, L), of models that did not learn from the picture.

    Returns:
        (N, L), positive where the label is in doubt; minus infinity where nothing can be said.
    """
    positives, negatives = (torch.where(labels == value, probability, torch.nan).nanmean(0) for value in (1, 0))
    beyond = torch.where(labels == 1, negatives - probability, probability - positives)
    return torch.where(labels >= 0, beyond, torch.nan).nan_to_num(nan=-torch.inf)


def _pooled(run: Path) -> Tested:
    if not run.is_dir():
        raise InputError(f"a run folder at {run}", "a file" if run.exists() else "nothing there", "correct the path")
    if not (run / f"test_predictions.{OUT_OF_FOLD}.csv").is_file():
        fix = "train with ibca sweep --folds 5, and give OUTPUT/HEAD-SEED"
        raise InputError(f"out-of-fold predictions in {run}, as folds of a sweep leave them", "none", fix)
    return read_tested(run, OUT_OF_FOLD)


def _made_wrong(run: Path) -> set[tuple[str, str]]:
    """Picture and class of the labels that `data.label_noise` made wrong in any fold."""
    found: set[tuple[str, str]] = set()
    for file in sorted(run.glob("fold-*/label_noise*.csv")):
        try:
            names, *rows = [*csv_rows(file)] or [[]]
            if not {"id", "class"} <= {*names} or any(len(row) != len(names) for row in rows):
                raise ValueError("no columns id and class, or not in each row")
            tables = (dict(zip(names, row, strict=True)) for row in rows)
            found |= {(row["id"], row["class"]) for row in tables}
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(f"label_noise.csv as ibca fit writes it at {file}", told(error), "restore it") from error
    return found


def _precision(hits: Sequence[bool], made: int) -> str:
    """How many of the first suspects are labels that were made wrong on purpose."""
    depths = sorted({depth for depth in (10, 20, 50, 100, made) if 0 < depth <= len(hits)})
    shares = ", ".join(f"{sum(hits[:depth]) / depth:.2f} of the first {depth}" for depth in depths)
    return f"of {made} labels that data.label_noise made wrong: {shares or 'none in doubt'}\n"
