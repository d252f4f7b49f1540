"""`ibca sweep`: fit and test heads, or variants of one, under one recipe and over seeds."""

import statistics
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ibca_lightning.run.command_line.short_names import short_name
from ibca_lightning.search.job import Job, seconds_of
from ibca_lightning.search.jobs import run_jobs
from ibca_lightning.search.recipe import Recipe, best_validation, config_value, read_mapping, said, write_fragment
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_least
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.terminal.table import terminal_table
from ibca_lightning.system.whole_files import write_csv, write_whole

_PRINTED = ("mAP", "AUROC", "attention_energy", "attention_gain", "pointing_game", "pixel_AP")


def sweep(arguments: list[str]) -> int:
    """Run what is not done yet of heads x seeds, and write the validation figures into `sweep.csv`.

    Folds that are all done are written together as a tested run, too (`folds.write_pooled`).

    Returns 1 if a run failed, and one that another process is at has not; wrong input is an exception.
    """
    parser = OptionParser(
        "ibca sweep",
        "ibca sweep --config EXPERIMENT --heads HEAD ... --seeds 0 1 2 --output DIR [options of ibca fit]",
        "Fit and test heads x seeds under one recipe. What is left out here is for ibca fit.",
    )
    parser.add_argument(
        "--heads", nargs="+", action="extend", default=[],
        help="Names (ibca list heads), class paths, or YAML files; default that of the recipe.",
    )  # fmt: skip
    parser.add_argument("--seeds", nargs="+", action="extend", type=int, help="Default 0 1 2 3 4; 0 with --folds.")
    parser.add_argument(
        "--tuned", help="Folder with HEAD/best.yaml of ibca tune for every head; of one head, its --output."
    )
    parser.add_argument("--variants", help="YAML for ablations: NAME: {dotted key of ibca fit: value, ...}.")
    parser.add_argument("--variants_of", default="ibca", help="The head that the variants change (default ibca).")
    parser.add_argument(
        "--folds", type=int,
        help="Cross-validation: a run a fold; the held-out parts pooled, the models as an ensemble.",
    )  # fmt: skip
    parser.add_argument("--no_test", action="store_true", help="Validation only: design choices, data without a test.")
    parser.add_argument(
        "--again", action="store_true", help="Run again what was made under other settings, or by another version."
    )
    parser.add_argument("--job", type=int, help="One run of them by its number, from 0, as a task of a cluster does.")
    parser.add_argument("--count", action="store_true", help="Print how many runs there are, and run none.")
    options, recipe = Recipe.parsed(parser, arguments)
    require_least(options, folds=2)
    recipe.refuse("seed_everything", fix="give --seeds")
    recipe.refuse("model.head", fix=f"give --{'variants_of' if options.variants else 'heads'} HEAD")
    recipe.refuse(*(("data.fold", "data.folds") if options.folds else ()))
    output = Path(options.output)
    alone = len(options.heads) < 2
    recipes = {_name(head): _of_head(recipe, head, options.tuned, alone) for head in options.heads}
    recipes |= _variants(recipe, options.variants, options.variants_of, options.tuned, output)
    if not recipes:
        own = recipe.head().rpartition(".")[2].lower().removesuffix("head")
        recipes = {own: _tuned(recipe, own, options.tuned)}
    for each in recipes.values():
        each.refuse_unknown()
    seeds = options.seeds or ([0] if options.folds else [0, 1, 2, 3, 4])
    # Seeds outside: a sweep that is stopped has all methods on fewer seeds, and not fewer methods.
    jobs = {
        (name, seed, fold): _job(output, name, own, seed, fold, options)
        for seed in dict.fromkeys(seeds)
        for fold in (range(options.folds) if options.folds else [None])
        for name, own in recipes.items()
    }
    asked = list(jobs.values())
    if options.count:
        write_out(f"{len(jobs)}\n")
        return 0
    if options.job is not None:
        if not 0 <= options.job < len(jobs):
            raise InputError(f"--job from 0 to {len(jobs) - 1}", options.job, f"give one of these {len(jobs)} numbers")
        asked = [asked[options.job]]
    failed = run_jobs(asked, options.places, said, options.again)
    if options.job is not None:
        return int(bool(failed))
    rows = [(*key, best_validation(job.folder), seconds_of(job.folder)) for key, job in jobs.items()]
    rows = [row for row in rows if "fit" in row[-1]]
    _write(output / "sweep.csv", rows)
    write_out(terminal_table(_table(rows), f"{output / 'sweep.csv'}"))
    whole = _pool(output, [job for (*_, fold), job in jobs.items() if fold is not None], options.folds)
    if whole or not (options.no_test or options.folds):
        write_out(f"\ncompare the {'pooled' if options.folds else 'test'} figures: ibca compare {output}\n")
    return int(bool(failed))


def _pool(output: Path, jobs: Sequence[Job], folds: int | None) -> bool:
    """Write of every set of folds what it gives together, and say of which some are not done; whether one was whole."""
    runs: dict[Path, list[Path]] = {}
    for job in jobs:
        runs.setdefault(job.folder.parent, []).append(job.folder)
    whole = False
    for folder, own in runs.items():
        for path in folder.glob("test_*"):  # of folds that were made anew
            path.unlink()
        steps = [seconds_of(run).keys() for run in own]
        done = sum("validate" in step for step in steps)
        if done < len(own):
            write_err(f"note: {done} of {folds} folds of {folder} are done, and not pooled\n")
            continue
        from ibca_lightning.search.folds import write_pooled  # torch, which takes seconds

        write_err(f"pooling the folds of {folder}\n")
        write_pooled(folder, own, all("test" in step for step in steps))
        whole = True
    return whole


_Row = tuple[str, int, int | None, dict[str, float], dict[str, float]]


def _of_head(recipe: Recipe, head: str, tuned: str | None, alone: bool = True) -> Recipe:
    """The recipe with a head, and what tuning chose for it."""
    return _tuned(recipe.with_head(head), _name(head), tuned, alone)


def _tuned(recipe: Recipe, name: str, tuned: str | None, alone: bool = True) -> Recipe:
    file = Path(tuned or "", name, "best.yaml")
    if tuned and not file.is_file():
        got, fix = "no file", "tune it, or no --tuned"
        if (single := Path(tuned, "best.yaml")).is_file():  # the output of one search, which may be of another head
            trial = next((file.parent for file in sorted(Path(tuned).glob("trial-*/**/config.yaml"))), None)
            searched = config_value(trial, "model.head.class_path") if trial else None
            named = [short_name("model.head", name) or name for name in (str(searched), recipe.head())]
            same = searched is None or named[0] == named[1]
            if alone and same:
                return recipe.with_files(single)
            got = f"{single} of one search" + (f", of {searched}" if not same else "")
            fix = "sweep its head alone, or tune each with --output FOLDER/HEAD"
        raise InputError(f"what ibca tune chose for {name} at {file}", got, fix)
    return recipe.with_files(*([file] if tuned else []))


def _name(head: str) -> str:
    return Path(head).stem if head.endswith((".yaml", ".yml")) else head


def _variants(recipe: Recipe, path: str | None, head: str, tuned: str | None, output: Path) -> dict[str, Recipe]:
    if path is None:
        return {}
    variants, base = read_mapping(path, "variants", "NAME: {model.head.KEY: VALUE}"), _of_head(recipe, head, tuned)
    result = {}
    for name, values in variants.items():
        if not isinstance(values, dict):
            raise InputError(f"overrides of {name} in {path}", values, "write NAME: {model.head.KEY: VALUE}, or {}")
        recipe.refuse(*values)
        base.refuse_unknown(values)
        file = output / "variants" / f"{name}.yaml"
        write_fragment(file, values, f"Variant {name} of {head}.")
        result[str(name)] = base.with_files(file)
    return result


def _job(output: Path, name: str, recipe: Recipe, seed: int, fold: int | None, options: Namespace) -> Job:
    run, label = output / f"{name}-{seed}", f"{name} seed {seed}"
    more = [f"--seed_everything={seed}"]
    if fold is not None:
        run, label = run / f"fold-{fold}", f"{label} fold {fold}"
        more += [f"--data.fold={fold}", f"--data.folds={options.folds}"]
    settings = recipe.settings() | {"more": list(more)}
    steps = {"fit": recipe.arguments(*more, f"--run_dir={run}")}
    for step in ([] if fold is None else ["validate"]) + ([] if options.no_test else ["test"]):
        steps[step] = [step, f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"]
    return Job(run, label, steps, settings)


def _write(path: Path, rows: Sequence[_Row]) -> None:
    figures = list(dict.fromkeys(name for *_, values, _ in rows for name in values))
    header = ["name", "seed", "fold", *(f"val_{name}" for name in figures), "fit_seconds"]
    lines = [
        [name, seed, fold, *(values.get(figure) for figure in figures), seconds["fit"]]
        for name, seed, fold, values, seconds in rows
    ]
    write_whole(path, partial(write_csv, rows=[header, *lines]))


def _table(rows: Sequence[_Row]) -> list[list[str]]:
    """Validation figures, mean ± deviation over seeds of the mean over folds; over folds where there is one seed."""
    figures = [name for name in _PRINTED if any(name in values for *_, values, _ in rows)]
    folds = len({row[2] for row in rows})
    lines = [["validation, best epoch", "seeds", *(["folds"] if folds > 1 else []), *figures, "seconds a run"]]
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == name]
        seeds = {row[1]: [other for other in own if other[1] == row[1]] for row in own}
        cells = []
        for figure in figures:
            known = [[row[3][figure] for row in runs if figure in row[3]] for runs in seeds.values()]
            means = [statistics.fmean(values) for values in known if values] if len(known) > 1 else known[0]
            spread = f" ± {statistics.stdev(means):.4f}" if len(means) > 1 else ""
            cells.append(f"{statistics.fmean(means):.4f}{spread}" if means else "-")
        seconds = statistics.fmean(row[4]["fit"] for row in own)
        lines.append([name, str(len(seeds)), *([str(folds)] if folds > 1 else []), *cells, f"{seconds:.0f}"])
    return lines
