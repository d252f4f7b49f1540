"""What the options of a data module may be: one wording for what is wrong."""

from collections.abc import Collection, Sequence
from typing import Any, get_args

from ibca_lightning.system.errors import InputError


def check_choice(name: str, value: object, kind: Any) -> None:
    """Refuse what a `Literal` does not hold.

    Raises:
        InputError: Names the option and its choices.
    """
    *most, last = map(str, get_args(kind))
    if value not in get_args(kind):
        raise InputError(f"data.{name}: {', '.join(most)} or {last}", repr(value), "correct the value")


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number in a range.

    Raises:
        InputError: Names the option and the range.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        wanted = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"data.{name} {wanted}", repr(value), "correct the value")


def check_classes(classes: Sequence[str] | None, known: Collection[str]) -> None:
    """Refuse a choice of classes that is empty, or names one that is not known or stands there twice.

    Raises:
        InputError: Names those that are known.
    """
    if classes is not None and (not classes or len({*classes} & {*known}) < len(classes)):
        raise InputError(f"some of {', '.join(known)} in data.classes, each once", repr(classes), "correct the list")
