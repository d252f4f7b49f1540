"""All terms of a run, as the module sees them: one object with the hooks of a term."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from ibca_lightning.losses import require_scalar
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import share
from ibca_lightning.terms.base import Batch, Rows, Setting, Step, Term

PREFIX = "terms/"
"""Of the names under which losses of terms are logged."""
_LACKING = {
    "mask": ("lesion masks in the training batches", "give data.mask_dir, or of stored maps --data.train_masks true"),
    "drawn_mask": (
        "noise drawn on the training pictures",
        "give data.drawn_noise 0.5, with stored maps of ibca maps --drawn 4",
    ),
    "spurious_mask": (
        "masks of marks in the training batches",
        "give data.marks, or of maps of marked pictures --data.train_masks true",
    ),
    "training_labels": ("a data module that knows the labels of its training split", "derive it from ours"),
}


class Terms:
    """The terms that are on, in their order. No `nn.Module`: their state is none of the model's.

    DistributedDataParallel, which therefore does not see their parameters, is stood in for by `average_gradients`.

    Args:
        terms: Those of weight 0 are left out.
    """

    def __init__(self, terms: Sequence[Term] = ()) -> None:
        seen: Counter[str] = Counter()
        self._terms: dict[str, Term] = {}
        for term in terms:
            name = type(term).__name__
            seen[name] += 1
            if term.weight:
                self._terms[name if seen[name] == 1 else f"{name}_{seen[name]}"] = term
        self._looked = False

    def __len__(self) -> int:
        return len(self._terms)

    def __iter__(self) -> Iterator[Term]:
        return iter(self._terms.values())

    def modules(self) -> list[nn.Module]:
        """The terms, for the optimiser."""
        return [*self]

    def to(self, device: torch.device) -> None:
        """Bring them where the model is."""
        for term in self:
            term.to(device)

    def begin(self, setting: Setting) -> None:
        """Tell each what it is trained on, without a trace in the random numbers of the run.

        Raises:
            InputError: The data lack what one needs.
        """
        self._looked = False
        for name, term in self._terms.items():
            if "training_labels" in term.needs and setting.labels is None:
                raise _lacking(name, "training_labels")
            with torch.random.fork_rng(devices=[]):
                term.begin(setting)

    def begin_epoch(self, progress: float) -> None:
        """Let each take stock."""
        for term in self:
            term.progress = progress
            term.begin_epoch()

    def labels(self, batch: Batch, progress: float) -> Tensor:
        """Return the labels of a batch as the terms, one behind the other, correct them.

        Raises:
            InputError: The first batch lacks what a term needs.
        """
        labels: Tensor = batch["label"]
        for name, term in self._terms.items():
            missing = next((key for key in term.needs if key not in (*batch, "training_labels")), None)
            if missing is not None and not self._looked:
                raise _lacking(name, missing)
            term.progress = progress
            labels = term.labels(batch, labels)
        self._looked = True
        return labels

    def features(self, batch: Batch, features: Tensor) -> Tensor:
        """Return the map as the terms, one behind the other, change it."""
        for term in self:
            features = term.features(batch, features)
        return features

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return what the terms add to the loss, by the names it is logged under."""
        found: dict[str, Tensor] = {}
        for term in self:
            if not isinstance(added := term(step), Mapping):
                fix = "return {} where it adds nothing, else {'name': scalar}"
                raise InputError(f"a dict from {type(term).__name__}.forward", f"a {type(added).__name__}", fix)
            for name, loss in added.items():
                require_scalar(term, loss)
                names = (f"{PREFIX}{name}" + (f"_{number}" if number > 1 else "") for number in count(1))
                found[next(own for own in names if own not in found)] = loss
        return found

    def average_gradients(self) -> None:
        """Give the parameters of terms the gradients of all processes, as DDP gives them to the model's."""
        for parameter in (p for term in self for p in term.parameters()):
            if parameter.grad is not None:
                parameter.grad = share(parameter.grad)

    def after_step(self, student: nn.Module) -> None:
        """Show each the student after a step of the optimiser."""
        for term in self:
            term.after_step(student)

    def tables(self) -> dict[str, Rows]:
        """Return what the run is to write."""
        return {stem: rows for term in self for stem, rows in term.tables().items()}

    def state(self) -> dict[str, dict[str, Any]]:
        """Return the state of each by its name, as plain data and tensors."""
        return {name: dict(term.state_dict()) for name, term in self._terms.items()}

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on with a state.

        Raises:
            InputError: It is that of other terms, or of other data.
        """
        if list(state) != list(self._terms):
            named = ["+".join(names) or "none" for names in (state, self._terms)]
            fix = "leave model.terms as they were, or start a new run with --model.init_from"
            raise InputError(f"the terms of the checkpoint, {named[0]}", named[1], fix)
        for name, term in self._terms.items():
            try:
                term.load_state_dict(dict(state[name]))
            except RuntimeError as error:
                reason, fix = str(error).splitlines()[-1].strip(), "go on with the training data it was written with"
                raise InputError(f"a checkpoint with the state of {name} for these data", reason, fix) from error


def _lacking(term: str, what: str) -> InputError:
    wanted, fix = _LACKING.get(what, (f"'{what}' in the training batches", "give data that have it"))
    return InputError(f"{wanted}, which the term {term} needs", "none", f"{fix}, or leave the term out")
