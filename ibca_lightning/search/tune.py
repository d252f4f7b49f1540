"""`ibca tune`: search over options of `ibca fit`, by the validation set alone.

Optuna keeps the trials; the runs are jobs, so that a search that was stopped goes on, and several side by side share
one budget.
"""

import json
import math
import statistics
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning import __version__
from ibca_lightning.run.shipped import SPACES, experiments
from ibca_lightning.run.short_names import short_name
from ibca_lightning.search.jobs import Job, given_up, run_jobs, seconds_of
from ibca_lightning.search.recipe import (
    Recipe,
    best_validation,
    config_value,
    epoch_scores,
    read_mapping,
    write_fragment,
    write_table,
)
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.whole_files import whole

if TYPE_CHECKING:
    from ibca_lightning.search.study import Search

_KINDS = ("choice", "log_uniform", "uniform", "int_uniform")
_EXAMPLE = "KEY: {log_uniform: [1.0e-3, 1.0e-1]}, or choice, uniform, int_uniform"


def tune(arguments: list[str]) -> int:
    """Run the trials that are not done yet, and write `trials.csv` and `best.yaml`.

    Args:
        arguments: Options behind `ibca tune`.

    Returns:
        0, or 1 if a trial failed (one that another process is at has not); wrong input is an exception.
    """
    parser = OptionParser(
        "ibca tune",
        "ibca tune --config EXPERIMENT --head HEAD --trials N --output DIR [options of ibca fit]",
        "Search over options of ibca fit; choice by the best validation mAP. What is left out here is for fit.",
    )
    parser.add_argument("--head", help="Name (ibca list heads), class path or YAML file; default: the experiment's.")
    parser.add_argument("--space", help=f"YAML of dotted keys of ibca fit: {_EXAMPLE}; default: that of the head.")
    parser.add_argument("--trials", type=int, required=True, help="Trials in all; the first has the defaults.")
    parser.add_argument("--seed", type=int, default=0, help="Of the draws (default 0).")
    parser.add_argument("--folds", type=int, help="Score: the mean over folds 0 to FOLDS - 1 of data.fold.")
    parser.add_argument(
        "--sampler", choices=("random", "tpe"), default="random",
        help="random: each trial by seed and number, the same everywhere (default). tpe: by the scores so far.",
    )  # fmt: skip
    parser.add_argument(
        "--pruner", choices=("none", "median"), default="none",
        help="median: after five whole trials, stop one whose best epoch so far is below their median at that epoch.",
    )  # fmt: skip
    parser.add_argument(
        "--storage", help="File of Optuna's journal; machines that share it share the budget (default: in --output)."
    )
    options, recipe = Recipe.parsed(parser, arguments)
    for name, least in (("trials", 1), ("folds", 2)):
        given = getattr(options, name)
        if given is not None and given < least:
            raise InputError(f"--{name} of at least {least}", given, "give another number")
    recipe = recipe.with_head(options.head) if options.head else recipe
    space, output = _space(options.space, recipe.head()), Path(options.output)
    if any(given.partition("=")[0] == "--model.head" for given in recipe.overrides):  # it would come behind the values
        raise InputError("the head of ibca tune at --head", "--model.head", "give --head HEAD")
    if options.folds and options.pruner != "none":
        raise InputError("--pruner none with --folds", options.pruner, "leave one of the two out")
    recipe.refuse(*space, *(("data.fold", "data.folds") if options.folds else ()))
    own = {name: getattr(options, name) for name in ("seed", "folds", "sampler", "pruner")}
    settings = json.loads(json.dumps({"space": space, **own, **recipe.settings()}, default=str))
    folder = _refuse_changed(output / "tune.json", settings)

    from ibca_lightning.search.study import Search  # Optuna, which nothing else needs

    file = Path(options.storage or output / "trials.journal")
    search = Search(file, folder, {"version": __version__, **settings}, space, options.seed, options.sampler,
                    options.pruner)  # fmt: skip
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

    begun = search.trials[: options.trials]
    known = [job for trial in begun if trial.ours for job in jobs_of(trial.number, trial.values)]
    total = (options.trials - sum(not trial.ours for trial in begun)) * (options.folds or 1)
    failed = run_jobs(
        known, options.places, _said, more=more(), total=total,
        stop=lambda job: search.behind(numbers[job.folder], epoch_scores(job.folder)),
    )  # fmt: skip
    _settle(search, output, options.folds)
    return _close(search, output, options.trials, options.folds, list(space), bool(failed))


def _settle(search: "Search", output: Path, folds: int | None) -> None:
    """Tell the search what the run folders say of its trials."""
    for trial in search.trials:
        runs = _runs(output, trial.number, folds)
        if trial.ours and not trial.ended:
            score = _score(runs)
            if score is not None or any(given_up(run) for run in runs):
                search.behind(trial.number, [] if folds else epoch_scores(runs[0]))  # the last ones too
                search.tell(trial.number, score)


def _close(search: "Search", output: Path, budget: int, folds: int | None, keys: Sequence[str], failed: bool) -> int:
    """Write and say what came out; return the exit code."""
    trials = search.trials[:budget]
    first = _runs(output, 0, folds)[0]
    if not search.defaults and trials and trials[0].ours and "fit" in seconds_of(first):
        search.defaults = {key: config_value(first, key) for key in keys}
    defaults = dict.fromkeys(keys) | search.defaults
    values, rows = [defaults | trial.values for trial in trials], []
    scores: list[float | None] = []
    for trial, chosen in zip(trials, values, strict=True):
        runs = _runs(output, trial.number, folds)
        scores.append(_score(runs) if trial.ours else trial.score)
        seconds = sum(seconds_of(run).get("fit", 0.0) for run in runs)
        rows.append([trial.number, *chosen.values(), scores[-1], f"{seconds:.1f}" if trial.ours else ""])
    write_table(output / "trials.csv", ["trial", *keys, "score", "seconds"], rows)
    left = sum(not trial.ended for trial in trials)
    if left and not failed:
        sys.stderr.write(f"{left} of {len(trials)} trials run elsewhere; the same command takes them in later\n")
    known = {number: score for number, score in enumerate(scores) if score is not None}
    if not known:
        if left and not failed:
            return 0
        sys.stderr.write("error: no trial has a validation mAP\n")
        return 1
    best = max(known, key=lambda number: (known[number], -number))
    said = f"trial {best} of {len(trials)}, validation mAP {known[best]:.4f}"
    file = output / "best.yaml"
    write_fragment(file, values[best], f"Chosen by ibca tune: {said}. Merge it behind the experiment and the head.")
    listed = ", ".join(f"{key} {value}" for key, value in values[best].items())
    sys.stdout.write(f"{said}: {listed}\nwrote {file}\n")
    return int(failed)


def _space(path: str | None, head: str) -> dict[str, dict[str, list[Any]]]:
    """The space of a file, or the shipped one of a head."""
    if path is not None:
        return read_space(path)
    shipped = experiments() / SPACES
    name = short_name("model.head", head)
    spaces = read_mapping(str(shipped), "search spaces", f"HEAD: {{{_EXAMPLE}}}")
    if name not in spaces:
        raise InputError(f"a head with a search space ({', '.join(spaces)})", head, f"give --space FILE of {_EXAMPLE}")
    return checked_space(spaces[name], f"{shipped}, {name}")


def read_space(path: str) -> dict[str, dict[str, list[Any]]]:
    """Read the space of the search.

    Args:
        path: YAML of dotted keys, each `{choice: [..]}`, `{log_uniform: [a, b]}`, `{uniform: [a, b]}` or
            `{int_uniform: [a, b]}`, a and b included.

    Returns:
        As it is written.

    Raises:
        InputError: Names the key that is wrong.
    """
    return checked_space(read_mapping(path, "a search space", _EXAMPLE), path)


def checked_space(space: dict[str, Any], path: str) -> dict[str, dict[str, list[Any]]]:
    """The rules of a space with numbers as numbers; see `read_space`."""
    for key, rule in space.items():
        kind = next(iter(rule)) if isinstance(rule, dict) and len(rule) == 1 else None
        if kind not in _KINDS:
            raise InputError(f"one of {', '.join(_KINDS)} for {key} in {path}", rule, f"write {_EXAMPLE}")
        if not isinstance(rule[kind], list) or not rule[kind]:
            raise InputError(f"a list behind {kind} of {key} in {path}", rule[kind], f"write {_EXAMPLE}")
        if kind == "choice":
            continue
        # PyYAML takes 1e-3, which has no dot, for a string.
        try:
            low, high = (float(end) for end in rule[kind])
        except (TypeError, ValueError) as error:
            raise InputError(f"two numbers for {key} in {path}", rule[kind], f"write {_EXAMPLE}") from error
        whole = kind != "int_uniform" or (low.is_integer() and high.is_integer())
        if not (low < high and whole and (kind != "log_uniform" or low > 0)):
            raise InputError(f"rising ends that fit {kind} for {key} in {path}", rule[kind], "correct the ends")
        rule[kind] = [int(low), int(high)] if kind == "int_uniform" else [low, high]
    return space


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


def _refuse_changed(path: Path, settings: dict[str, Any]) -> str:
    """Refuse a folder with trials of another search or another version; return what names the folder."""
    now = {"version": __version__, **settings}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with sole_user(path.parent, 60):
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
            if before is None:
                before = {"folder": uuid.uuid4().hex, **now}
                with whole(path) as part:
                    part.write_text(json.dumps(before, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"a folder to write at --output {path.parent}", reason, "give another one") from error
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        others = "others"
        if "version" in changed:
            others += f" (by ibca {before.get('version', 'of an earlier version')}; this is {__version__})"
        raise InputError(
            f"{path.parent} with trials of the same {', '.join(changed)}", others,
            "give another --output, or remove that folder",
        )  # fmt: skip
    return str(before["folder"])


def _said(job: Job) -> str:
    return f"val mAP {best_validation(job.folder).get('mAP', math.nan):.3f}"


def _score(runs: Sequence[Path]) -> float | None:
    """Mean of the runs' best validation mAP; None where one has none."""
    scores = [best_validation(run).get("mAP") if "fit" in seconds_of(run) else None for run in runs]
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None
