"""The options of one head or loss are never those of another that takes its place.

jsonargparse keeps an option when a later file or the command line names another class that happens to have an option of
that name, and the defaults of the class before count as given. `--config experiments/mured.yaml --config
experiments/heads/ml_decoder.yaml` would build ML-Decoder with the heads and the dropout that are IBCA's defaults.
For optimisers, schedulers and data modules it stays so: lr, root and batch_size mean the same in each of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import _typehints, get_loader, set_loader
from jsonargparse._util import import_object
from yaml import YAMLError

from ibca_lightning.heads import Head
from ibca_lightning.losses import Loss
from ibca_lightning.model.public_names import with_public_names

_NAME = "discard_init_args_on_class_path_change"


@contextmanager
def own_options() -> Iterator[None]:
    """While parsing, drop all options of a head or loss that another class replaces."""
    kept: Callable[..., None] = getattr(_typehints, _NAME)

    def discard(action: Any, before: Any, now: Any) -> None:
        if before and "init_args" in before and _replaced(before["class_path"], now["class_path"]):
            for key in list(before["init_args"].keys()):
                before["init_args"].pop(key)
        kept(action, before, now)

    # There is no setting for it; `jsonargparse<5` in pyproject.toml, and the test says if the name goes.
    setattr(_typehints, _NAME, discard)
    try:
        yield
    finally:
        setattr(_typehints, _NAME, kept)


@contextmanager
def public_class_paths() -> Iterator[None]:
    """While parsing, read every class path of this package as its public name: old files name modules that moved."""
    load = get_loader("yaml")
    set_loader("yaml", lambda text: with_public_names(load(text)), (YAMLError,))
    try:
        yield
    finally:
        set_loader("yaml", load, (YAMLError,))


def _replaced(before: str, now: str) -> bool:
    """Whether another head or loss has been named; a class is the same by its short name and by its whole one."""
    if before.rpartition(".")[2] == now.rpartition(".")[2]:
        return False
    cls = import_object(now)
    return isinstance(cls, type) and issubclass(cls, Head | Loss)
