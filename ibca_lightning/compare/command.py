"""`ibca compare RUN RUN ...`: the test figures of several runs in one table, Markdown and CSV.

The figures and intervals are those of `test_metrics*.json`; only what is asked for by `--reference`, `--without` and
`--cost` is computed. With one of them, or with `--per_class`, a table with one row a method stands first.
"""

import json
import os
import re
import statistics
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ibca_lightning.compare import method_rows as methods
from ibca_lightning.run.tested_figures import CLASS_AP, class_precisions, figure_files, read_figures
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.strangers import regular, told
from ibca_lightning.system.terminal_table import terminal_table
from ibca_lightning.system.whole_files import write_csv, write_whole
from ibca_lightning.system.yaml_text import load
from ibca_lightning.use.model_options import add_trust

_FAITHFULNESS = ("deletion", "insertion", "deletion_gain", "insertion_gain")  # of faithfulness.json, where it is there
_COLUMNS = 8  # of a table on the terminal; the files have all
_LONG = 20  # letters of a name that is too long to stand twice in a line
_WANTED = ("mAP", "AUROC", "CF1", "OF1", "ECE", "attention_gain")  # first of them


class Row(NamedTuple):
    """One test set of one run: its figures and their intervals by name, `AP/<class>` where it was asked for, too.

    `method` is what the run's configuration says without its seeds: equal for runs that differ in these alone.
    """

    run: Path
    test_set: str
    method: str
    seed: int | None
    figures: dict[str, float | None]
    intervals: dict[str, list[float] | None]


def compare(arguments: list[str]) -> int:
    """Print the table, and write it with `--output`; the options stand behind `ibca compare`."""
    options = _parse(arguments)
    runs = [run for folder in options.runs for run in _runs_below(Path(folder))]
    rows = [row for run in runs for row in read_run(run, options.per_class)]
    _say_copies(rows)
    by_run = table_rows(rows, options.figures)  # refuses unknown figures before anything is computed
    files = {"compare.csv": list(table(rows))}
    by_method: list[tuple[list[list[str]], str]] = []
    if options.reference or options.without or options.cost or options.per_class:
        by_method, files["methods.csv"] = _methods(rows, options)
    where = "compare.md, which --output DIR writes"
    if options.output:
        folder = Path(options.output)
        where = str(folder / "compare.md")
        parts = [methods.markdown(own) + (f"\n{said}" if said else "") for own, said in by_method]
        text = "\n".join([*parts, methods.markdown(by_run, names=2)])
        write_whole(folder / "compare.md", lambda path: path.write_text(text, encoding="utf-8"))
        for name, lines in files.items():
            write_whole(folder / name, partial(write_csv, rows=lines))
    start = os.path.commonpath([os.path.dirname(os.path.abspath(run)) for run in runs])
    short = [[os.path.relpath(name, start) if name in map(str, runs) else name, *cells] for name, *cells in by_run]
    write_out("\n".join(_shown(own, options, where) + said for own, said in [*by_method, (short, "")]))
    return 0


def _say_copies(rows: list[Row]) -> None:
    """Say which runs of one seed have the same figures: a copy is no further training, and hides their scatter."""
    for group in _groups(rows).values():
        seen: dict[str, Row] = {}
        for row in group:
            first = seen.setdefault(json.dumps([row.seed, row.figures], sort_keys=True), row)
            if first is not row and row.figures:
                note = (
                    f"note: {first.run} and {row.run} have one seed and the same figures on {row.test_set}, as a copy"
                )
                write_err(f"{note} has; they count as two seeds all the same\n")


def _shown(rows: list[list[str]], options: Namespace, where: str) -> str:
    """A table on the terminal: first what was asked for."""
    asked = [name for name in rows[0] if name.endswith(methods.DIFFERENCE) or name in methods.COSTS or "\\" in name]
    plain = [[cell.replace("**", "") for cell in row] for row in rows]
    differences = any(name.endswith(methods.DIFFERENCE) for name in rows[0])
    if differences and max(len(row[0]) for row in rows[1:]) > _LONG:
        plain = _numbered(plain)
    wanted = ("set", "seeds", *asked, *(options.figures or ()), *_WANTED)
    return terminal_table(plain, where, wanted=wanted, most=_COLUMNS)


def _numbered(rows: list[list[str]]) -> list[list[str]]:
    """Methods of long names with numbers, by which differences refer to them: two such names fill a line."""
    numbers = {row[0]: f"#{at}" for at, row in enumerate(rows[1:], 1)}

    def short(cell: str) -> str:
        return re.sub("to (.+)", lambda found: numbers[found[1]], cell, flags=re.S)

    return [rows[0], *([f"{numbers[name]} {name}", *map(short, cells)] for name, *cells in rows[1:])]


def _runs_below(folder: Path) -> list[Path]:
    """The folder itself, or the tested runs in it where it is a folder of runs, such as `ibca sweep` makes."""
    inside = sorted(folder.glob("*/")) if not any(folder.glob("test_metrics*.json")) else []
    tested = [run for run in inside if any(run.glob("test_metrics*.json"))]
    missing = [run.name for run in inside if run not in tested and (run / "config.yaml").exists()]
    if tested and missing:
        write_err(f"note: without test figures, and left out: {', '.join(missing)}\n")
    return tested or [folder]


def _methods(rows: list[Row], options: Namespace) -> tuple[list[tuple[list[list[str]], str]], list[list[Any]]]:
    """One table a test set, methods as rows, with what is to be said of it; and the rows of the CSV."""
    by_set: dict[str, list[methods.Method]] = {}
    for (_, test_set), group in _groups(rows).items():
        runs, seeds = [row.run for row in group], [row.seed for row in group]
        figures = {name: [row.figures.get(name) for row in group] for row in group for name in row.figures}
        method = methods.Method(methods.method_name(runs, seeds), test_set, runs, seeds, figures)
        by_set.setdefault(test_set, []).append(method)
    every = [method for own in by_set.values() for method in own]
    if options.cost:
        from ibca_lightning.model.checkpoint import import_trusted

        import_trusted(options.trust)
        methods.add_costs(every)
    methods.add_drops(every)
    tables = []
    for own in by_set.values():
        groups = methods.add_samples(own, options.reference, options.without or [], per_class=options.per_class)
        tables.append((methods.table_rows(own, options.figures, options.differences), methods.note(own, groups)))
    return tables, list(methods.table(every))


def read_run(run: Path, per_class: bool) -> list[Row]:
    """The test sets of one run.

    Raises:
        InputError: When it was not tested, or a file cannot be read.
    """
    rows, (method, seed) = [], method_and_seed(run)
    faithful = read_figures(run / "faithfulness.json", "faithfulness") if (run / "faithfulness.json").is_file() else {}
    for test_set, file in figure_files(run).items():
        content = read_figures(file, "test")
        figures, intervals = dict(content["metrics"]), dict(content.get("intervals", {}))
        if per_class:
            precisions, their_intervals = class_precisions(content, file)
            figures, intervals = figures | precisions, intervals | their_intervals
        if faithful.get("test_set") == test_set:
            for name in (n for n in _FAITHFULNESS if n in faithful["metrics"]):
                figures[name], intervals[name] = faithful["metrics"][name], faithful.get("intervals", {}).get(name)
        rows.append(Row(run, test_set, method, seed, figures, intervals))
    return rows


def table_rows(rows: list[Row], names: list[str] | None = None) -> list[list[str]]:
    """A table for people: each run with its intervals, and behind the seeds of one method their mean and deviation.

    `names` are the figures to show; None shows all.

    Raises:
        InputError: When no run has a figure of that name.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.figures))
    for name in names or []:
        if name not in known:
            of_class = name.startswith(CLASS_AP) and not any(own.startswith(CLASS_AP) for own in known)
            to_do = "add --per_class" if of_class else "correct --figures"
            raise InputError(f"a figure of the runs ({', '.join(known)})", name, to_do)
    shown = names or known
    lines = [["run", "set", *shown]]
    for (_, test_set), group in _groups(rows).items():
        for row in group:
            cells = [_with_interval(row.figures.get(name), row.intervals.get(name)) for name in shown]
            lines.append([str(row.run), test_set, *cells])
        if len(group) > 1:
            cells = [_mean([row.figures.get(name) for row in group]) for name in shown]
            lines.append([f"**mean ± sd of these {len(group)} seeds**", test_set, *cells])
    return lines


def table(rows: list[Row]) -> Iterator[list[Any]]:
    """Rows of the CSV: one a run and test set, every figure with the ends of its interval, exact."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    yield ["run", "set", *(column for name in names for column in (name, f"{name}_low", f"{name}_high"))]
    for row in rows:
        cells: list[Any] = []
        for name in names:
            cells += [row.figures.get(name), *(row.intervals.get(name) or (None, None))]
        yield [str(row.run), row.test_set, *cells]


def _groups(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.test_set), []).append(row)
    return groups


def method_and_seed(run: Path) -> tuple[str, int | None]:
    """What a run's configuration says without its seeds, as text; and its `seed_everything`, None where it has none."""
    try:
        config = load(regular(run / "config.yaml").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("no mapping")
    except FileNotFoundError:  # tested into a folder of its own: it stands alone
        return str(run), None
    except (OSError, ValueError, yaml.YAMLError) as error:
        write_err(f"note: {run / 'config.yaml'} says nothing of the run, which stands alone: {told(error)}\n")
        return str(run), None
    seed, data = config.pop("seed_everything", None), config.get("data")
    if isinstance(data, dict) and isinstance(data.get("init_args"), dict):
        # Another draw of the split is another repetition, as another seed is. Differences are refused all the same
        # where the test pictures are not the same.
        data["init_args"].pop("split_seed", None)
    return json.dumps(config, sort_keys=True), seed if isinstance(seed, int) else None


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "-"
    return f"**{statistics.mean(known):.4f} ± {statistics.stdev(known):.4f}**"


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser("ibca compare", "ibca compare RUN RUN ...", "The test figures of several runs in one table.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="Tested run folders, or folders of them.")
    parser.add_argument("--figures", nargs="+", help="Figures to print, such as mAP CF1; default all.")
    parser.add_argument(
        "--per_class", action="store_true",
        help="The AP of each class too, as AP/CLASS, also in --figures and --differences.",
    )  # fmt: skip
    parser.add_argument("--output", help="Folder for compare.md, compare.csv and methods.csv.")
    parser.add_argument(
        "--reference", metavar="NAME|best",
        help="Differences of every method to this one, or figure by figure to the best other one, with intervals of a "
        "paired bootstrap that draws groups (such as patients) and training seeds with replacement.",
    )  # fmt: skip
    parser.add_argument(
        "--differences", nargs="+", default=["mAP"], help="Figures whose differences are printed (default mAP)."
    )
    parser.add_argument("--without", nargs="+", metavar="CLASS", help="A further mAP without these classes.")
    parser.add_argument("--cost", action="store_true", help="Parameters and CPU time of the heads, measured now.")
    add_trust(parser)
    return parser.parse_args(arguments)
