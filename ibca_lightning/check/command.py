"""`ibca check`: reads every row and every picture of an experiment's data, and says what is wrong with them."""

import json
import os
import sys
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.hashed_names import add_hash_options, hashed_names
from ibca_lightning.system.options import OptionParser, require_folder

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.check.findings import Finding

_MARK = "ibca check"
_UNNAMED = "tables that cannot be read"
_FILES = ("check.json", "check.html")
_SHOWN = 5  # findings of one kind on the screen; all of them are in the files


def check(arguments: list[str]) -> int:
    """Print the card of a data set, and write `check.json` and `check.html`.

    Args:
        arguments: Options behind `ibca check`.

    Returns:
        0 where nothing would break or bias training.

    Raises:
        InputError: Otherwise, when everything has been said and written.
    """
    options, experiment = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.check.card import print_card
    from ibca_lightning.check.content import read_contents
    from ibca_lightning.check.findings import find, unread
    from ibca_lightning.check.page import page
    from ibca_lightning.check.summary import cooccurrence, summarise_split
    from ibca_lightning.data.datamodule import MultiLabelDataModule, TableDataModule
    from ibca_lightning.datasets.joined import JoinedDataModule
    from ibca_lightning.run.experiment_data import named_experiment_data

    rename = hashed_names(options)
    data, name = named_experiment_data(experiment)
    if not isinstance(data, MultiLabelDataModule):
        raise InputError("a data module on MultiLabelDataModule", type(data).__name__, "derive it from that class")
    folder = Path(options.output or os.path.join("runs", name, "check"))
    _refuse_others(folder)
    workers = _cores() if options.num_workers is None else options.num_workers
    table = data if isinstance(data, TableDataModule) else None
    sources = {f"{key}/": each for key, each in data.sets.items()} if isinstance(data, JoinedDataModule) else {}
    sources |= {"": table} if table else {}  # by what the names of their groups begin with
    meant = [start for start, each in sources.items() if each.group_overlap == "warn"]
    stopped, classes, contents = None, [], {}
    try:
        with warnings.catch_warnings():
            if len(meant) < len(sources):
                for each in sources.values():  # every overlap is found below, where an error would name the first
                    each.group_overlap = "warn"
                warnings.filterwarnings("ignore", "every (group|picture) in one split only")
            contents = read_contents(data, 0 if workers == 1 else workers, _progress)
        if rename is not None:
            for split in contents.values():
                split.rename = rename
        classes, space = data.class_names, table.space() if table else None
        masks = table.space_masks() if table else None
        findings = find(
            contents,
            classes,
            absent=space.absent if space else (),
            overlap_is_meant=meant,
            image_size=data.image_size,
            mask_bits=masks.bits if masks else (),
        )
    except InputError as error:  # tables that cannot be read: that is then the whole report
        stopped, findings = error, unread(error)
        if rename is not None:  # what is wrong may name pictures and patients: the terminal alone says it
            findings = [replace(each, what=_UNNAMED, fix="see what the command printed") for each in findings[:1]]
    result = {
        "ibca_check": 1,
        "experiment": name,
        "data": type(data).__name__,
        "classes": classes,
        "splits": {split: summarise_split(rows, classes) for split, rows in contents.items()},
        "cooccurrence": cooccurrence(contents),
        "errors": sum(finding.level == "error" for finding in findings),
        "warnings": sum(finding.level == "warning" for finding in findings),
        "findings": [vars(finding) for finding in findings],
    }
    print_card(result)
    for line in _lines(findings):
        sys.stdout.write(f"{line}\n")
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _FILES[0], json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    _write(folder / _FILES[1], page(result, {} if options.no_images else contents))
    sys.stdout.write(f"wrote {folder / _FILES[0]} and {folder / _FILES[1]}\n")
    if stopped:
        raise stopped
    if result["errors"]:
        kinds = Counter(finding.kind for finding in findings if finding.level == "error")
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise InputError("data without errors", f"{result['errors']} ({found})", f"see {folder / _FILES[1]}")
    return 0


def _lines(findings: "Sequence[Finding]") -> Iterable[str]:
    """Every finding in one line, of each kind the first ones."""
    seen: Counter[tuple[str, str]] = Counter()
    total = Counter((finding.level, finding.kind) for finding in findings)
    for finding in findings:
        key = (finding.level, finding.kind)
        seen[key] += 1
        if seen[key] <= _SHOWN:
            yield str(finding)
        elif seen[key] == _SHOWN + 1:
            yield f"{finding.level}: {finding.kind}: {total[key] - _SHOWN} more, all of them in {_FILES[0]}"
    if not findings:
        yield "nothing found"


def _refuse_others(folder: Path) -> None:
    """Refuse to write over what is no earlier check.

    Raises:
        InputError: Where there is such a file, or the folder is none.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} to be a folder", "a file", "give another --output")
    for name in _FILES:
        path = folder / name
        if path.exists() and _MARK.replace(" ", "_") not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
            raise InputError(f"a file of ibca check at {path}, to be replaced", "another", "give another --output")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _progress(batches: Any, split: str) -> Iterable[Any]:
    from rich.console import Console
    from rich.progress import track

    return track(batches, f"check {split}", console=Console(stderr=True), disable=not sys.stderr.isatty())


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """Our own options, and those that describe the data."""
    parser = OptionParser(
        "ibca check",
        "options of `ibca check`",
        "Read every row and every picture of the data of an experiment, and say what is wrong with them; train "
        "nothing. Exit 2 where anything would break or bias training. The data are given as for `ibca fit`: --config "
        "FILE, --data.root DIR, --data.KEY VALUE, ...",
    )
    parser.allow_abbrev = False  # the other options are those of fit
    parser.add_argument(
        "--output", help="Folder for check.json and check.html; default runs/EXPERIMENT/check. An earlier check there "
        "is replaced, nothing else.",
    )  # fmt: skip
    parser.add_argument(
        "--no_images", action="store_true", help="No thumbnails in check.html, which then holds no patient's picture."
    )
    add_hash_options(parser)
    parser.add_argument("--num_workers", type=int, help="Processes that read (default: one for each core).")
    options, others = parser.parse_known_args(arguments)
    if options.num_workers is not None and options.num_workers < 0:
        raise InputError("--num_workers of at least 0", options.num_workers, "give another value")
    if options.output is not None:
        require_folder(options.output)
    return options, others
