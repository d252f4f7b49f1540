"""Attention is drawn onto lesion masks, or boxes, where pictures have them."""

import logging
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ibca_lightning.losses import masked_mean
from ibca_lightning.metrics.localisation import touched_cells
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Batch, Setting, Step, Term

Form = Literal["mass", "kl"]
_TINY = 1e-7  # of a map that sums to 1: keeps the logarithm and its slope finite

log = logging.getLogger(__name__)


class MaskGuidance(Term):
    """The attention A of a present class is to lie on its lesion m, max-pooled to the cells of the map.

    `mass`: -log sum_n A_n m_n, the share of attention on the lesion, wherever on it. `kl`: KL(m / sum m || A),
    attention spread evenly over it. The mean over the pairs of a picture and a present class with a mask; others give
    nothing. Source: the idea of MedFocusCLIP (2025), whose code is not public; both forms are ours.

    Args:
        weight: Of the term.
        form: `mass` or `kl`.
        per_class: Use the masks of so many training groups (patients, photographs; pictures where there are none) that
            show a class, for each class, and no others: what fewer masks would bring. Rare classes are drawn first, and
            a group that is drawn gives the masks of all its classes. None uses all masks.
        seed: Draws them.
        contradictions: Whether a lesion in the mask of a class whose label is 0 is an `error`, or is left alone
            (`ignore`), as with labels that are wrong on purpose.

    Raises:
        InputError: A value is out of range.
    """

    needs = ("mask",)
    given: Tensor | None

    def __init__(
        self,
        weight: float = 0.3,
        form: Form = "mass",
        per_class: int | None = None,
        seed: int = 0,
        contradictions: Literal["error", "ignore"] = "error",
    ) -> None:
        super().__init__(weight)
        if form not in get_args(Form):
            raise InputError("MaskGuidance's form mass or kl", form, "choose one")
        if per_class is not None and per_class < 1:
            raise InputError("MaskGuidance's per_class of at least 1", per_class, "or weight 0, to turn it off")
        self.form, self.per_class, self.seed, self.contradictions = form, per_class, seed, contradictions
        self._names: Sequence[str] = ()
        self.register_buffer("given", None, persistent=False)

    def begin(self, setting: Setting) -> None:
        """Draw the pictures whose masks are used."""
        self._names = setting.class_names
        if self.per_class is None:
            return
        if setting.labels is None:
            raise InputError("the labels of the training split for MaskGuidance's per_class", "none", "leave it out")
        self.given = drawn(setting.labels, setting.groups, self.per_class, self.seed)
        number, of = int(self.given.sum()), len(self.given)
        log.info("mask guidance: the masks of %d of %d training pictures, %d a class", number, of, self.per_class)

    def labels(self, batch: Batch, labels: Tensor) -> Tensor:
        """Refuse a mask that contradicts its label.

        Raises:
            InputError: Names the first picture and its class.
        """
        if self.contradictions == "error":
            wrong = (batch["label"] == 0) & batch["mask"].flatten(2).any(-1)
            if wrong.any():
                picture, label = wrong.nonzero()[0].tolist()
                raise InputError(
                    f"an empty mask of {self._names[label]}, whose label is 0, in {batch['id'][picture]}", "a lesion",
                    "correct label or mask, or set MaskGuidance's contradictions to ignore",
                )  # fmt: skip
        return labels

    def forward(self, step: Step) -> dict[str, Tensor]:
        """See the class."""
        attention = step.output.attention.float()
        lesion = touched_cells(step.batch["mask"].to(attention.device), attention.shape[-2:])
        pairs = (step.labels == 1) & lesion.flatten(2).any(-1)
        if self.given is not None:
            pairs &= self.given[step.batch["index"]][:, None]
        inside = lesion.float()
        if self.form == "mass":
            values = -(attention * inside).sum((-2, -1)).clamp_min(_TINY).log()
        else:
            cells = inside.sum((-2, -1)).clamp_min(1)
            values = -(inside * attention.clamp_min(_TINY).log()).sum((-2, -1)) / cells - cells.log()
        return {"mask_guidance": self.weight * masked_mean(values, pairs)}


def drawn(labels: Tensor, groups: Sequence[str] | None, per_class: int, seed: int) -> Tensor:
    """Draw groups until each class is shown by `per_class` of them, or by all that there are, the rarest class first.

    Args:
        labels: (N, L) in {0, 1, -1}.
        groups: N names; None makes each row its own.
        per_class: Groups a class.
        seed: Chooses them; the groups of a smaller number are among those of a larger one.

    Returns:
        (N,) bool, whether the row's group was drawn.
    """
    names = list(range(len(labels))) if groups is None else list(groups)
    place = {name: at for at, name in enumerate(dict.fromkeys(names))}
    group = torch.tensor([place[name] for name in names], device=labels.device)
    shows = torch.zeros(len(place), labels.shape[1], dtype=torch.long, device=labels.device)
    shows.index_add_(0, group, (labels == 1).long())
    order = torch.randperm(len(place), generator=torch.Generator().manual_seed(seed)).to(labels.device)
    chosen = torch.zeros(len(place), dtype=torch.bool, device=labels.device)
    for label in (shows > 0).sum(0).argsort(stable=True).tolist():
        able = order[(shows[order, label] > 0) & ~chosen[order]]
        missing = per_class - int((chosen & (shows[:, label] > 0)).sum())
        chosen[able[: max(missing, 0)]] = True
    return chosen[group]
