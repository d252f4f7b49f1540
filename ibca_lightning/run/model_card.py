"""`model_card.md`: what a checkpoint is, what it was made of and how well it does, for people.

The facts stand in the file a second time, as JSON in a comment, so that `ibca test` can add to what `ibca fit` wrote.
No picture names, no groups, no paths outside of the folder that was worked in.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "model_card.md"
_FACTS = re.compile(r"<!-- ibca-facts (.*) -->\s*\Z", re.S)
_PATH = re.compile(r"""(?<![\w.~/\\-])(?:~|[A-Za-z]:)?[/\\][^\s"',;}\]]*|(?<![\w.])(?:\.\.[/\\])[^\s"',;}\]]*""")
_SHOWN = ("mAP", "AUROC", "CF1", "OF1", "CP", "CR", "OP", "OR", "attention_energy", "attention_gain", "pixel_AP")
_USE = """\
Finds which of the classes above are present in a picture of the kind that it was trained on, and marks where it looked.
Made for research: to compare methods, and to study where a model's attention lies.

## Limits

- **Not a medical device.** Not for diagnosis, triage or any decision about a patient.
- The figures hold for pictures like those of the test set: other cameras, clinics, populations and diseases were not
  looked at, unless the test set names them. A class that is not in the list cannot be found.
- Attention shows where the model looked, and not why; that it lies on a lesion is no proof that the lesion decided.
- Thresholds (and calibration) fit the share of positives in the validation set; where that differs, choose them anew.
- Labels that are wrong or missing in the data are so in the model and in the figures, too.
"""


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of an earlier card; empty where there is none, or it was edited beyond recognition."""
    try:
        found = _FACTS.search(path.read_text(encoding="utf-8"))
        facts = json.loads(found[1]) if found else {}
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def without_paths(arguments: Sequence[str]) -> str:
    """A command line in which paths that lead outside of the folder it was typed in are `PATH`, the suffix kept.

    Example:
        >>> from ibca_lightning.run.model_card import without_paths
        >>> without_paths(["ibca", "fit", "--config", "/home/ann/clinic/endo.yaml", "--data.root=/data/patients"])
        'ibca fit --config PATH.yaml --data.root=PATH'
    """
    return " ".join(_hidden(argument) for argument in arguments)


def _hidden(argument: str) -> str:
    name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    if re.match(r"[/\\~]|[A-Za-z]:[/\\]|\.\.(?:[/\\]|\Z)", value):  # the whole: it may hold spaces
        hidden = "PATH" + (Path(value).suffix if Path(value).suffix in (".yaml", ".yml", ".ckpt") else "")
    else:
        hidden = _PATH.sub("PATH", value)
    return f"{name}{equals}{hidden}"


def render(facts: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        facts: `model` (of the checkpoint's record), and where they are known `fit` and `test`, each with `command`,
            `versions` and `sets`: by name, `rows`, `positives`, `unknown` (by class), `groups` and `figures`.

    Returns:
        Markdown.
    """
    model, fit, test = facts["model"], facts.get("fit"), facts.get("test")
    parts = [f"# {_plain(model['head'])} on {_plain(model['backbone'])}", _model(model), "## Data", _data(fit, test)]
    parts += ["## Figures", _figures(fit, test), "## Classes", _classes(model, fit, test)]
    parts += ["## How it was made", _made(fit, test), "## Intended use", _USE]
    comment = json.dumps(facts, ensure_ascii=True).replace("-", r"\u002d").replace("<", r"\u003c")
    comment = comment.replace(">", r"\u003e")
    return "\n\n".join(part.rstrip() for part in parts) + f"\n\n<!-- ibca-facts {comment} -->\n"


def _model(model: Mapping[str, Any]) -> str:
    calibration = model["calibration"] or "none"
    resize = ", ".join(f"{name}: {value}" for name, value in model["preprocessing"].items())
    return (
        f"A classifier of {len(model['class_names'])} classes that may occur together, in RGB pictures brought to "
        f"{model['image_size']} x {model['image_size']} pixels ({_plain(resize)}). Calibration: {_plain(calibration)}; "
        f"thresholds: {_plain(model['threshold_rule'])}. **For research; not a medical device.**"
    )


def _data(fit: Mapping[str, Any] | None, test: Mapping[str, Any] | None) -> str:
    lines = ["| set | pictures | groups | positive labels | unknown labels |", "|---|---:|---:|---:|---:|"]
    for part in (fit, test):
        for name, own in (part or {"sets": {}})["sets"].items():
            counts = [sum(own[key].values()) if own.get(key) is not None else "–" for key in ("positives", "unknown")]
            groups = own.get("groups")
            lines.append(
                f"| {_plain(name)} | {own['rows']} | {'–' if groups is None else groups} | {counts[0]} | {counts[1]} |"
            )
    data = (fit or test or {}).get("data")
    head = [f"{_plain(data['class'])}: {_plain(data['summary'])}", ""] if data else []
    return "\n".join([*head, *lines])


def _figures(fit: Mapping[str, Any] | None, test: Mapping[str, Any] | None) -> str:
    sets = [(name, own["figures"]) for part in (fit, test) for name, own in (part or {"sets": {}})["sets"].items()]
    sets = [(name, figures) for name, figures in sets if figures]
    shown = [name for name in _SHOWN if any(figures["metrics"].get(name) is not None for _, figures in sets)]
    lines = ["| figure | " + " | ".join(_plain(name) for name, _ in sets) + " |", "|---|" + "---:|" * len(sets)]
    for name in shown:
        cells = [_with_interval(figures["metrics"].get(name), figures["intervals"].get(name)) for _, figures in sets]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    note = "Decisions at 0.5; in brackets the 95 % interval where it was tested."
    if not test:
        note += " Not tested yet: `ibca test` adds the figures of the test set."
    elif test.get("checkpoint"):
        note += f" Tested: {_plain(test['checkpoint'])}."
    return "\n".join([*lines, "", note])


def _classes(model: Mapping[str, Any], fit: Mapping[str, Any] | None, test: Mapping[str, Any] | None) -> str:
    sets = [(name, own) for part in (fit, test) for name, own in (part or {"sets": {}})["sets"].items()]
    counted = [(name, own) for name, own in sets if own.get("positives") is not None]
    judged = [(name, own["figures"]["per_class"]) for name, own in sets if own["figures"]]
    heads = [*(f"positives: {name}" for name, _ in counted), "threshold", *(f"AP: {name}" for name, _ in judged)]
    lines = ["| class | " + " | ".join(map(_plain, heads)) + " |", "|---|" + "---:|" * len(heads)]
    for name, threshold in zip(model["class_names"], model["thresholds"], strict=True):
        cells = [str(own["positives"].get(name, "–")) for _, own in counted] + [f"{threshold:.4g}"]
        cells += [_with_interval(per_class.get(name, {}).get("AP"), None) for _, per_class in judged]
        lines.append(f"| {_plain(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _made(fit: Mapping[str, Any] | None, test: Mapping[str, Any] | None) -> str:
    lines = []
    for name, part in (("Training", fit), ("Test", test)):
        if part is None:
            continue
        versions = ", ".join(f"{package} {version}" for package, version in part["versions"].items())
        lines += [f"{name}, {part['date']}, on {_plain(part['device'])}; {_plain(versions)}:", ""]
        lines += [f"    {' '.join(part['command'].split())}", ""]
    return "\n".join(lines)


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def _plain(value: object) -> str:
    """Text that Markdown leaves as it is, in one line."""
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", html.escape(" ".join(str(value).split()), quote=False))
