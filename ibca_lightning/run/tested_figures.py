"""The figures that `ibca test` and its kin wrote as JSON, read again."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import regular

_FIGURES = ("metrics", "tuned", "per_class", "tuned_per_class")
_COUNTS = ("positives", "negatives", "unknown", "samples", "defined_classes", "pairs", "pictures", "count", "bins")
_SHARES = (
    "mAP", "AP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "precision", "recall", "F1", "specificity",
    "sensitivity", "sensitivity_at_95_specificity", "ECE", "class_ECE", "threshold", "frequency", "probability",
    "energy", "uniform", "pointing", "pointing_game", "pixel_AP", "deletion", "insertion",
)  # fmt: skip
CLASS_AP = "AP/"  # in front of the name of a class: its average precision
OUT_OF_FOLD = "out_of_fold"  # the test set that the held-out parts of a cross-validation are together


def figure_files(run: Path) -> dict[str, Path]:
    """The figures of each test set of a run folder: `test` where there is one, or by name, the first one first."""
    files = sorted(file for file in run.glob("test_metrics.*.json") if file.is_file())
    first = run / "test_metrics.json"  # of several test sets, a copy of the first one's
    if first.is_file():
        files = sorted(files, key=lambda file: file.read_bytes() != first.read_bytes()) or [first]
    if not files:
        raise InputError(f"test_metrics.json in {run}", "none", "run ibca test on its checkpoint first")
    return {file.name.removeprefix("test_metrics.").removesuffix("json").strip(".") or "test": file for file in files}


def first_training(run: Path) -> Path:
    """The folder that a training wrote: the run itself, or of a cross-validation its first fold."""
    fold = run / "fold-0"
    return fold if fold.is_dir() and not (run / "config.yaml").exists() else run


def read_figures(file: Path, command: str) -> dict[str, Any]:
    """The content of one file as `ibca COMMAND` writes it."""
    try:
        content = json.loads(regular(file).read_text(encoding="utf-8"))
        dict(content["metrics"]), dict(content.get("intervals", {}))
        _require_possible(content)
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
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"AP of each class under per_class in {file}", reason, "run ibca test again") from error
    return figures, intervals


def _require_possible(value: Any, keys: Sequence[str] = ()) -> None:
    """Refuse, by its name, a value that no test gives; everything in the file is looked at, wherever it stands."""
    if isinstance(value, dict):
        for key, own in value.items():
            _require_possible(own, [*keys, str(key)])
    elif not (_interval if _section(keys).endswith("intervals") else _leaf)(keys, value):
        raise ValueError(f"{'.'.join(keys)} {value!r}")


def _section(keys: Sequence[str]) -> str:
    at = {"subgroups": 3, "calibration": 1}.get(keys[0], 0)
    section = keys[at] if len(keys) > at else ""
    return section if at != 1 or section == "intervals" else ""


def _interval(keys: Sequence[str], value: Any) -> bool:
    if value is None:
        return True
    whole = isinstance(value, list) and len(value) == 2 and all(_number(keys[-1], end) for end in value)
    return whole and bool(value[0] <= value[1])


def _leaf(keys: Sequence[str], value: Any) -> bool:
    name, of_figures = keys[-1], _section(keys) in _FIGURES
    if value is None:
        return name != "threshold"
    if of_figures or name in _COUNTS or (name in _SHARES and not isinstance(value, list)):
        several = isinstance(value, list) and not of_figures  # the bins of a curve
        return all(_number(name, own) for own in value) if several else _number(name, value)
    if isinstance(value, list):
        return all(_leaf(keys, own) for own in value)
    return not isinstance(value, int | float) or abs(value) < math.inf


def _number(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < 2**63 and isinstance(value, int) if name in _COUNTS else possible(name, value)


def possible(name: str, value: float) -> bool:
    """Whether a figure of this name can have a value; what is no share lies between -1 and 1, and a gain is finite."""
    if name.endswith("gain"):
        return math.isfinite(value)
    return (0 if name.removesuffix("_uncalibrated") in _SHARES or name.endswith("energy") else -1) <= value <= 1
