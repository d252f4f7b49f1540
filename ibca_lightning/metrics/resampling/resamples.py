"""Every figure of a test set in resamples of its groups.

Pictures of one patient are not independent: whole groups are drawn with replacement (Field and Welsh, JRSS B 2007), a
sample then weighs as often as its group was drawn. Each class is sorted once; the resamples, as columns of weights,
share the sorting, so that a thousand of them cost seconds.

Shapes: N samples, L classes, R resamples, G groups.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ibca_lightning.metrics.localisation import averages, class_averages, columns_of
from ibca_lightning.metrics.multilabel import checked_arrays
from ibca_lightning.metrics.operating_point import Counts, Floats, class_mean, overall_figures, per_class_figures
from ibca_lightning.metrics.reliability import Binned, calibration_errors
from ibca_lightning.metrics.resampling.ranked import Groups, Ranked, Runs
from ibca_lightning.metrics.resampling.spread import effective
from ibca_lightning.metrics.resampling.thirds import means_of_parts
from ibca_lightning.system.errors import InputError

_CHUNK = 2**22  # weights held at once, 16 MB
_FEW, _MANY = 16, 64  # resamples at once: a line of the cache, so that it is not fetched for one, and four
MOST, FEWEST = 1000, 200  # resamples, of a small set and of a large one
_WORK = 2 * 10**8  # pictures x classes x resamples, from which on there are fewer
RANKING = ("AP", "AUROC", "sensitivity_at_95_specificity")


class Resampled(NamedTuple):
    """One figure.

    Attributes:
        value: Of the sample itself, NaN where undefined.
        draws: (R,), of each resample, NaN where undefined.
        groups: As many equal ones are as good as those drawn from.
    """

    value: float
    draws: Floats
    groups: float


@dataclass(frozen=True)
class Drawn:
    """Figures under weights.

    Attributes:
        overall: (R,) for each figure.
        classes: (R, L) for each.
        tuned: (R,), at stored thresholds; {} without them.
        tuned_classes: (R, L).
        gaps: (R, L, BINS), sums of probability less label.
        known: (R, L), known labels.
    """

    overall: dict[str, Floats]
    classes: dict[str, Floats]
    tuned: dict[str, Floats]
    tuned_classes: dict[str, Floats]
    gaps: Floats
    known: Floats


class Sample:
    """One test set, sorted and counted once.

    Args:
        probabilities: (N, L) float in [0, 1].
        labels: (N, L) in {0, 1, -1}.
        groups: N names; None: each sample is its own.
        pairs: Localisation figures of (picture, class) pairs, each (N, L).
        thresholds: (L,), stored ones.
        ranking: Whether AP and its kin are wanted, which take most of the time.

    Raises:
        InputError: As in `figures`, or there is not one group a sample.
    """

    def __init__(
        self,
        probabilities: Tensor,
        labels: Tensor,
        groups: Sequence[str] | None = None,
        pairs: Mapping[str, Tensor] | None = None,
        thresholds: Sequence[float] | None = None,
        ranking: bool = True,
    ) -> None:
        scores, target = checked_arrays(probabilities, labels)
        if groups is not None and len(groups) != len(scores):
            raise InputError(f"{len(scores)} groups", len(groups), "give one for each sample")
        self.samples, self.classes = scores.shape
        self.known = target >= 0
        self._groups = Groups(np.arange(len(scores)) if groups is None else _numbered(groups))
        of, number = self._groups.codes, self._groups.number
        order = np.argsort(of, kind="stable")
        self._members = Runs(*map(torch.from_numpy, (order, np.flatnonzero(np.diff(of[order], prepend=-1)))))
        self._ranked, self.binned = list[Ranked](), list[Binned]()
        for at in range(self.classes):
            column = scores[:, at].copy(), target[:, at].copy()  # side by side
            if ranking:
                self._ranked.append(Ranked(*column, self._groups))
            self.binned.append(Binned(*column, of, number))
        positive, negative = target == 1, target == 0
        columns = [positive, negative]
        for points in (0.5, *(() if thresholds is None else (np.asarray(thresholds, dtype=np.float64),))):
            predicted = scores > points
            columns += [positive & predicted, (positive | negative) & predicted]
        self._counted = [self.by_group(each).astype(np.float32) for each in columns]
        self.pairs = {name: column.detach().cpu().double().numpy() for name, column in (pairs or {}).items()}

    def itself(self) -> Drawn:
        """The figures of the sample: each array as of one resample."""
        return self._under(np.ones((self._groups.number, 1), np.float32))

    def resampled(self, resamples: int | None, seed: int) -> Drawn:
        """The figures of `resamples` resamples; None takes as many as a set of this size needs."""
        number = resamples or max(FEWEST, min(MOST, _WORK // max(self.samples * self.classes, 1)))
        drawn = [self._under(weights) for weights in self._weights(number, seed)]
        return Drawn(
            _together([chunk.overall for chunk in drawn]),
            _together([chunk.classes for chunk in drawn]),
            _together([chunk.tuned for chunk in drawn]),
            _together([chunk.tuned_classes for chunk in drawn]),
            np.concatenate([chunk.gaps for chunk in drawn]),
            np.concatenate([chunk.known for chunk in drawn]),
        )

    def counts(self, *, tuned: bool = False) -> Counts:
        """Of each group, (G, L), at 0.5 or at the stored thresholds."""
        positives, negatives, *decided = (each.astype(np.float64) for each in self._counted)
        hits, predicted = decided[2:] if tuned else decided[:2]
        return Counts(hits, predicted, positives, negatives)

    def pair_sizes(self) -> dict[str, Floats]:
        """How many pairs each group has of each figure of `pairs`, (G, L): a mark is in some pictures alone."""
        return {name: self.by_group(~np.isnan(column)) for name, column in self.pairs.items()}

    def pair_sums(self) -> dict[str, Floats]:
        """Sums of each figure of `pairs` over the pairs of each group, (G, L)."""
        of, number = self._groups.codes, self._groups.number
        return {
            name: np.stack([np.bincount(of, each, number) for each in np.nan_to_num(column).T], axis=1)
            for name, column in self.pairs.items()
        }

    def by_group(self, values: NDArray[np.float32] | NDArray[np.bool_]) -> Floats:
        """Sums of (N, ...), whole numbers, within each group: (G, ...)."""
        if not self.samples:
            return np.zeros((0, *values.shape[1:]))
        columns = torch.from_numpy(values.astype(np.float32).reshape(self.samples, -1))
        found: Floats = self._members.sums(columns).numpy().reshape(-1, *values.shape[1:])
        return found

    def _under(self, weights: NDArray[np.float32]) -> Drawn:
        totals = [(weights.T @ each).astype(np.float64) for each in self._counted]
        positives, negatives, hits, predicted = totals[:4]
        counts = Counts(hits, predicted, positives, negatives)
        ranked = [own.figures(weights, negatives[:, i]) for i, own in enumerate(self._ranked)]
        columns = (np.stack(column, axis=-1) for column in zip(*ranked, strict=True))
        classes = dict(zip(RANKING, columns, strict=bool(ranked)))
        overall = {name.replace("AP", "mAP"): class_mean(column, counts.defined) for name, column in classes.items()}
        gaps = np.stack([own.gaps(weights).T for own in self.binned], axis=1)
        errors = calibration_errors(gaps, counts)
        overall |= overall_figures(counts) | {name: errors[name] for name in ("ECE", "class_ECE")}
        classes |= per_class_figures(counts) | {"ECE": errors["per_class"]}
        classes = {name: np.where(counts.defined, column, np.nan) for name, column in classes.items()}
        of_samples = weights[self._groups.codes] if self.pairs else weights
        tuned = Counts(totals[4], totals[5], positives, negatives) if len(totals) > 4 else None
        return Drawn(
            overall | averages(self.pairs, of_samples),
            classes | class_averages(self.pairs, of_samples),
            overall_figures(tuned) if tuned else {},
            per_class_figures(tuned) if tuned else {},
            gaps,
            positives + negatives,
        )

    def _weights(self, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
        """Yield how often each group is drawn, (G, R), some resamples at a time, so that memory stays bounded."""
        number = self._groups.number
        generator = np.random.default_rng(seed)
        size = min(max(_FEW, _CHUNK // max(number, 1)), _MANY)
        for start in range(0, resamples, size):
            weights = np.empty((number, min(size, resamples - start)), np.float32)
            for at in range(weights.shape[1]):  # one draw a resample, so that none depends on the size of the chunks
                weights[:, at] = np.bincount(generator.integers(max(number, 1), size=number), minlength=number)
            yield weights


def _numbered(names: Sequence[str]) -> NDArray[np.intp]:
    """For each name its place among the different ones, sorted."""
    texts = [str(name) for name in names]  # numbers, None and tensors are names too
    places = {text: at for at, text in enumerate(sorted(set(texts)))}
    return np.array([places[text] for text in texts], dtype=np.intp)


def _together(chunks: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def resampled_figures(
    probabilities: Tensor,
    labels: Tensor,
    groups: Sequence[str] | None = None,
    resamples: int | None = None,
    seed: int = 0,
    pairs: Mapping[str, Tensor] | None = None,
    class_figures: Sequence[str] | None = None,
    parts: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Resampled]:
    """Compute every figure of `metrics` in each resample, for `paired_intervals`.

    Args:
        probabilities: As for `bootstrap_intervals`, and so are all others.
        labels: (N, L).
        groups: N names.
        resamples: R.
        seed: Of the draws.
        pairs: Each (N, L).
        class_figures: L names under which the AP of each class is returned too; None leaves them out.
        parts: Indices of classes by name, for what `thirds.means_of_parts` returns.

    Returns:
        By figure.

    Raises:
        InputError: As `bootstrap_intervals`.

    Examples:
        >>> import torch
        >>> from ibca_lightning.metrics.resampling.resamples import resampled_figures
        >>> drawn = resampled_figures(torch.tensor([[0.9], [0.1]]), torch.tensor([[1], [0]]), resamples=200)
        >>> drawn["mAP"].value, drawn["mAP"].draws.shape  # NaN in the half that draws one picture twice
        (1.0, (200,))
    """
    sample = Sample(probabilities, labels, groups, pairs)
    value, drawn = sample.itself(), sample.resampled(resamples, seed)
    every = float(effective(sample.by_group(np.ones(sample.samples, np.float32))))
    of_pairs = {name: float(effective(sizes.sum(axis=1))) for name, sizes in sample.pair_sizes().items()}
    of_class = effective(sample.counts().positives)
    values, draws = (own.overall | means_of_parts(own.classes, parts or {}) for own in (value, drawn))
    found = {
        name: Resampled(float(own[0]), draws[name], of_pairs.get(columns_of(name)[0], every))
        for name, own in values.items()
    }
    for i, name in enumerate(class_figures or ()):
        found[name] = Resampled(float(value.classes["AP"][0, i]), drawn.classes["AP"][:, i], float(of_class[i]))
    return found
