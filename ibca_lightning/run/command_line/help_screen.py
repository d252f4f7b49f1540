"""`ibca fit --help`: the options that people need on one screen, and the way to all others. Loads nothing."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from ibca_lightning.run.command_line.short_names import NAMES, class_paths

_ALL = """
every option:
  ibca {0} --help model                 of the model; model csra: of a head
  ibca {0} --help data CSVDataModule    of a data set (ibca list datasets)
  ibca {0} --help trainer               of everything, Lightning's too
"""
_FIT = """usage: ibca fit EXPERIMENT [OPTIONS]

Trains. EXPERIMENT is a YAML file, or the name of a recipe (ibca list recipes).
Every key of the YAML is an option.

  --data.root DIR            the folder of the data set
  --data.image_size N        the side of the square pictures, in pixels (384)
  --data.batch_size N        pictures a step (16)
  --data.num_workers N       processes that read pictures (4)
  --model.head NAME          ibca, csra, gap, ... (ibca list heads)
  --model.backbone NAME      any of timm (ibca list backbones)
  --model.learning_rate X    of the head; --model.backbone_lr_scale for the rest
  --trainer.max_epochs N     passes over the training set
  --trainer.devices N        GPUs, or processes on a CPU (all GPUs)
  --seed_everything N        another run of the same (0)
  --run_dir DIR              where the run lies (runs/EXPERIMENT/TIME)
  --ckpt_path FILE           go on: RUN/config.yaml, RUN/checkpoints/last.ckpt

examples:
  ibca fit scm                                  makes its own pictures
  ibca fit endo --data.root data/endo --model.head csra
  ibca fit ward7.yaml --run_dir runs/first --trainer.max_epochs 20
"""
_TEST = """usage: ibca {0} RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt

{1}

  --data.root DIR            the data at another place
  --data.test_csv FILE       another table (CSVDataModule)
  --data.batch_size N        pictures a step
  --trainer.devices N        GPUs, or processes on a CPU (all GPUs)
  --run_dir DIR              where to write, if not into the run
"""
# As they are often called, and as other commands call them.
_OTHERWISE = {
    "lr": "model.learning_rate", "seed": "seed_everything", "output": "run_dir", "device": "trainer.accelerator",
    "precision": "trainer.precision",
}  # fmt: skip
_SCREENS = {
    "fit": _FIT,
    "test": _TEST.format("test", "The figures of the test set(s), written into the run folder."),
    "validate": _TEST.format("validate", "The figures of the validation set, printed."),
}


def help_of(command: str, arguments: Sequence[str]) -> str | list[str] | None:
    """What `ibca COMMAND --help ...` asks for.

    Args:
        command: Of Lightning, such as `fit`.
        arguments: What stands behind it.

    Returns:
        A screen to print; or the arguments under which the parser prints the options of one class; or None, where the
        parser is asked for everything or nothing.

    Examples:
        >>> from ibca_lightning.run.command_line.help_screen import help_of
        >>> help_of("fit", ["--help", "data", "CSVDataModule"])
        ['--data.help', 'CSVDataModule']
        >>> help_of("fit", ["--help"]).splitlines()[0]
        'usage: ibca fit EXPERIMENT [OPTIONS]'
    """
    at = next((at for at, argument in enumerate(arguments) if argument in ("-h", "--help")), None)
    if at is None:
        return None
    about = list(arguments[at + 1 :])
    if not about and at == 0 and command in _SCREENS:
        return _SCREENS[command] + _ALL.format(command)
    if about[:1] == ["model"]:
        if not about[1:]:
            return ["--model.help", "MultiLabelModule"]
        is_loss = any(".losses." in path for path in class_paths(about[1]))
        return ["--model.loss.help" if is_loss else "--model.head.help", about[1]]
    if about[:1] == ["data"]:
        return ["--data.help", *(about[1:2] or ["CSVDataModule"])]
    return None


def likely_option(name: str) -> str | None:
    """The option of the screen of `fit`, or one that takes a class, that ends in such a name or nearly so.

    Examples:
        >>> from ibca_lightning.run.command_line.help_screen import likely_option
        >>> likely_option("head"), likely_option("epochs"), likely_option("lr"), likely_option("colour")
        ('model.head', 'trainer.max_epochs', 'model.learning_rate', None)
    """
    options = [*NAMES, *re.findall(r"--([\w.]+)", _FIT)]
    by_end = {option.rpartition(".")[2]: option for option in options} | _OTHERWISE
    near = get_close_matches(name, by_end, n=1)
    return by_end[near[0]] if near else None
