"""The figures that `ibca test` and its kin wrote as JSON, read again."""

import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_bytes, read_object, told

_FIGURES = ("metrics", "tuned", "per_class", "tuned_per_class")
# How deep in a section its values stand; above are mappings alone.
_DEEP = {name + end: 2 if "class" in name else 1 for name in _FIGURES for end in ("", "_intervals")}
_DEEP |= {"intervals": 1, "thresholds": 2, "folds": 2, "thirds": 1}
_DEEP |= {f"{tuned}{name}": 1 for tuned in ("", "tuned_") for name in ("differences", "difference_intervals")}
_DEEPEST = 10
_COUNTS = ("positives", "negatives", "unknown", "samples", "defined_classes", "pairs", "pictures", "count", "bins")
_SHARES = (
    "mAP", "AP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1", "precision", "recall", "F1", "specificity",
    "sensitivity", "sensitivity_at_95_specificity", "ECE", "class_ECE", "threshold", "frequency", "probability",
    "energy", "uniform", "pointing", "pointing_game", "pixel_AP", "deletion", "insertion",
    *(f"{name}_{third}" for name in ("mAP", "AUROC") for third in ("head", "medium", "tail")),
)  # fmt: skip
CLASS_AP = "AP/"  # in front of the name of a class: its average precision
OUT_OF_FOLD = "out_of_fold"  # the test set that the held-out parts of a cross-validation are together


def figure_files(run: Path) -> dict[str, Path]:
    """The figures of each test set of a run folder: `test` where there is one, or by name, the first one first.

    Raises:
        InputError: There is no such folder, or it was not tested.
    """
    if not run.is_dir():
        raise InputError(f"a run folder at {run}", "a file" if run.exists() else "nothing there", "correct the path")
    files = sorted(file for file in run.glob("test_metrics.*.json") if file.is_file())
    first = run / "test_metrics.json"  # of several test sets, a copy of the first one's
    if first.is_file():
        files = sorted(files, key=lambda file: read_bytes(file) != read_bytes(first)) or [first]
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
        content = read_object(file)
        if "metrics" not in content:
            raise ValueError("no metrics")
        _require_possible(content)
    except (OSError, ValueError) as error:
        fix = f"run ibca {command} again"
        raise InputError(f"the figures of ibca {command} in {file}", told(error), fix) from error
    return content


def class_precisions(
    content: dict[str, Any], file: Path
) -> tuple[dict[str, float | None], dict[str, list[float] | None]]:
    """The average precision of each class by `AP/<class>`, None where it is undefined, and the intervals there are."""
    classes = content.get("per_class", {})
    if without := [name for name, own in classes.items() if "AP" not in own] or ([] if classes else ["any"]):
        raise InputError(f"AP of each class under per_class in {file}", f"none of {without[0]}", "run ibca test again")
    stored = content.get("per_class_intervals", {})
    figures = {CLASS_AP + name: own["AP"] for name, own in classes.items()}
    return figures, {CLASS_AP + name: own["AP"] for name, own in stored.items() if "AP" in own}


def _require_possible(value: Any, keys: Sequence[str] = ()) -> None:
    """Refuse, by its name, a value that no test gives; everything in the file is looked at, wherever it stands."""
    section, deep = _section(keys)
    if section == "exclusive":
        possible = _exclusive(value)
    elif deep:
        possible = isinstance(value, dict)
    elif section == "thirds":
        possible = isinstance(value, list) and all(isinstance(name, str) for name in value)
    else:
        possible = (_interval if section.endswith("intervals") else _leaf)(keys, value)
    if not possible or len(keys) > _DEEPEST:
        raise ValueError(f"{'.'.join(keys)} {reprlib.repr(value)}")
    for key, own in value.items() if isinstance(value, dict) and section != "exclusive" else ():
        _require_possible(own, [*keys, key])


def _section(keys: Sequence[str]) -> tuple[str, bool]:
    """The section that a value stands in, and whether it has to be a mapping there."""
    at = {"subgroups": 3, "calibration": 1}.get(keys[0], 0) if keys else 0
    if len(keys) <= at:
        return "", True
    section = keys[at] if at != 1 or keys[at] == "intervals" else ""
    return section, len(keys) <= at + _DEEP.get(section, 0)


def _exclusive(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(found := value.get("found", []), list):
        return False
    whole = all(isinstance(own, dict) and isinstance(own.get("classes"), list) for own in found)
    return whole and all(
        [type(name) for name in own["classes"]] == [str, str]
        and all(_number("count", n) for n in (own.get("pictures"), value.get("pictures"), value.get("certain", 0)))
        and isinstance(own.get("certain", False), bool)
        and isinstance(expected := own.get("expected"), int | float)
        and 0 <= expected < math.inf
        for own in found
    )


def _interval(keys: Sequence[str], value: Any) -> bool:
    if value is None:
        return True
    name = "difference" if "difference" in _section(keys)[0] else keys[-1]  # of shares it may be negative
    whole = isinstance(value, list) and len(value) == 2 and all(_number(name, end) for end in value)
    return whole and bool(value[0] <= value[1])


def _leaf(keys: Sequence[str], value: Any) -> bool:
    name, section = keys[-1], _section(keys)[0]
    of_figures = section in _FIGURES or name == "threshold"
    if value is None:
        return name != "threshold"
    if section.endswith("differences"):
        return _number("difference", value)
    if of_figures or name in _COUNTS or (name in _SHARES and not isinstance(value, list)):
        several = isinstance(value, list) and not of_figures and len(keys) > 1  # the bins of a curve
        return all(_number(name, own) for own in value) if several else _number(name, value)
    if isinstance(value, list):
        return not any(isinstance(own, list | dict) for own in value) and all(_leaf(keys, own) for own in value)
    return not isinstance(value, int | float) or abs(value) < math.inf


def _number(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < 2**63 and isinstance(value, int) if name in _COUNTS else possible(name, value)


def possible(name: str, value: float) -> bool:
    """Whether a figure of this name can have a value; what is no share lies between -1 and 1, and a gain is finite."""
    if name.endswith("gain"):
        return abs(value) < math.inf  # which takes a whole number of any size
    return (0 if name.removesuffix("_uncalibrated") in _SHARES or name.endswith("energy") else -1) <= value <= 1
