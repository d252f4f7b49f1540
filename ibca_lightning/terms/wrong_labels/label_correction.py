"""Labels that an averaged model contradicts are turned over, each epoch anew."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ibca_lightning.system.errors import InputError
from ibca_lightning.terms.base import Batch, Rows, Setting, Step, Term
from ibca_lightning.terms.mean_teacher import MeanTeacher
from ibca_lightning.terms.memory import remember

Rule = Literal["confident", "fixed"]


class LabelCorrection(Term):
    """A teacher, the average of the student's weights, says which labels of the training split are wrong.

    `confident`: a label 0 becomes 1 where the teacher's p is above the mean p of the given positives of its class, and
    a label 1 becomes 0 where it is below that of the given negatives. `fixed`: above 0.9, below 0.1. From the original
    labels, before each epoch, by what the teacher said in the epoch before; an unknown label stays unknown.
    Source: the ideas of DHLC and CELC (2023), whose code is not public; ours for several labels. `corrections.csv` of
    the run lists what the last epoch learnt in place of the table.

    Args:
        rule: `confident` or `fixed`.
        start: Share of the training, in [0, 1], before which nothing is corrected.
        teacher_decay: Of the average, a step, in [0, 1).
        site_column: One of data.subgroup_columns, such as the hospital: means are then those of each site. None takes
            all together.

    Raises:
        InputError: A value is out of range, or there is no such column.
    """

    needs = ("training_labels",)
    given: Tensor
    current: Tensor
    seen: Tensor
    sites: Tensor

    def __init__(
        self,
        rule: Rule = "confident",
        start: float = 0.4,
        teacher_decay: float = 0.98,
        site_column: str | None = None,
    ) -> None:
        super().__init__()
        if rule not in get_args(Rule):
            raise InputError("LabelCorrection's rule confident or fixed", rule, "choose one")
        if not 0 <= start <= 1 or not 0 <= teacher_decay < 1:
            got = f"{start}, {teacher_decay}"
            raise InputError("LabelCorrection's start in [0, 1] and teacher_decay in [0, 1)", got, "correct them")
        self.rule, self.start, self.site_column = rule, start, site_column
        self.teacher = MeanTeacher(teacher_decay)
        self._setting = Setting([])

    def begin(self, setting: Setting) -> None:
        """Keep the labels as they were given."""
        assert setting.labels is not None
        self._setting = setting
        self.register_buffer("given", setting.labels, persistent=False)
        none = torch.zeros(len(setting.labels), dtype=torch.long)
        sites = setting.sites(self.site_column, "LabelCorrection") if self.site_column else none
        self.register_buffer("sites", sites, persistent=False)
        self.register_buffer("current", setting.labels.clone())
        self.register_buffer("seen", torch.full(setting.labels.shape, torch.nan))

    def begin_epoch(self) -> None:
        """Correct all labels anew."""
        if self.progress < self.start:
            return
        self.current.copy_(self.given)
        for site in range(int(self.sites.max()) + 1):
            rows = self.sites == site
            self.current[rows] = corrected(self.given[rows], self.seen[rows], self.rule)

    def labels(self, batch: Batch, labels: Tensor) -> Tensor:
        """Return the corrected labels of a batch, where a term before this one has not changed them."""
        index = batch["index"]
        return torch.where(self.current[index] != self.given[index], self.current[index], labels)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Ask the teacher; nothing is added to the loss."""
        said = self.teacher(step).output.logits.float().sigmoid()
        remember(self.seen, step.batch["index"], said, lambda _, p: p)
        return {}

    def after_step(self, student: nn.Module) -> None:
        """Move the teacher."""
        self.teacher.update(student)

    def tables(self) -> dict[str, Rows]:
        """Return each label that is not as it was given."""
        rows: Rows = [("id", "class", "given", "corrected", "probability")]
        for row, label in (self.current != self.given).nonzero().tolist():
            values = (int(of[row, label]) for of in (self.given, self.current))
            name = self._setting.ids[row] if self._setting.ids else row
            rows.append((name, self._setting.class_names[label], *values, f"{float(self.seen[row, label]):.6g}"))
        return {"corrections": rows}


def corrected(given: Tensor, probability: Tensor, rule: Rule) -> Tensor:
    """Turn over the labels that the probabilities contradict.

    Args:
        given: (N, L) in {0, 1, -1}.
        probability: (N, L), NaN where nothing was said.
        rule: As `LabelCorrection` has it.

    Returns:
        (N, L) in {0, 1, -1}.
    """
    means = [torch.where(given == value, probability, torch.nan).nanmean(0) for value in (1, 0)]
    above, below = (0.9, 0.1) if rule == "fixed" else means
    found = torch.where((given == 0) & (probability > above), 1, given)
    return torch.where((given == 1) & (probability < below), 0, found).to(given.dtype)
