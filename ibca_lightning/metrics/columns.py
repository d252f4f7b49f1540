"""The form of a table of predictions: its columns, and the cells of a row."""

from collections.abc import Sequence


def prediction_columns(class_names: Sequence[str], labelled: bool = True, decided: bool = True) -> list[str]:
    """The header of a table of predictions, with the columns of labels and of decisions where asked for.

    Example:
        >>> from ibca_lightning.metrics.columns import prediction_columns
        >>> prediction_columns(["drusen"])
        ['id', 'drusen', 'label:drusen', 'decision:drusen', 'threshold:drusen']
    """
    known = [f"label:{name}" for name in class_names] if labelled else []
    return ["id", *class_names, *known, *(decision_columns(class_names) if decided else [])]


def digits(row: Sequence[float]) -> list[str]:
    """Probabilities with the nine significant digits that give back every float32."""
    return [f"{value:.9g}" for value in row]


def decision_columns(class_names: Sequence[str]) -> list[str]:
    """The header of what `decisions` gives."""
    return [f"{what}:{name}" for what in ("decision", "threshold") for name in class_names]


def decisions(row: Sequence[float], thresholds: Sequence[float]) -> list[str]:
    """For each class 1 where its probability is above its threshold, else 0; then the thresholds.

    Example:
        >>> from ibca_lightning.metrics.columns import decisions
        >>> decisions([0.7, 0.3], thresholds=[0.5, 0.3])  # found is what lies above the threshold, not at it
        ['1', '0', '0.5', '0.3']
    """
    chosen = [str(int(value > threshold)) for value, threshold in zip(row, thresholds, strict=True)]
    return chosen + [repr(float(threshold)) for threshold in thresholds]
