"""The form of a table of predictions: its columns, and the cells of a row."""

from collections.abc import Sequence


def prediction_columns(class_names: Sequence[str], labelled: bool = True, decided: bool = True) -> list[str]:
    """The header of a table of predictions, with the columns of labels and of decisions where asked for."""
    further = (["label"] if labelled else []) + (["decision", "threshold"] if decided else [])
    return ["id", *class_names, *(f"{what}:{name}" for what in further for name in class_names)]


def excel_safe(cell: str) -> str:
    """A cell that a spreadsheet shows and does not run: an apostrophe stands before `=`, `+`, `-`, `@`, tab and CR."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def digits(row: Sequence[float]) -> list[str]:
    """Probabilities with the nine significant digits that give back every float32."""
    return [f"{value:.9g}" for value in row]


def decisions(row: Sequence[float], thresholds: Sequence[float]) -> list[str]:
    """For each class 1 where its probability is above its threshold, else 0; then the thresholds."""
    chosen = [str(int(value > threshold)) for value, threshold in zip(row, thresholds, strict=True)]
    return chosen + [repr(float(threshold)) for threshold in thresholds]
