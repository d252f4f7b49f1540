"""`ibca tune`: search over options of `ibca fit`, by the validation set alone.

Optuna keeps the trials; the runs are jobs, so that a search that was stopped goes on, and several side by side share
one budget.
"""

import shlex
import statistics
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.search.job import Job, given_up, plain, seconds_of
from ibca_lightning.search.jobs import run_jobs
from ibca_lightning.search.recipe import Recipe, best_validation, config_value, epoch_scores, said, write_fragment
from ibca_lightning.search.space import EXAMPLE, combination, read_space
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.options import OptionParser, require_least
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.strangers import read_object, told
from ibca_lightning.system.whole_files import write_csv, write_json, write_whole

if TYPE_CHECKING:
    from ibca_lightning.search.study import Search


def tune(arguments: list[str]) -> int:
    """Run the trials that are not done yet, and write `trials.csv` and `best.yaml`.

    Returns 1 if a trial failed, and one that another process is at has not; wrong input is an exception.
    """
    parser = OptionParser(
        "ibca tune",
        "ibca tune --config EXPERIMENT --head HEAD --trials N --output DIR [options of ibca fit]",
        "Search over options of ibca fit; choice by the best validation mAP. What is left out here is for fit.",
    )
    parser.add_argument("--head", help="Name (ibca list heads), class path or YAML file; default: the experiment's.")
    parser.add_argument("--space", help=f"YAML of dotted keys of ibca fit: {EXAMPLE}; default: that of the head.")
    parser.add_argument("--trials", type=int, required=True, help="Trials in all; the first has the defaults.")
    parser.add_argument("--seed", type=int, default=0, help="Of the draws (default 0).")
    parser.add_argument("--folds", type=int, help="Score: the mean over folds 0 to FOLDS - 1 of data.fold.")
    parser.add_argument(
        "--sampler", choices=("random", "grid", "tpe"), default="random",
        help="random: each trial by seed and number, the same everywhere (default). grid: every combination of the "
        "choices once. tpe: by the scores so far.",
    )  # fmt: skip
    parser.add_argument(
        "--pruner", choices=("none", "median"), default="none",
        help="median: after five whole trials, stop one whose best epoch so far is below their median at that epoch.",
    )  # fmt: skip
    parser.add_argument(
        "--storage", help="File of Optuna's journal, or postgresql://USER@HOST/DATABASE#SEARCH (the password in "
        "PGPASSWORD or ~/.pgpass); machines that share it share the budget (default: a file in --output).",
    )  # fmt: skip
    options, recipe = Recipe.parsed(parser, arguments)
    require_least(options, trials=1, folds=2)
    recipe = recipe.with_head(options.head) if options.head else recipe
    space, output = read_space(options.space, recipe.head()), Path(options.output)
    if any(given.partition("=")[0] == "--model.head" for given in recipe.overrides):  # it would come behind the values
        raise InputError("the head of ibca tune at --head", "--model.head", "give --head HEAD")
    if options.folds and options.pruner != "none":
        raise InputError("--pruner none with --folds", options.pruner, "leave one of the two out")
    if options.sampler == "grid":
        combination(space, options.trials - 1)  # refused here, if it is
    recipe.refuse_unknown({} if "model.head" in space or "model.loss" in space else dict.fromkeys(space, ""))
    recipe.refuse(*space, *(("data.fold", "data.folds") if options.folds else ()))
    own = {name: getattr(options, name) for name in ("seed", "folds", "sampler", "pruner")}
    settings = plain({"space": space, **own, **recipe.settings()})

    from ibca_lightning.search.storage import shared_by  # Optuna, which nothing else needs
    from ibca_lightning.search.study import Search

    shared = shared_by(options.storage or output / "trials.journal")
    search = Search(shared, _named(output), settings, space, options.seed, options.sampler, options.pruner)
    numbers: dict[Path, int] = {}

    def jobs_of(number: int, values: Mapping[str, Any]) -> list[Job]:
        jobs = _jobs(output, number, values, _runs(output, number, options.folds), recipe, settings)
        numbers.update({job.folder: number for job in jobs})
        return jobs

    def more() -> Iterator[Job]:
        _settle(search, output, options.folds)
        while (trial := search.ask(options.trials)) is not None:
            yield from jobs_of(trial.number, trial.values)
            _settle(search, output, options.folds)

    with shared.living():
        search.keep_own()
        begun = search.trials[: options.trials]
        known = [job for trial in begun if trial.ours for job in jobs_of(trial.number, trial.values)]
        total = (options.trials - sum(not trial.ours for trial in begun)) * (options.folds or 1)
        failed = run_jobs(
            known, options.places, said, more=more(), total=total,
            stop=lambda job: search.behind(numbers[job.folder], epoch_scores(job.folder)),
        )  # fmt: skip
        _settle(search, output, options.folds)
    return _close(search, recipe, output, options.trials, options.folds, list(space), bool(failed))


def _settle(search: "Search", output: Path, folds: int | None) -> None:
    """Tell the search what the run folders say of its trials."""
    for trial in search.trials:
        runs = _runs(output, trial.number, folds)
        if trial.ours and not trial.ended:
            score = _score(runs)
            if score is not None or any(given_up(run) for run in runs):
                search.behind(trial.number, [] if folds else epoch_scores(runs[0]))  # the last ones too
                search.tell(trial.number, score)


def _close(
    search: "Search", recipe: Recipe, output: Path, budget: int, folds: int | None, keys: Sequence[str], failed: bool
) -> int:
    """Write and say what came out; return the exit code."""
    trials = search.trials[:budget]
    first = _runs(output, 0, folds)[0]
    if not search.defaults and trials and trials[0].ours and "fit" in seconds_of(first):
        search.defaults = {key: config_value(first, key) for key in keys}
    values = [dict.fromkeys(keys) | search.defaults | trial.values for trial in trials]
    scores = [_score(_runs(output, trial.number, folds)) if trial.ours else trial.score for trial in trials]
    rows: list[Sequence[Any]] = [["trial", *keys, "score", "seconds"]]
    for trial, chosen, score in zip(trials, values, scores, strict=True):
        seconds = sum(seconds_of(run).get("fit", 0.0) for run in _runs(output, trial.number, folds))
        rows.append([trial.number, *chosen.values(), score, f"{seconds:.1f}" if trial.ours else ""])
    write_whole(output / "trials.csv", partial(write_csv, rows=rows))
    left = sum(not trial.ended for trial in trials)
    if left and not failed:
        write_err(f"{left} of {len(trials)} trials run elsewhere; the same command takes them in later\n")
    known = {number: score for number, score in enumerate(scores) if score is not None}
    if not known:
        if left and not failed:
            return 0
        write_err("error: no trial has a validation mAP\n")
        return 1
    best = max(known, key=lambda number: known[number])  # the first of equals
    found = f"best of {len(trials)} trials: trial-{best:03d}, validation mAP {known[best]:.4f}"
    file = output / "best.yaml"
    following = f"ibca {shlex.join(recipe.with_files(file).arguments())}"
    write_fragment(
        file, values[best], f"Chosen by ibca tune: {found}.", f"Train with it: {' '.join(following.split())}"
    )
    listed = ", ".join(f"{key} {value}" for key, value in values[best].items())
    write_out(f"{found}: {listed}\nwrote {file}\ntrain with it: {following}\n")
    return int(failed)


def _runs(output: Path, trial: int, folds: int | None) -> list[Path]:
    folder = output / f"trial-{trial:03d}"
    return [folder / f"fold-{fold}" for fold in range(folds)] if folds else [folder]


def _jobs(
    output: Path, trial: int, values: Mapping[str, Any], runs: Sequence[Path], recipe: Recipe, settings: Any
) -> list[Job]:
    if values:
        file = output / "values" / f"trial-{trial:03d}.yaml"
        write_fragment(file, values, f"What trial {trial} tried.")
        recipe = recipe.with_files(file)
    jobs = []
    for fold, run in enumerate(runs):
        more = [f"--data.fold={fold}", f"--data.folds={len(runs)}"] if len(runs) > 1 else []
        # Scores come from metrics.csv: hundreds of checkpoints would fill a disk for nothing.
        more += ["--trainer.enable_checkpointing=false", f"--run_dir={run}"]
        label = f"trial {trial}" + (f" fold {fold}" if len(runs) > 1 else "")
        jobs.append(Job(run, label, {"fit": recipe.arguments(*more)}, {"values": values, **settings}, may_diverge=True))
    return jobs


def _named(output: Path) -> str:
    """What names an output folder, wherever it is moved to."""
    path = output / "tune.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        with sole_user(output, 60):
            if not path.exists():
                write_json(path, {"folder": uuid.uuid4().hex})
        return str(read_object(path).get("folder"))
    except (OSError, ValueError) as error:
        what = f"a folder to write at --output {output}, with its tune.json"
        raise InputError(what, told(error), "give another one") from error


def _score(runs: Sequence[Path]) -> float | None:
    """Mean of the runs' best validation mAP; None where one has none."""
    scores = [best_validation(run).get("mAP") if "fit" in seconds_of(run) else None for run in runs]
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None
