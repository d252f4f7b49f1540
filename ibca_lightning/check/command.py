"""`ibca check`: reads every row and every picture of an experiment's data, and says what is wrong with them."""

import json
import os
import shlex
import sys
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.run.command_line.at_once import refuse_at_once
from ibca_lightning.run.command_line.light_imports import late_transformers, light_imports
from ibca_lightning.system.errors import DataWarning, InputError
from ibca_lightning.system.hashed_names import add_hash_options
from ibca_lightning.system.options import OptionParser, require_folder
from ibca_lightning.system.output import write_out
from ibca_lightning.system.whole_files import write_output

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.check.content import Contents
    from ibca_lightning.check.findings import Finding
    from ibca_lightning.check.folder import FolderCount
    from ibca_lightning.check.near_copies import NearCopy
    from ibca_lightning.data.base import MultiLabelDataModule

_SHOWN = 5  # findings of one kind on the screen; all of them are in the files


def check(arguments: list[str]) -> int:
    """Print the card of a data set, and write `check.json` and `check.html`; the options stand behind `ibca check`.

    Raises:
        InputError: Where anything would break or bias training, when everything has been said and written.
    """
    if any(argument.partition("=")[0] == "--suspects" for argument in arguments):
        from ibca_lightning.check.suspects import suspects

        return int(suspects(arguments))
    options, of_data = _parse(arguments)
    refuse_at_once("check", of_data)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    with light_imports(), late_transformers():
        from ibca_lightning.check.card import print_card
        from ibca_lightning.check.findings import unread
        from ibca_lightning.check.page import GENERATOR, page
        from ibca_lightning.check.summary import (
            cooccurrence,
            folder_summary,
            found_associations,
            size_histograms,
            summarise_split,
        )
        from ibca_lightning.data.base import MultiLabelDataModule
        from ibca_lightning.run.experiment_data import experiment
        from ibca_lightning.system.pages.html_page import refuse_other

    data, name, _ = experiment(of_data)
    if not isinstance(data, MultiLabelDataModule):
        raise InputError("a data module on MultiLabelDataModule", type(data).__name__, "derive it from that class")
    hashed = data.rename is not str
    folder = Path(options.output or os.path.join("runs", name, "check"))
    require_folder(str(folder))
    card, html = folder / "check.json", folder / "check.html"
    for file in (card, html):
        refuse_other(file, GENERATOR)
    stopped, classes = None, []
    contents: dict[str, Contents] = {}
    near: list[NearCopy] = []
    counted: FolderCount | None = None
    try:
        contents, findings, near, counted = _judged(data, options.num_workers)
        classes = data.class_names
    except InputError as error:  # tables that cannot be read: that is then the whole report
        stopped, findings = error, unread(error)
        if hashed:  # what is wrong may name pictures and patients: the terminal alone says it
            what, fix = "tables that cannot be read", "see what the command printed"
            findings = [replace(each, what=what, fix=fix) for each in findings[:1]]
    errors = Counter(finding.kind for finding in findings if finding.level == "error")
    result = {
        GENERATOR: 1,
        "experiment": name,
        "data": type(data).__name__,
        "classes": classes,
        "group_column": getattr(data, "group_column", None),
        "splits": {split: summarise_split(rows, classes) for split, rows in contents.items()},
        "cooccurrence": cooccurrence(contents),
        "picture_sizes": size_histograms(contents),
        "associations": [each._asdict() for each in found_associations(contents, classes)],
        "folder": folder_summary(counted),
        "errors": errors.total(),
        "warnings": len(findings) - errors.total(),
        "findings": [finding.plain() for finding in findings],
    }
    print_card(result)
    write_out("".join(f"{line}\n" for line in _lines(findings)))
    text = json.dumps(result, indent=1, ensure_ascii=False)
    shown = page(result, {}) if options.no_images else page(result, contents, near, findings)
    write_output(card, f"{text}\n")
    write_output(html, shown)
    off_line = "  (off line, weights that were never fetched: --model.checkpoint_path FILE)"
    following = f"next: ibca fit {shlex.join(of_data)}{off_line}\n" * (not errors)
    write_out(f"wrote {card} and {html}\n{following}")
    if stopped:
        raise stopped
    if errors:
        found = ", ".join(f"{count} {kind}" for kind, count in errors.items())
        raise InputError("data without errors", f"{errors.total()} ({found})", f"see {html}")
    return 0


def _judged(
    data: "MultiLabelDataModule", num_workers: int
) -> "tuple[dict[str, Contents], list[Finding], list[NearCopy], FolderCount | None]":
    """What the data hold, what is wrong with them, what is nearly the same, and what lies beside the pictures."""
    from ibca_lightning.check.content import read_contents
    from ibca_lightning.check.findings import find
    from ibca_lightning.check.folder import count_folder
    from ibca_lightning.check.near_copies import near_copies
    from ibca_lightning.data.datamodule import TableDataModule
    from ibca_lightning.data.tables.doubts import Doubt
    from ibca_lightning.data.tables.splits import SpellingWarning
    from ibca_lightning.datasets.csv_table import CSVDataModule
    from ibca_lightning.datasets.joined import JoinedDataModule

    table = data if isinstance(data, TableDataModule) else None
    sources = {f"{key}/": each for key, each in data.sets.items()} if isinstance(data, JoinedDataModule) else {}
    sources |= {"": table} if table else {}  # by what the names of their groups begin with
    marks, data.marks = data.marks, None  # pictures are judged as they are
    meant = [start for start, each in sources.items() if each.group_overlap == "warn"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        warnings.simplefilter("ignore", SpellingWarning)  # as of every overlap, found below
        if len(meant) < len(sources):
            for each in sources.values():  # every overlap is found below, where an error would name the first
                each.group_overlap = "warn"
            warnings.filterwarnings("ignore", "every (group|picture) in one split only")
        contents = read_contents(data, 0 if num_workers == 1 else num_workers, _progress)
    for split in contents.values():
        split.rename = data.rename
    space, masks = (table.space(), table.space_masks()) if table else (None, None)
    data.marks = marks
    fix = "leave it out for figures of the data as they are"
    instruments = [Doubt("marks", line, fix) for line in data.instruments()]
    texts = [str(one.message).rpartition("; ") for one in said if issubclass(one.category, DataWarning)]
    for message in dict.fromkeys(str(one.message) for one in said if not issubclass(one.category, DataWarning)):
        warnings.warn(message, stacklevel=2)
    if texts and data.rename is not str:  # they may name patients, as in `check`
        texts = [("tables that may be meant otherwise", "", "see what the command says without --hash_names")]
    doubts = [Doubt("tables", what, fix) for what, _, fix in texts] + data.doubts() + instruments
    if data.rename is not str:
        doubts = [doubt._replace(example="") for doubt in doubts]
    near, counted = near_copies(contents), count_folder(data) if isinstance(data, CSVDataModule) else None
    findings = find(
        contents, data.class_names, absent=space.absent if space else (), overlap_is_meant=meant,
        image_size=data.image_size, mask_bits=masks.bits if masks else (), doubts=doubts, near=near,
        folder=counted, groups_wanted=isinstance(data, CSVDataModule) and not data.no_groups,
    )  # fmt: skip
    return contents, findings, near, counted


def _lines(findings: "Sequence[Finding]") -> Iterable[str]:
    """Every finding in one line, of each kind the first ones."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(f"{finding.level}: {finding.kind}", []).append(finding)
    for kind, own in kinds.items():
        yield from map(str, own[:_SHOWN])
        if len(own) > _SHOWN:
            yield f"{kind}: {len(own) - _SHOWN} more, all of them in check.json"
    if not findings:
        yield "nothing found"


def _progress(batches: Any, split: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(batches, f"check {split}", console=Console(stderr=True), disable=not sys.stderr.isatty())


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """Our own options, and those that describe the data."""
    parser = OptionParser(
        "ibca check",
        "options of `ibca check`",
        "Read every row and every picture of the data of an experiment, and say what is wrong with them; train "
        "nothing. Exit 2 where anything would break or bias training. The data are given as for `ibca fit`: --config "
        "FILE, --data.root DIR, --data.KEY VALUE, ...",
        (
            "ibca check ward7.yaml                            what ibca init has written",
            "ibca check --config endo --data.root data/endo   a named recipe, its data in a folder",
            "ibca check ward7.yaml --no_images --hash_names   a page without pictures and names, to hand on",
            "ibca check --suspects runs/folds/ibca-0          labels in doubt, behind ibca sweep --folds 5",
        ),
    )
    parser.allow_abbrev = False  # the other options are those of fit
    parser.add_argument(
        "--output", help="Folder for check.json and check.html; default runs/EXPERIMENT/check, where EXPERIMENT is "
        "the name of the YAML. An earlier check there is replaced, nothing else.",
    )  # fmt: skip
    parser.add_argument(
        "--no_images", action="store_true", help="No thumbnails in check.html, which then holds no patient's picture."
    )
    parser.add_argument(
        "--suspects", nargs="+", action="extend", metavar="RUN",
        help="Instead of all that: labels that out-of-fold predictions of these runs (ibca sweep --folds) "
        "contradict, in suspects.csv. Takes --output and --shown.",
    )  # fmt: skip
    add_hash_options(parser)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--num_workers", type=int, default=cores, help="Processes that read (default: one for each core)."
    )
    options, others = parser.parse_known_args(arguments)
    if options.num_workers < 0:
        raise InputError("--num_workers of at least 0", options.num_workers, "give another value")
    # Names are hashed by the experiment, whose own configuration may ask for it.
    others += ["--hash_names"] * options.hash_names + [f"--hash_key={options.hash_key}"] * bool(options.hash_key)
    return options, others
