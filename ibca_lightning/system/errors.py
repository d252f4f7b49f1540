"""The one error a user is meant to see."""

from collections.abc import Iterator, Sequence

_LONGEST = 1000  # characters of what was expected, of what came, and of what to do


class InputError(Exception):
    """Wrong input or configuration: what was expected, what came, what to do.

    The command line prints it as one line, `error: <expected>, got <got>; <fix>`, and exits with 2.

    Args:
        expected: What would have been right, with the file, row, column or key it concerns.
        got: What came instead.
        fix: What the user can do about it.
        further: What else is wrong in the same way, for `ibca check`, which lists everything.
    """

    def __init__(self, expected: str, got: object = None, fix: str = "", further: Sequence["InputError"] = ()) -> None:
        self.expected, self.got, self.fix, self.further = expected, str(got), fix, tuple(further)
        shown = [shortened(part) for part in (expected, self.got, fix)]
        # A DataLoader raises a worker's exception again with its whole traceback as the only argument.
        text = f"{shown[0]}, got {shown[1]}; {shown[2]}" if fix else expected.rsplit("InputError: ", 1)[-1]
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str, tuple["InputError", ...]]]:
        """Survive the pickling that carries an exception out of a DataLoader worker."""
        return (type(self), (self.expected, self.got, self.fix, self.further))


def shortened(text: str) -> str:
    """A path, a cell or a shape may have any length; a line, or a row of `failed.csv`, that names it may not."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}"


class PictureError(InputError):
    """One picture, or its mask, cannot be used: what `on_bad_image: skip` may pass over."""


class DataWarning(UserWarning):
    """Data that may be meant otherwise than they are read, as `what; what to do`; `ibca check` lists it."""


class NonFiniteError(RuntimeError):
    """Training or evaluation met a NaN or an infinity and stopped before it could spoil a checkpoint or a figure."""


class DisagreementError(RuntimeError):
    """An exported model answers otherwise than its checkpoint, so no file of it was left."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, one after the other."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def input_error_behind(error: BaseException) -> InputError | None:
    """The wrong input behind an error: itself, or what another library wrapped; None where there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, InputError)), None)
