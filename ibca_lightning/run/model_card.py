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

from jinja2 import Environment
from markupsafe import Markup

from ibca_lightning.system.strangers import read_bytes

NAME = "model_card.md"
_FACTS = "<!-- ibca-facts ", " -->"  # around the last line
MAX_CARD = 2**22  # bytes; to read Markdown takes a second a megabyte
_PATH = re.compile(r"""(?<![\w.~/\\-])(?:~|[A-Za-z]:)?[/\\][^\s"',;}\]]*|(?<![\w.])(?:\.\.[/\\])[^\s"',;}\]]*""")
_DECIDED = ("CF1", "OF1", "CP", "CR", "OP", "OR")
_SHOWN = (
    ("mAP", "", "mAP"), ("AUROC", "", "AUROC"), *((f"{name}, own thresholds", "tuned", name) for name in _DECIDED),
    *((f"{name} at 0.5", "", name) for name in _DECIDED),
    *((name, "", name) for name in ("attention_energy", "attention_gain", "pixel_AP")),
)  # fmt: skip


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of an earlier card; empty where there is none, or it was edited beyond recognition."""
    try:
        last = read_bytes(path, MAX_CARD).decode().rstrip().rpartition("\n")[2]
        found = last.startswith(_FACTS[0]) and last.endswith(_FACTS[1])
        facts = json.loads(last.removeprefix(_FACTS[0]).removesuffix(_FACTS[1])) if found else {}
        if facts:
            render(facts)
    except Exception:  # of a template and formats that meet whatever somebody wrote there
        return {}
    return facts if isinstance(facts, dict) else {}


def without_paths(arguments: Sequence[str]) -> str:
    """A command line in which paths that lead outside of the folder it was typed in are `PATH`, the suffix kept.

    Examples:
        >>> from ibca_lightning.run.model_card import without_paths
        >>> without_paths(["ibca", "fit", "--config", "/home/ann/clinic/endo.yaml", "--data.root=/data/patients"])
        'ibca fit --config PATH.yaml --data.root=PATH'
    """
    return " ".join(_hidden(argument) for argument in arguments)


def hidden_paths(value: Any) -> Any:
    """Plain data in which each text is as `without_paths` has it."""
    if isinstance(value, dict):
        return {key: hidden_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hidden_paths(item) for item in value]
    return without_paths([value]) if isinstance(value, str) else value


def _hidden(argument: str) -> str:
    name, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    if re.match(r"[/\\~]|[A-Za-z]:[/\\]|\.\.(?:[/\\]|\Z)", value):  # the whole: it may hold spaces
        hidden = "PATH" + (Path(value).suffix if Path(value).suffix in (".yaml", ".yml", ".ckpt") else "")
    else:
        hidden = _PATH.sub("PATH", value)
    return f"{name}{equals}{hidden}"


def render(facts: Mapping[str, Any]) -> str:
    """Write the card in Markdown.

    Args:
        facts: `model` (of the checkpoint's record), and where they are known `fit` and `test`, each with `command`,
            `versions` and `sets`: by name, `rows`, `positives`, `unknown` (by class), `groups` and `figures`.
    """
    fit, test = facts.get("fit"), facts.get("test")
    sets = [(name, own) for part in (fit, test) if part for name, own in part["sets"].items()]
    judged = [(name, own["figures"]) for name, own in sets if own["figures"]]
    rows = [[label, *(_of(own, kind, name) for _, own in judged)] for label, kind, name in _SHOWN]
    comment = json.dumps(facts).replace("--", r"-\u002d").replace("<", r"\u003c").replace(">", r"\u003e")
    template = Path(__file__).with_name("model_card.md.j2").read_text(encoding="utf-8")
    return _environment().from_string(template).render(
        model=facts["model"], fit=fit, test=test, data=(fit or test or {}).get("data"), sets=sets, judged=judged,
        counted=[(name, own["positives"]) for name, own in sets if own["positives"] is not None],
        shown=[row for row in rows if any(cell != "–" for cell in row[1:])], score=_with_interval, comment=comment,
    )  # fmt: skip


def _of(figures: Mapping[str, Any], kind: str, name: str) -> str:
    """A figure of a set at 0.5, or of its `tuned` ones, which earlier cards do not have."""
    ends = figures.get(f"{kind}_intervals" if kind else "intervals", {})
    return _with_interval(figures.get(kind or "metrics", {}).get(name), ends.get(name))


def _environment() -> Environment:
    return Environment(finalize=_plain, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def _with_interval(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def _plain(value: object) -> str:
    """Text that Markdown leaves as it is, in one line; what the template calls safe stays."""
    if isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", html.escape(" ".join(str(value).split()), quote=False))
