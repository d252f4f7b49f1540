"""Figures within subgroups such as sex, site or device, and how they differ from those of the largest one."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.metrics.multilabel import checked_arrays, figures_of_parts
from ibca_lightning.system.errors import InputError

_LEAST = 10  # pictures of a subgroup that has intervals: those of fewer are nearly [0, 1]
_KINDS = {"": "metrics", "tuned_": "tuned"}
_Ends = Sequence[float] | None
_NUMBERED = re.compile(r"\s*(<?)\s*(\d+(?:\.\d+)?)")


def in_order(values: Iterable[str]) -> list[str]:
    """Sort values of a subgroup for people: those that begin with a number, such as bands of age, by it, others behind.

    Examples:
        >>> from ibca_lightning.metrics.resampling.subgroups import in_order
        >>> in_order(["60+", "F", "<40", "40 to <60", "9", "100+", "A"])
        ['9', '<40', '40 to <60', '60+', '100+', 'A', 'F']
    """

    def key(value: str) -> tuple[float, bool, str]:
        found = _NUMBERED.match(value)
        return (float(found[2]), not found[1], value) if found else (math.inf, True, value)

    return sorted(values, key=key)


def by_subgroup(
    probabilities: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    subgroups: Mapping[str, Sequence[str]],
    thresholds: Sequence[float] | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compute every figure within each subgroup.

    Args:
        probabilities: (B, L) float in [0, 1].
        labels: (B, L) in {0, 1, -1}.
        class_names: L names.
        subgroups: For each column (sex, site, device) the value of each of the B samples.
        thresholds: (L,) stored thresholds for `tuned`.
        groups: B names, such as patients, for intervals; None leaves these out, and differences.

    Returns:
        {column: {value: what `figures` returns for the samples with that value}}, values `in_order`. With `groups`,
        where there are ten samples or more: what `every_interval` returns, too, and `reference`, the value of most
        samples, with `differences` and `tuned_differences` of this value's figures less those of the reference, and
        `difference_intervals` and `tuned_difference_intervals`; the reference itself has none of the five.

    Raises:
        InputError: A column has not one value a sample, or as in `figures`.
    """
    result: dict[str, dict[str, dict[str, Any]]] = {}
    scores, target = checked_arrays(probabilities, labels)
    for column, values in subgroups.items():
        if len(values) != probabilities.shape[0]:
            raise InputError(
                f"{probabilities.shape[0]} values of the subgroup column {column!r}",
                len(values),
                "give one for each sample",
            )
        rows: dict[str, list[int]] = {}
        for i, value in enumerate(values):
            rows.setdefault(value, []).append(i)
        places = {value: at for at, value in enumerate(in_order(rows))}
        parts = np.array([places[value] for value in values], dtype=np.int64)
        every = figures_of_parts(scores, target, class_names, thresholds, parts, len(places))
        found = result[column] = dict(zip(places, every, strict=True))
        for value, inside in rows.items():
            if groups is not None and len(inside) >= _LEAST:
                of = probabilities[inside], labels[inside], class_names
                found[value] |= every_interval(*of, [groups[at] for at in inside], thresholds)
        reference = max(found, key=lambda value: found[value]["samples"], default="")
        for value, own in found.items():
            if value != reference and "intervals" in own:
                own |= {"reference": reference} | _differences(own, found[reference])
    return result


def _differences(own: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = {}
    for prefix, kind in _KINDS.items():
        bounds = [of.get(f"{prefix}intervals", {}) for of in (own, reference)]
        found = {
            name: difference(own[kind][name], reference[kind][name], *(of.get(name) for of in bounds))
            for name in own[kind]
        }
        result[f"{prefix}differences"] = {name: value for name, (value, _) in found.items()}
        result[f"{prefix}difference_intervals"] = {name: ends for name, (_, ends) in found.items()}
    return result


def difference(
    first: float | None, second: float | None, ends: _Ends, others: _Ends
) -> tuple[float | None, list[float] | None]:
    """Compute a difference of two figures of different pictures, and its interval from those of the two.

    The interval is Newcombe's (Statistics in Medicine 1998, method 10): each end of the difference is as far from it as
    the ends of both figures in that direction together, squares added. Unlike one from a common scatter it is right
    where figures lie near 0 or 1. Patients with pictures in both subgroups make it too wide, if anything.

    Args:
        first: One figure, in [0, 1]; None where undefined.
        second: The other.
        ends: The interval of the first.
        others: That of the second.

    Returns:
        first - second and [low, high]; None where there is none.

    Examples:
        >>> from ibca_lightning.metrics.resampling.subgroups import difference
        >>> value, (low, high) = difference(0.8, 0.6, [0.7, 0.9], [0.5, 0.7])
        >>> round(value, 3), round(low, 3), round(high, 3)
        (0.2, 0.059, 0.341)
    """
    if first is None or second is None:
        return None, None
    middle = first - second
    if ends is None or others is None:
        return middle, None
    below, above = math.hypot(first - ends[0], others[1] - second), math.hypot(ends[1] - first, second - others[0])
    return middle, [max(middle - below, -1.0), min(middle + above, 1.0)]
