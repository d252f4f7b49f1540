"""What Lightning and its parts refuse, met where they are built and run, in the words of the contract."""

import re
from difflib import get_close_matches

from ibca_lightning.system.errors import InputError, causes, input_error_behind
from ibca_lightning.system.imports.users_code import users_line

_RULES = (
    (r"Requirement '([\w-]+)[^']*' not met", "the package {0}, which an option needs", "none", "pip install {0}"),
    (
        r"requested to check (\S+) of the `(\w+?)_dataloader` but \S+ \* (\d+) < 1",
        "trainer.limit_{1}_batches (or overfit_batches) of at least one of {2} batches", "{0}",
        "give a number of batches, such as 1, or a larger share",
    ),
    (
        r"`val_check_interval` \((\d+)\).*number of the training batches \((\d+)\)",
        "trainer.val_check_interval of at most the {1} batches of an epoch", "{0}",
        "lower it, or give --trainer.check_val_every_n_epoch null",
    ),
    (
        r"`Timer\(duration='?(.*?)'?\)` is not a valid duration",
        "a duration as DD:HH:MM:SS, such as 00:12:00:00 for half a day", "{0}", "write it so",
    ),
    (
        r"barebones=True", "a run that measures and saves", "trainer.barebones, with which it would do neither",
        "leave it out; --trainer.profiler simple shows where time goes",
    ),
    (
        r"checkpoint with current_epoch=(\d+), but you have set Trainer\(max_epochs=(\d+)\)",
        "trainer.max_epochs of at least the {0} epochs that the checkpoint has behind it", "{1}", "raise it",
    ),
    (r"Cannot use `(\w+)` callback with .*no logger", "a logger for {0}", "none", "leave out --trainer.logger false"),
    (
        r"view size is not compatible with input tensor's size and stride", "weights in torch's own order",
        "those of channels_last, which ModelPruning cannot take", "give --model.channels_last false",
    ),
)  # fmt: skip
"""A text that Lightning says, and what was expected, what came and what to do, each with its groups."""
_ABSENT = r"(?:metric `?|monitor=')(.+?)(?:[`']| which).* (?:is not available|could not find)(.*)"
_BUILT = (
    r"Problem with given class_path '[\w.]*?(?P<name>\w+)':\s+(?P<reason>[^\n]+)",
    r"^Does not validate.*?Errors:\s+- (?P<reason>[^\n]+).*?class_path='[\w.]*?(?P<name>\w+)'",
)
"""How jsonargparse wraps what the constructor of a class says."""


def of_lightning(error: BaseException) -> InputError | None:
    """An error that the user's options brought about, in our words; None for one that is none of those."""
    for cause in causes(error) if input_error_behind(error) is None else ():
        built = next(filter(None, (re.search(pattern, str(cause), re.S) for pattern in _BUILT)), None)
        text = built["reason"] if built else " ".join(str(cause).split())
        for pattern, expected, got, fix in _RULES:
            if found := re.search(pattern, text):
                return InputError(
                    expected.format(*found.groups()), got.format(*found.groups()), fix.format(*found.groups())
                )
        if found := re.search(_ABSENT, text):
            names = {name for name in re.findall(r"[`'](\w+/[^`']+)[`']", found[2]) if name != found[1]}
            near = "".join(f"did you mean {name}? " for name in get_close_matches(found[1], names, n=1))
            fix = f"{near}see the columns of a run's metrics.csv"
            return InputError("a figure of the run to monitor", found[1], fix)
        if built:
            if place := users_line(error):  # a constructor of the user's own, which may have a fault
                return InputError(f"{built['name']} to be built", text.rstrip(".") + place, "correct it")
            return InputError(f"options that {built['name']} takes", text.rstrip("."), "correct them")
    return None
