"""The figures that `ibca test` and its kin wrote as JSON, read again."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import regular

_FIGURES = ("metrics", "tuned", "per_class", "intervals", "per_class_intervals")
_SHARES = (
    "mAP", "AP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "precision", "recall", "F1", "specificity",
    "ECE", "class_ECE",
)  # fmt: skip
CLASS_AP = "AP/"  # in front of the name of a class: its average precision


def figure_files(run: Path) -> dict[str, Path]:
    """The figures of each test set of a run folder: `test` where there is one, or by name, the first one first."""
    files = sorted(file for file in run.glob("test_metrics.*.json") if file.is_file())
    first = run / "test_metrics.json"  # of several test sets, a copy of the first one's
    if first.is_file():
        files = sorted(files, key=lambda file: file.read_bytes() != first.read_bytes()) or [first]
    if not files:
        raise InputError(f"test_metrics.json in {run}", "none", "run ibca test on its checkpoint first")
    return {file.name.removeprefix("test_metrics.").removesuffix("json").strip(".") or "test": file for file in files}


def read_figures(file: Path, command: str) -> dict[str, Any]:
    """The content of one file as `ibca COMMAND` writes it."""
    try:
        content = json.loads(regular(file).read_text(encoding="utf-8"))
        ends = [end for interval in dict(content.get("intervals", {})).values() for end in interval or ()]
        _require_numbers([*dict(content["metrics"]).values(), *ends])
        _require_possible(content, [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the figures of ibca {command} in {file}", error, f"run ibca {command} again") from error
    assert isinstance(content, dict)
    return content


def class_precisions(
    content: dict[str, Any], file: Path
) -> tuple[dict[str, float | None], dict[str, list[float] | None]]:
    """The average precision of each class by `AP/<class>`, None where it is undefined, and the intervals there are."""
    try:
        figures = {CLASS_AP + name: own["AP"] for name, own in dict(content["per_class"]).items()}
        stored = dict(content.get("per_class_intervals", {})).items()
        intervals = {CLASS_AP + name: own["AP"] for name, own in stored}
        _require_numbers([*figures.values(), *(end for interval in intervals.values() for end in interval or ())])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"AP of each class under per_class in {file}", reason, "run ibca test again") from error
    return figures, intervals


def _require_possible(value: Any, keys: list[str]) -> None:
    """Refuse, by its name, a number that no test gives; everything in the file is looked at, wherever it stands."""
    if isinstance(value, list) and "intervals" in keys[0] and (len(value) != 2 or value[0] > value[1]):
        raise ValueError(f"{'.'.join(keys)} {value}")
    if isinstance(value, dict | list):
        for key, own in value.items() if isinstance(value, dict) else enumerate(value):
            _require_possible(own, [*keys, str(key)])
    elif keys[0] in _FIGURES and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{'.'.join(keys)} {value!r}")
    elif isinstance(value, int | float) and not (0 <= value <= 1 if keys[-1] in _SHARES else math.isfinite(value)):
        raise ValueError(f"{'.'.join(keys)} {value}")


def _require_numbers(values: Iterable[Any]) -> None:
    for value in values:
        if value is not None:
            math.isfinite(value)  # a TypeError where it is no number
