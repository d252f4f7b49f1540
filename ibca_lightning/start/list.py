"""`ibca list`: what can be named on the command line, one line each. Nothing but a pattern of backbones needs torch."""

import itertools
import re
import shutil
import textwrap
from difflib import get_close_matches
from pathlib import Path

import ibca_lightning
from ibca_lightning.run.command_line.shipped import fragments, recipes
from ibca_lightning.run.command_line.short_names import NAMES
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.yaml_text import load

_CLASS = re.compile(r'^class (\w+)\(.*:\n +"""(.+)$', re.M)
_USES = {
    "recipes": "ibca fit --config NAME --data.root DIR",
    "heads": "--model.head NAME",
    "losses": "--model.loss NAME",
    "terms": "--model.terms '[NAME, ...]'",
    "datasets": "--data NAME --data.root DIR",
    "backbones": "--config backbones/NAME, behind a recipe",
}
_KEYS = {"heads": "model.head", "losses": "model.loss", "terms": "model.terms", "datasets": "data"}


def list_names(arguments: list[str]) -> int:
    """Print the names of one kind, or of every kind; the options stand behind `ibca list`.

    Raises:
        InputError: There is no such kind, or no backbone of that pattern.
    """
    known = [*_USES]
    parser = OptionParser("ibca list", "ibca list [KIND]", "Names that other commands take, one line each.")
    parser.add_argument("kind", nargs="?", help=f"One of {', '.join(known)}; default: all.")
    parser.add_argument("pattern", nargs="?", help="Of timm's backbones, such as 'resnet*', all of which can be named.")
    options = parser.parse_args(arguments)
    if options.kind not in (None, *known):
        near = get_close_matches(options.kind, known, n=1)
        raise InputError(f"one of {', '.join(known)}", options.kind, f"try ibca list {near[0] if near else ''}".strip())
    if options.pattern is not None and options.kind != "backbones":
        raise InputError("a pattern behind ibca list backbones", f"one behind {options.kind}", "leave it out")
    if options.pattern is not None:
        write_out("".join(f"{name}\n" for name in _backbones(options.pattern)))
        return 0
    width = shutil.get_terminal_size().columns - 21
    for kind in [options.kind] if options.kind else _USES:
        title = "" if options.kind else f"{kind} ({_USES[kind]})\n"
        named = _classes(_KEYS[kind]) if kind in _KEYS else _headers() if kind == "recipes" else _fragments()
        rows = [f"  {name:<18} {textwrap.shorten(what, width, placeholder=' ...')}\n" for name, what in named.items()]
        write_out(title + "".join(rows))
    if options.kind == "backbones":
        write_err("note: --model.backbone takes any name of timm: ibca list backbones '*'\n")
    return 0


def _headers() -> dict[str, str]:
    return {name: _header(path) for name, path in recipes().items()}


def _fragments() -> dict[str, str]:
    """Of the fragments of backbones the size and the strides that they give, then licence and source, their head."""
    said = {}
    for name, path in fragments("backbones").items():
        values = load(path.read_text(encoding="utf-8"))
        strides = str(values["model"]["init_args"]["feature_stride"]).strip("[]")
        several = "s" * ("," in strides)
        said[name] = f"{values['data']['init_args']['image_size']} px, stride{several} {strides}; {_header(path)}"
    return said


def _header(path: Path) -> str:
    """The first paragraph of a YAML's header, without the dot at its end."""
    lines = path.read_text(encoding="utf-8").splitlines()
    paragraph = itertools.takewhile(lambda line: line.startswith("# "), lines)
    return " ".join(line.removeprefix("# ") for line in paragraph).removesuffix(".")


def _classes(kind: str) -> dict[str, str]:
    """What the classes of a kind are: the first line of a file's docstring, read as text, which takes no import.

    Where one file has several of them, the first line of a class's own.
    """
    wanted = {path.rpartition(".")[2]: name for name, path in NAMES[kind].items()}
    found: dict[str, str] = {}
    for file in Path(ibca_lightning.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        own = {name: line for name, line in _CLASS.findall(text) if name in wanted}
        first = text.partition("\n")[0]
        found |= {wanted[name]: (first if len(own) == 1 else line).strip('".') for name, line in own.items()}
    return {name: found[name] for name in NAMES[kind]}


def _backbones(pattern: str) -> list[str]:
    import timm

    from ibca_lightning.model.weights import architectures  # noqa: F401 - further names of timm

    names: list[str] = timm.list_models(pattern)
    if not names:
        raise InputError("a pattern of timm's models", pattern, "try 'resnet*', or '*' for all")
    return names
