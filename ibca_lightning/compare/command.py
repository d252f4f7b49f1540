"""`ibca compare RUN RUN ...`: the test figures of several runs in one table, Markdown and CSV.

The figures and intervals are those of `test_metrics*.json`; only what is asked for by `--reference`, `--without` and
`--cost` is computed. With one of them, or with `--per_class`, a table with one row a method stands first.
"""

import os
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ibca_lightning.compare import method_rows as methods
from ibca_lightning.compare.run_rows import (
    Row,
    by_method,
    one_a_seed,
    read_run,
    table,
    table_rows,
    title,
    without_terms,
)
from ibca_lightning.run.tested_figures import CLASS_AP
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.terminal.table import terminal_table
from ibca_lightning.system.whole_files import write_csv, write_text, write_whole
from ibca_lightning.use.model_options import add_trust

_COLUMNS = 8  # of a table on the terminal; the files have all
_LONG = 20  # letters of a name that is too long to stand twice in a line
_WANTED = ("mAP", "AUROC", "tuned_CF1", "tuned_OF1", "ECE", "attention_gain", "CF1", "OF1")  # first of them


def compare(arguments: list[str]) -> int:
    """Print the table, and write it with `--output`; the options stand behind `ibca compare`."""
    options = _parse(arguments)
    folder = Path(options.output) if options.output else None
    if folder:
        from ibca_lightning.compare.page import GENERATOR, page  # jinja2 and OpenCV, which no terminal needs
        from ibca_lightning.system.pages.html_page import refuse_other

        refuse_other(folder / "compare.html", GENERATOR)
    runs = [run for given in options.runs for run in _runs_below(Path(given))]
    rows = [row for run in runs for row in read_run(run, options.per_class)]
    _say_doubts(rows)
    lines = table_rows(rows, options.figures)  # refuses unknown figures before anything is computed
    start = os.path.commonpath([os.path.dirname(os.path.abspath(run)) for run in runs])
    short = {str(run): os.path.relpath(run, start) for run in runs}
    asked = bool(options.reference or options.without or options.cost or options.per_class)
    by_set = _methods(rows, options)
    _say_missing(by_set, options)
    tables = [(methods.table_rows(own, options.figures, options.differences), said) for own, said in by_set if asked]
    where = "compare.md, which --output DIR writes"
    if folder:
        where = str(folder / "compare.md")
        parts = [methods.markdown(own) + (f"\n{said}" if said else "") for own, said in tables]
        text = "\n".join([*parts, methods.markdown(lines, names=2)])
        write_whole(folder / "compare.md", partial(write_text, text=text))
        write_whole(folder / "compare.csv", partial(write_csv, rows=list(table(rows))))
        if asked:
            every = [method for own, _ in by_set for method in own]
            write_whole(folder / "methods.csv", partial(write_csv, rows=list(methods.table(every))))
        text = page(by_set, rows, short, options.figures, options.differences, options.reference)
        write_whole(folder / "compare.html", partial(write_text, text=text))
    by_run = [[short.get(name, name), *cells] for name, *cells in lines]
    told: set[str] = set()
    shown = [_shown(own, options, where, told) + said for own, said in tables]
    if options.per_class:
        shown += [_classes(own, where) for own, _ in by_set]
    shown.append(_shown(by_run, options, where, told))
    write_out("\n".join(shown))
    return 0


def _classes(own: Sequence[methods.Method], where: str) -> str:
    """The AP of each class on the terminal: a row a class, a column a method, as classes may be many."""
    names = [name for name in methods.shown_figures(own, None) if name.startswith(CLASS_AP)]
    header, _, *rows = zip(*methods.table_rows(own, names, []), strict=True)
    kept = [[cell.replace("**", "") for cell in row] for row in rows if row[0].startswith(CLASS_AP)]
    return terminal_table([[f"{header[0]}, class", *header[1:]], *kept], where)


def _say_doubts(rows: list[Row]) -> None:
    """Say which runs are no further training of a method, and which are of other test pictures."""
    by_set: dict[tuple[str, str], list[Row]] = {}
    for (_, test_set, pictures), group in by_method(rows).items():
        by_set.setdefault((test_set, pictures), []).extend(group)
        seen: dict[tuple[int | None, str | None], Row] = {}
        for row in group:
            first = seen.setdefault(row.repetition, row)
            if first is not row and row.seed is not None:
                copy = " and the same figures, as a copy has," if first.figures == row.figures else ""
                note = f"note: {first.run} and {row.run} have one seed{copy} on {row.test_set}"
                write_err(f"{note}; means and differences have the first alone\n")
    for name in dict.fromkeys(test_set for test_set, _ in by_set):
        runs = [f"{own[0].run}" for (test_set, _), own in by_set.items() if test_set == name]
        if len(runs) > 1:
            note = f"note: not known to be tested on the same pictures ({name}): {', '.join(runs)}"
            write_err(f"{note}; no mean is over these, and a higher figure says nothing\n")


def _say_missing(by_set: Sequence[tuple[Sequence[methods.Method], str]], options: Namespace) -> None:
    """Say which differences were asked for and are not there, such as of figures at tuned thresholds."""
    known = dict.fromkeys(name for own, _ in by_set for method in own for name in method.differences)
    if known and (missing := [name for name in options.differences if name not in known]):
        write_err(f"note: no difference in {', '.join(missing)}; --differences takes {', '.join(known)}\n")


def _shown(rows: list[list[str]], options: Namespace, where: str, told: set[str]) -> str:
    """A table on the terminal: first what was asked for; classes have a table of their own, but for those named."""
    named = [title(name) for name in options.figures or ()]
    asked = [name for name in rows[0] if name.endswith(methods.DIFFERENCE) or name in methods.COSTS or "\\" in name]
    kept = [at for at, name in enumerate(rows[0]) if not name.startswith(CLASS_AP) or name in [*named, *asked]]
    rows = [[row[at] for at in kept] for row in rows]
    plain = [[cell.replace("**", "") for cell in row] for row in rows]
    differences = any(name.endswith(methods.DIFFERENCE) for name in rows[0])
    if differences and max(len(row[0]) for row in rows[1:]) > _LONG:
        plain = _numbered(plain)
    wanted = ("set", "seeds", *asked, *named, *map(title, _WANTED))
    most = max(_COLUMNS, 2 + len(asked) + len(named))
    return terminal_table(plain, where, wanted=wanted, most=most, told=told)


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


def _called(group: Sequence[Row]) -> str:
    return methods.method_name([row.run for row in group], [row.seed for row in group])


def _methods(rows: list[Row], options: Namespace) -> list[tuple[list[methods.Method], str]]:
    """The methods of each test set, with what is to be said of their differences."""
    by_set: dict[str, list[methods.Method]] = {}
    found = {key: one_a_seed(group) for key, group in by_method(rows).items()}
    base: dict[str, list[Row]] = {}
    for (configuration, _, _), group in found.items():
        base.setdefault(configuration, group)
    apart = Counter((of, test_set) for of, test_set, _ in found)
    called = Counter((_called(base[of]), test_set) for of, test_set in apart)
    for (configuration, test_set, pictures), group in found.items():
        runs, seeds = [row.run for row in group], [row.seed for row in group]
        figures = {name: [row.figures.get(name) for row in group] for row in group for name in row.figures}
        plain, terms = without_terms(configuration)
        name = _called(base[configuration])
        folder = base[configuration][0].run.resolve().parent.name
        if called[name, test_set] > 1:  # two sweeps of the same heads, under two settings
            name = f"{folder}/{name}"
        if apart[configuration, test_set] > 1:  # one method, tested on other pictures
            name = f"{runs[0].resolve().parent.name}/{runs[0].resolve().name}"
        method = methods.Method(name, test_set, runs, seeds, figures, pictures, plain=plain, terms=terms)
        by_set.setdefault(test_set, []).append(method)
    every = [method for own in by_set.values() for method in own]
    if options.cost:
        from ibca_lightning.model.checkpoint import import_trusted

        import_trusted(options.trust)
        methods.add_costs(every)
    methods.add_drops(every)
    result = []
    for own in by_set.values():
        groups = 0
        if options.reference or options.without:
            groups = methods.add_samples(own, options.reference, options.without or [], per_class=options.per_class)
        result.append((own, methods.note(own, groups)))
    return result


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser("ibca compare", "ibca compare RUN RUN ...", "The test figures of several runs in one table.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="Tested run folders, or folders of them.")
    parser.add_argument(
        "--figures", nargs="+", action="extend",
        help="Figures to print, such as mAP, CF1 (at 0.5) or tuned_CF1 (at each model's own thresholds); "
        "default: all in the files, and on the terminal as many as there is room for.",
    )  # fmt: skip
    parser.add_argument(
        "--per_class", action="store_true",
        help="The AP of each class too, in a table of its own; as AP/CLASS also in --figures and --differences.",
    )  # fmt: skip
    parser.add_argument("--output", help="Folder for compare.html, compare.md, compare.csv and methods.csv.")
    parser.add_argument(
        "--reference", metavar="NAME|best|no_terms",
        help="Differences of every method to this one, figure by figure to the best other one, or of each with "
        "model.terms to the same without (no_terms), with intervals of two scatters: that of a paired bootstrap over "
        "groups (such as patients), and that between training seeds.",
    )  # fmt: skip
    parser.add_argument(
        "--differences", nargs="+", action="extend", help="Figures whose differences are printed (default mAP)."
    )
    parser.add_argument(
        "--without", nargs="+", action="extend", metavar="CLASS", help="A further mAP without these classes."
    )
    parser.add_argument("--cost", action="store_true", help="Parameters and CPU time of the heads, measured now.")
    add_trust(parser)
    options = parser.parse_args(arguments)
    options.differences = options.differences or ["mAP"]
    return options
