"""`ibca tune`: random search over options of `ibca fit`, by the validation set alone.

Random search (Bergstra and Bengio, JMLR 13, 2012) needs no state: every trial's draws follow from the seed, its number
and the key, so that trials can be run in any order, and more of them later.
"""

import csv
import json
import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ibca_lightning.run.shipped import SPACES, experiments
from ibca_lightning.run.short_names import short_name
from ibca_lightning.search.jobs import Job, run_jobs, seconds_of
from ibca_lightning.search.recipe import Recipe, best_validation, config_value, read_mapping, write_fragment
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser

_KINDS = ("choice", "log_uniform", "uniform", "int_uniform")
_EXAMPLE = "KEY: {log_uniform: [1.0e-3, 1.0e-1]}, or choice, uniform, int_uniform"
Space = Mapping[str, Mapping[str, list[Any]]]


def tune(arguments: list[str]) -> int:
    """Run the trials that are not done yet, and write `trials.csv` and `best.yaml`.

    Args:
        arguments: Options behind `ibca tune`.

    Returns:
        0, or 1 if a trial failed; wrong input is an exception.
    """
    parser = OptionParser(
        "ibca tune",
        "ibca tune --config EXPERIMENT --head HEAD --trials N --output DIR [options of ibca fit]",
        "Random search over options of ibca fit; choice by the best validation mAP. What is left out here is for fit.",
    )
    parser.add_argument("--head", help="Name (ibca list heads), class path or YAML file; default: the experiment's.")
    parser.add_argument("--space", help=f"YAML of dotted keys of ibca fit: {_EXAMPLE}; default: that of the head.")
    parser.add_argument("--trials", type=int, required=True, help="Trials in all; the first has the defaults.")
    parser.add_argument("--seed", type=int, default=0, help="Of the draws (default 0).")
    parser.add_argument("--folds", type=int, help="Score: the mean over folds 0 to FOLDS - 1 of data.fold.")
    options, recipe = Recipe.parsed(parser, arguments)
    for name, least in (("trials", 1), ("folds", 2)):
        given = getattr(options, name)
        if given is not None and given < least:
            raise InputError(f"--{name} of at least {least}", given, "give another number")
    recipe = recipe.with_head(options.head) if options.head else recipe
    space, output = _space(options.space, recipe.head()), Path(options.output)
    if any(given.partition("=")[0] == "--model.head" for given in recipe.overrides):  # it would come behind the values
        raise InputError("the head of ibca tune at --head", "--model.head", "give --head HEAD")
    recipe.refuse(*space, *(("data.fold", "data.folds") if options.folds else ()))
    settings = {"space": space, "seed": options.seed, "folds": options.folds} | recipe.settings()
    _refuse_changed(output / "tune.json", settings)

    trials = [draw(space, options.seed, number) for number in range(options.trials)]
    runs = [_runs(output, number, options.folds) for number in range(options.trials)]
    jobs = [job for n, values in enumerate(trials) for job in _jobs(output, n, values, runs[n], recipe, settings)]
    failed = run_jobs(jobs, options.processes, _said)
    scores = [_score(folders) for folders in runs]
    defaults = {key: config_value(runs[0][0], key) for key in space}
    values = [defaults | given for given in trials]
    _write_trials(output / "trials.csv", values, scores, runs)
    best = max((n for n, score in enumerate(scores) if score is not None), key=lambda n: (scores[n], -n), default=None)
    if best is None:
        sys.stderr.write("error: no trial has a validation mAP\n")
        return 1
    said = f"trial {best} of {len(trials)}, validation mAP {scores[best]:.4f}"
    file = output / "best.yaml"
    write_fragment(file, values[best], f"Chosen by ibca tune: {said}. Merge it behind the experiment and the head.")
    chosen = ", ".join(f"{key} {value}" for key, value in values[best].items())
    sys.stdout.write(f"{said}: {chosen}\nwrote {file}\n")
    return int(bool(failed))


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


def draw(space: Space, seed: int, trial: int) -> dict[str, Any]:
    """The values of one trial.

    Args:
        space: From `read_space`.
        seed: Of the search.
        trial: Number of the trial; 0 has the defaults.

    Returns:
        A value a key, which depends on seed, trial, key and its rule alone; {} for trial 0. Numbers have six
        significant digits, so that files say exactly what was run.
    """
    if trial == 0:
        return {}
    values: dict[str, Any] = {}
    for key, rule in space.items():
        ((kind, given),) = rule.items()
        unit = random.Random(f"{seed}/{trial}/{key}").random()  # in [0, 1); the same in every version of Python
        if kind == "choice":
            values[key] = given[int(unit * len(given))]
        elif kind == "int_uniform":
            values[key] = given[0] + int(unit * (given[1] - given[0] + 1))
        elif kind == "uniform":
            values[key] = _rounded(given[0] + unit * (given[1] - given[0]))
        else:
            values[key] = _rounded(math.exp(math.log(given[0]) + unit * math.log(given[1] / given[0])))
    return values


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


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


def _refuse_changed(path: Path, settings: dict[str, Any]) -> None:
    text = json.dumps(settings, indent=1, default=str, ensure_ascii=False)
    if path.exists():
        before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(text)
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            raise InputError(
                f"{path.parent} with trials of the same {', '.join(changed)}", "others",
                "give another --output, or remove that folder",
            )  # fmt: skip
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"a folder to write at --output {path.parent}", error.strerror, "give another one") from error


def _said(job: Job) -> str:
    return f"val mAP {best_validation(job.folder).get('mAP', math.nan):.3f}"


def _score(runs: Sequence[Path]) -> float | None:
    """Mean of the runs' best validation mAP; None where one has none."""
    scores = [best_validation(run).get("mAP") if "fit" in seconds_of(run) else None for run in runs]
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None


def _write_trials(
    path: Path, values: Sequence[Mapping[str, Any]], scores: Sequence[float | None], runs: Sequence[Sequence[Path]]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", *values[0], "score", "seconds"])
        for number, (chosen, score, folders) in enumerate(zip(values, scores, runs, strict=True)):
            seconds = sum(seconds_of(folder).get("fit", 0.0) for folder in folders)
            writer.writerow([number, *chosen.values(), score, f"{seconds:.1f}"])
