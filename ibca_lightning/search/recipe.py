"""The experiment that `ibca tune` and `ibca sweep` run many times: YAML files and overrides, as for `ibca fit`."""

import math
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ibca_lightning.run.command_line.config_files import check_config_files
from ibca_lightning.run.command_line.shipped import recipe_file
from ibca_lightning.run.command_line.unknown_names import refuse_unknown
from ibca_lightning.run.run_settings import read_settings, setting
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.search.gpus import cores, places
from ibca_lightning.search.job import Job
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, given_values, require_least
from ibca_lightning.system.strangers import read_text
from ibca_lightning.system.whole_files import write_text, write_whole
from ibca_lightning.system.yaml_text import load

SCORE = "val/mAP"


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Attributes:
        configs: YAML files, and heads as options `--model.head=NAME`; a later one overrides an earlier one.
        overrides: Options of `ibca fit`, which override the files.
    """

    configs: list[str]
    overrides: list[str]

    @classmethod
    def parsed(cls, parser: OptionParser, arguments: list[str]) -> tuple[Namespace, "Recipe"]:
        """Read a command line: the command's own options, with `places` for `run_jobs`, and what is for `ibca fit`.

        Args:
            parser: With the command's own options; those of both commands are added here.
            arguments: Options behind the command.

        Raises:
            InputError: Something is missing or out of range.
        """
        parser.allow_abbrev = False  # --seed is not --seed_everything
        parser.add_argument("--config", "-c", action="append", required=True, help="YAML as for ibca fit; repeatable.")
        parser.add_argument("--output", required=True, help="Folder of the run folders.")
        parser.add_argument(
            "--processes", type=int,
            help="Runs at a time, one thread each (default: one a GPU, or one a core where there is none).",
        )  # fmt: skip
        options, overrides = parser.parse_known_args(arguments)
        if overrides and not overrides[0].startswith("--"):
            raise InputError("options that start with --", overrides[0], f"see {parser.prog} --help")
        require_least(options, processes=1)
        recipe = cls([recipe_file(path) for path in options.config], overrides)
        recipe.refuse("run_dir", fix="give --output, the folder of all runs")
        recipe.refuse("ckpt_path")
        check_config_files(recipe.arguments())
        devices, accelerator = recipe._of_trainer("devices"), recipe._of_trainer("accelerator")
        options.places = places(options.processes, devices, accelerator, cores())
        return options, recipe

    def _of_trainer(self, key: str) -> Any:
        """An option of the trainer as files and overrides give it; None where they do not."""
        given = [setting(_content(path), f"trainer.{key}") for path in self.configs]
        given += given_values(self.overrides, f"--trainer.{key}")
        return next((value for value in reversed(given) if value not in (None, "")), None)

    def refuse(self, *keys: str, fix: str = "leave it out") -> None:
        """Refuse overrides of keys that the command sets itself; `fix` says what to give instead."""
        overrides = {given.partition("=")[0].removeprefix("--") for given in self.overrides}
        for key in keys:
            if key in overrides:
                raise InputError(f"no --{key}, which differs from run to run here", f"--{key}", fix)

    def refuse_unknown(self, more: Mapping[str, Any] | None = None) -> None:
        """Refuse names that nobody knows, in its files and overrides, and among further values of `ibca fit` by key.

        For a recipe with its head, whose options may be among them.
        """
        refuse_unknown([*self.arguments(), *(f"--{key}={value}" for key, value in (more or {}).items())])

    def with_files(self, *files: Path) -> "Recipe":
        """The same with further YAML files behind its own; overrides still win."""
        return Recipe([*self.configs, *map(str, files)], self.overrides)

    def with_head(self, head: str) -> "Recipe":
        """The same with another head: a short name, a dotted class path, or a YAML file that sets it."""
        if head.endswith((".yaml", ".yml")):
            check_config_files(["fit", "--config", head])
            if setting(_content(head), "model.head") is None:
                raise InputError("a YAML file that sets model.head", head, "write model: {head: ...} in it")
            return self.with_files(Path(head))
        recipe = Recipe([*self.configs, f"--model.head={head}"], self.overrides)
        recipe.refuse_unknown()  # a slip ends no night behind other heads
        return recipe

    def head(self) -> str:
        """The head that the files name last, as it is written there; IBCA, the default, where none does."""
        named = "ibca"
        for given in self.configs:
            option, _, value = given.partition("=")
            head = value if option == "--model.head" else setting(_content(given), "model.head")
            head = head.get("class_path") if isinstance(head, dict) else head
            named = str(head or named)
        return named

    def arguments(self, *more: str) -> list[str]:
        """The command line of `ibca fit`. wandb is off unless a file or an override says otherwise."""
        files = [part for given in self.configs for part in ([given] if _is_option(given) else ["--config", given])]
        return ["fit", "--wandb=disabled", *files, *self.overrides, *more]

    def settings(self) -> dict[str, Any]:
        """What decides the result: the content of the files, comments aside, and the overrides."""
        return {"configs": [_content(given) for given in self.configs], "overrides": self.overrides}


def _is_option(given: str) -> bool:
    return given.startswith("--")  # which no file behind --config does


def _content(given: str) -> Any:
    return given if _is_option(given) else load(read_text(given))


def write_fragment(path: Path, values: Mapping[str, Any], *comments: str) -> None:
    """Write dotted keys of `ibca fit` as a YAML that `--config` merges, whole or not at all."""
    tree: dict[str, Any] = {}
    for key, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        node = tree
        *above, last = key.split(".")
        for name in above:
            if isinstance(node.get(name), str):  # `model.loss: focal`, and then its options
                node[name] = {"class_path": node[name], "init_args": {}}
            node = node.setdefault(name, {})
            node = node.get("init_args", node)
        node[last] = value
    text = "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    write_whole(path, partial(write_text, text=text))


def read_mapping(path: str, what: str, example: str) -> dict[str, Any]:
    """Read a YAML that is a mapping; an InputError says what it is to be and to look like."""
    try:
        content = load(read_text(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{what} at {path}", reason, f"write it as {example}") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{what} at {path}", type(content).__name__, f"write it as {example}")
    return content


def best_validation(run: Path) -> dict[str, float]:
    """The validation figures of a run at its best validation mAP, by name without `val/`, from `metrics.csv`.

    Empty where no mAP was ever defined.
    """
    best = max(_validations(run), key=lambda row: row[SCORE], default={})
    return {name.removeprefix("val/"): value for name, value in best.items() if name.startswith("val/")}


def said(job: Job) -> str:
    """What `run_jobs` says of a job that is done."""
    return f"val mAP {best_validation(job.folder).get('mAP', math.nan):.3f}"


def epoch_scores(run: Path) -> list[float]:
    """The validation mAP of a run after each validation so far."""
    return [row[SCORE] for row in _validations(run)]


def _validations(run: Path) -> list[dict[str, float]]:
    """The rows of `metrics.csv`, to which a run may be writing, that have a validation mAP."""
    return [row for row in read_training(run) if SCORE in row]


def config_value(run: Path, key: str) -> Any:
    """What a dotted key of `ibca fit` was in a run, from its `config.yaml`; None where it is not there."""
    return setting(read_settings(run), key)
