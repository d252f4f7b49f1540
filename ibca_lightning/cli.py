"""The `ibca` command: finds the subcommand; `failures` turns every error into one line and an exit code.

Nothing heavy is imported before a subcommand asks for it, so that `ibca --help` answers at once.
"""

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ibca_lightning import __version__
from ibca_lightning.run.command_line.help_screen import help_of
from ibca_lightning.run.command_line.home import options_at_home
from ibca_lightning.run.command_line.light_imports import late_transformers, leave_garbage, light_imports
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.failures import exit_code
from ibca_lightning.system.imports.own_modules import own_modules
from ibca_lightning.system.options import refuse_credentials
from ibca_lightning.system.output import usable_streams, write_out
from ibca_lightning.system.terminal.foreign_words import in_one_line

HELP = f"""ibca {__version__}: multi-label recognition of medical images with IBCA and its peers

usage: ibca COMMAND [OPTIONS]

commands:
  fit       train:     ibca fit --config scm
  validate  figures on the validation set:
                       ibca validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  test      figures on the test set(s), written into the run folder:
                       ibca test --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  init      from a table and a folder of pictures to a YAML for check and fit:
                       ibca init --table TABLE --images FOLDER
  list      names of recipes, heads, losses, terms, data sets and backbones:
                       ibca list [recipes|heads|losses|terms|datasets|backbones]
  predict   probabilities for pictures, without YAML:
                       ibca predict --ckpt_path RUN/checkpoints/best.ckpt --images FILE_OR_FOLDER --output DIR
            or for the test set of a configuration:
                       ibca predict --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  check     what is wrong with the data; trains nothing:
                       ibca check --config EXPERIMENT --data.root DIR
            labels in doubt, by folds of ibca sweep:
                       ibca check --suspects RUN ...
  compare   test figures of several runs in one table, with mean and deviation over seeds:
                       ibca compare RUN RUN ... --output DIR
  faithfulness
            deletion and insertion curves of the attention on a sample of the test set:
                       ibca faithfulness --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
  tune      search over options of fit, choice by validation:
                       ibca tune --config EXPERIMENT --head HEAD --trials N --output DIR
  sweep     fit and test heads x seeds, one run a GPU at a time, or one a core where there is none:
                       ibca sweep --config EXPERIMENT --heads gap csra ibca --seeds 0 1 2 --output DIR
  explain   where the model looked: each picture with a heat map for each class it finds, as PNG and NPZ; of several
            models side by side:
                       ibca explain --ckpt_path RUN/checkpoints/best.ckpt --images FILE_OR_FOLDER --output DIR
  app       a page on this machine: drop a picture, see what the model says and how often that was right:
                       ibca app --ckpt_path RUN/checkpoints/best.ckpt
  report    a tested run as one HTML page: figures, curves, errors, training, best and worst pictures:
                       ibca report RUN
  export    the model as one file that runs without ibca (ONNX, or torch.export), checked against the checkpoint:
                       ibca export --ckpt_path RUN/checkpoints/best.ckpt --output model.onnx
  maps      maps of a frozen backbone, stored once for many heads and seeds:
                       ibca maps --config idrid_tiles --output DIR
  pack      the pictures of an experiment in shards, for sets of millions, on a disk or an object store:
                       ibca pack --config EXPERIMENT --output DIR|s3://BUCKET/FOLDER
  probe     k-NN, ridge and logistic regression on stored maps: the baseline of a minute:
                       ibca probe --config idrid_maps --data.root DIR
  completion
            a script by which bash or zsh completes commands, options and names:
                       eval "$(ibca completion bash)"

options:
  -h, --help     this text; `ibca COMMAND --help` lists a command's options
  --version      the version
  --debug        show the traceback of an error (or IBCA_DEBUG=1)

exit codes: 0 done, 2 wrong input or configuration, 130 and 143 stopped by a signal, 1 anything else
"""
_LIGHTNING = ("fit", "validate", "test", "predict")
# Each a function of the command's name in this module.
_OWN = {
    "init": "ibca_lightning.start.init",
    "check": "ibca_lightning.check.command",
    "compare": "ibca_lightning.compare.command",
    "tune": "ibca_lightning.search.tune",
    "sweep": "ibca_lightning.search.sweep",
    "faithfulness": "ibca_lightning.use.faithfulness",
    "explain": "ibca_lightning.use.explain",
    "app": "ibca_lightning.use.app.command",
    "report": "ibca_lightning.report.command",
    "export": "ibca_lightning.use.export",
    "maps": "ibca_lightning.maps.command",
    "probe": "ibca_lightning.maps.probe",
}
COMMANDS = (*_LIGHTNING, *_OWN, "pack", "list", "completion")
# `ibca fit endo` is `--config endo`.
_CONFIGURED = (*_LIGHTNING, "check", "tune", "sweep", "maps", "pack", "probe", "faithfulness")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default `sys.argv[1:]`; return an exit code as `HELP` lists them."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        usable_streams()
    in_one_line(alone=argv is None)
    debug = "--debug" in arguments or os.environ.get("IBCA_DEBUG", "") not in ("", "0")
    try:
        arguments = options_at_home([a for a in arguments if a != "--debug"])
        with own_modules(_here()):
            code = _run(arguments)
        if argv is None and arguments[:1] in (["predict"], ["explain"]):  # a process of their own, which ends here
            leave_garbage()
        return code
    except BaseException as error:
        return exit_code(error, debug)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise InputError("a current folder", "one that was removed", "change into one that is there") from None


def _require_text(arguments: list[str]) -> None:
    """Refuse what no configuration can hold: names of bytes that are no UTF-8."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError("options in UTF-8", argument, "rename the file or folder") from None


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        write_out(HELP)
        if not arguments:
            raise InputError(f"a command ({', '.join(COMMANDS)})", "none", "see above")
        return 0
    for argument in arguments:
        refuse_credentials(argument, "an option")
    command = arguments[0]
    if command == "--version":
        write_out(f"ibca {__version__}\n")
        return 0
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        raise InputError(f"a command ({', '.join(COMMANDS)})", command, f"try ibca {near[0] if near else '--help'}")
    if command in _CONFIGURED and arguments[1:] and not arguments[1].startswith("-"):
        arguments.insert(1, "--config")
    pictures = any(re.match(r"--images(=|$)", a) for a in arguments)
    if command in _CONFIGURED and not pictures:
        _require_text(arguments)
    if command == "list":
        from ibca_lightning.start.list import list_names

        return list_names(arguments[1:])
    if command == "pack":
        from ibca_lightning.datasets.packed.command import pack

        return pack(arguments[1:], _experiment_data)
    if command == "completion":
        from ibca_lightning.start.completion import completion

        return completion(arguments[1:], {each: each in _CONFIGURED for each in COMMANDS}, main)
    if command in _OWN:
        return int(getattr(import_module(_OWN[command]), command)(arguments[1:]))
    if command in _LIGHTNING and (asked := help_of(command, arguments[1:])):
        if isinstance(asked, str):
            write_out(asked)
            return 0
        arguments = [command, *asked]
    if command == "predict" and (pictures or arguments[1:] in (["--help"], ["-h"])):
        from ibca_lightning.use.predict import predict_pictures

        return predict_pictures(arguments[1:])
    from ibca_lightning.run.command_line.at_once import gone_on, refuse_at_once

    arguments = [command, *gone_on(command, arguments[1:])]
    refuse_at_once(command, arguments[1:])
    with light_imports(), late_transformers():
        from ibca_lightning.run.lightning_cli import run_lightning

    return run_lightning(arguments)


def _experiment_data(arguments: list[str]) -> Any:
    from ibca_lightning.run.command_line.at_once import refuse_at_once

    refuse_at_once("pack", arguments)
    with light_imports(), late_transformers():
        from ibca_lightning.run.experiment_data import experiment_data
    return experiment_data(arguments)


if __name__ == "__main__":
    sys.exit(main())
