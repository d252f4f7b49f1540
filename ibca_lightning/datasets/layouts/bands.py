"""Numbers such as ages as bands of few values, for figures by subgroup."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_NUMBER = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*[yY]?\s*")
_LEAST = 10  # rows of a band


def number(text: str) -> float | None:
    """The number that a cell holds, such as `45`, `45,5` or DICOM's `045Y`; None where it holds none."""
    found = _NUMBER.fullmatch(text)
    return float(found[1].replace(",", ".")) if found else None


def in_bands(texts: Sequence[str], limits: Sequence[float]) -> list[str]:
    """The band of each number; a cell without one stays as it is.

    Args:
        texts: The cells.
        limits: Where a band ends and the next begins, which has the limit itself.

    Examples:
        >>> from ibca_lightning.datasets.layouts.bands import in_bands
        >>> in_bands(["12", "40", "77", ""], [40, 60])
        ['<40', '40 to <60', '60+', '']
    """
    edges = [f"{limit:g}" for limit in sorted(limits)]
    names = [f"<{edges[0]}", *(f"{low} to <{high}" for low, high in pairwise(edges)), f"{edges[-1]}+"]
    numbers = [number(text) for text in texts]
    at = np.searchsorted(sorted(limits), [value or 0 for value in numbers], side="right")
    return [text if value is None else names[i] for text, value, i in zip(texts, numbers, at.tolist(), strict=True)]


def limits_of(texts: Sequence[str]) -> list[int]:
    """The multiples of ten nearest to the thirds of some numbers; fewer where a band would have fewer than 10 rows."""
    numbers = np.array([value for value in map(number, texts) if value is not None])
    limits: list[int] = []
    for third in np.quantile(numbers, (1 / 3, 2 / 3)) if len(numbers) else ():
        limit = round(third / 10) * 10
        between = (numbers < limit) & (numbers >= max(limits, default=0))
        if min(between.sum(), (numbers >= limit).sum()) >= _LEAST:
            limits.append(limit)
    return limits
