"""What terms share that ask trained models about the pictures of a step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Setting, Step, Teacher, Term


class Answer(NamedTuple):
    """What a model says of a step, in the order of the student's classes.

    Attributes:
        logits: (B, L), in float32.
        attention: (B, L, h, w), likewise.
        known: (1, L) bool, which classes the model has; what it says of others means nothing.
    """

    logits: Tensor
    attention: Tensor
    known: Tensor


class AskingTerm(Term):
    """A term that asks models of `ibca fit`, of any backbone and head.

    Classes are matched by name, pictures are normalised and resized as theirs. They are never saved; that they are the
    same files is checked when a run is taken up. On stored maps they need the backbone of the maps.

    Args:
        paths: Their checkpoints.
        weight: Of the term.

    Attributes:
        teachers: The models, from `begin` on.
    """

    def __init__(self, paths: Sequence[str], weight: float) -> None:
        super().__init__(weight)
        self.paths = list(paths)
        self.teachers: list[Teacher] = []  # no parts of this module: neither saved nor trained
        self._columns: list[list[int | None]] = []

    def begin(self, setting: Setting) -> None:
        """Load the models, and find the classes that each can speak of.

        Raises:
            InputError: One has no class of the data.
        """
        name = type(self).__name__
        if setting.load is None:
            raise InputError(f"a way to load the models that {name} asks", "none", "train with MultiLabelModule")
        self.teachers = [setting.load(path).requires_grad_(False).eval() for path in self.paths]
        self._columns = []
        for path, model in zip(self.paths, self.teachers, strict=True):
            names = list(model.class_names)
            self._columns.append([names.index(name) if name in names else None for name in setting.class_names])
            if all(column is None for column in self._columns[-1]):
                expected = f"a model with one of the classes {', '.join(setting.class_names[:5])} for {name}"
                raise InputError(expected, f"{', '.join(names[:5])} of {path}", "give another one")

    @torch.no_grad()
    def ask(self, step: Step) -> list[Answer]:
        """Return what each says of the step's batch."""
        answers = []
        for model, columns in zip(self.teachers, self._columns, strict=True):
            output, order = model(step.batch), [column or 0 for column in columns]
            known = torch.tensor([[column is not None for column in columns]], device=output.logits.device)
            answers.append(Answer(output.logits.float()[:, order], output.attention.float()[:, order], known))
        return answers

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
        """Take the models along to another device."""
        for model in self.teachers:
            model._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def get_extra_state(self) -> list[str]:
        """What the models were, but not they themselves."""
        return [model.digest for model in self.teachers]

    def set_extra_state(self, state: list[str]) -> None:
        """Go on with the same models.

        Raises:
            InputError: A file has changed.
        """
        for path, before, model in zip(self.paths, state, self.teachers, strict=True):
            if before != model.digest:
                raise InputError(f"the model that the run began with at {path}", "another file", "restore it")
