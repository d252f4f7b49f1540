"""Classes by how often training has them, in thirds: head, medium and tail, as tables of CXR-LT have them.

Holste et al., "Towards long-tailed, multi-label disease classification from chest X-ray", Medical Image Analysis 2024,
arXiv 2310.16112. Their bounds are shares of the training pictures (a tenth and a hundredth) and fit their classes; a
third of the classes each fits any set.

Shapes: N training pictures, R resamples, L classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.metrics.operating_point import Floats, class_mean

FEWEST = 6  # classes: of fewer, a third is hardly more than a class, whose AP stands by itself
MEANS = {"mAP": "AP", "AUROC": "AUROC"}
"""The figures of a part, and which figure of its classes they are the mean of."""


def frequency_thirds(labels: NDArray[np.int8]) -> dict[str, list[int]]:
    """Which classes belong to `head`, `medium` and `tail`, by their number of positives; {} of fewer than six.

    Where they do not come out even, the first thirds are the larger ones. Of equally frequent classes the first one
    counts as more frequent.

    Args:
        labels: (N, L) in {0, 1, -1}, of the training set.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.resampling.thirds import frequency_thirds
        >>> frequency_thirds(np.tri(6, dtype=np.int8))  # six classes with 6 to 1 positives
        {'head': [0, 1], 'medium': [2, 3], 'tail': [4, 5]}
    """
    positives = (labels == 1).sum(axis=0)
    if len(positives) < FEWEST:
        return {}
    parts = np.array_split(np.argsort(-positives, kind="stable"), 3)
    return {name: sorted(own.tolist()) for name, own in zip(("head", "medium", "tail"), parts, strict=True)}


def named_thirds(content: Mapping[str, Any], class_names: Sequence[str]) -> dict[str, list[int]]:
    """The same as a `test_metrics.json` names them; what is no class there is passed over."""
    given = content.get("thirds", {}).items()
    found = {name: [i for i, each in enumerate(class_names) if each in own] for name, own in given}
    return {name: own for name, own in found.items() if own}


def means_of_parts(classes: Mapping[str, Floats], parts: Mapping[str, Sequence[int]]) -> dict[str, Floats]:
    """The means of AP and AUROC over some classes each, as `mAP_<part>` and `AUROC_<part>`.

    Args:
        classes: (R, L) for each figure, NaN where it is undefined.
        parts: Indices of classes by name.

    Returns:
        (R,) each, over the classes in which the figure is defined; NaN where there is none.
    """
    return {
        f"{figure}_{name}": class_mean(classes[of][:, columns], ~np.isnan(classes[of][:, columns]))
        for name, columns in parts.items()
        for figure, of in MEANS.items()
    }
