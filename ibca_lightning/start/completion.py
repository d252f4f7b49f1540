"""`ibca completion bash|zsh`: a script by which the shell completes commands, options, and the names that they take.

It is written from what `--help` of each command prints and from the tables of names, so that it needs no list of its
own; the shell then asks `ibca` nothing more.
"""

import contextlib
import io
import re
from collections.abc import Callable, Mapping

from ibca_lightning.run.command_line.shipped import named
from ibca_lightning.run.command_line.short_names import NAMES
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_out

_ZSH = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"
_BASH = """_ibca() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" option="${{COMP_WORDS[COMP_CWORD-1]}}" words="" at
  for ((at = COMP_CWORD - 1; at > 1; at--)); do
    [[ "${{COMP_WORDS[at]}}" == --heads ]] && option=--heads
    [[ "${{COMP_WORDS[at]}}" == -* ]] && break
  done
  if [[ "$COMP_CWORD" == 1 ]]; then
    words="{commands} --help --version"
  elif [[ "$cur" == -* ]]; then
    case "${{COMP_WORDS[1]}}" in
{options}
    esac
  else
    case "$option" in
{values}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _ibca ibca
"""
_TAKEN = {"--model.head|--head|--heads": "model.head", "--model.loss": "model.loss", "--data": "data"}
_WORDS = {"list": "recipes heads losses terms datasets backbones", "completion": "bash zsh"}


def completion(arguments: list[str], commands: Mapping[str, bool], main: Callable[[list[str]], int]) -> int:
    """Print the script of one shell; the options stand behind `ibca completion`.

    Args:
        arguments: Behind the command.
        commands: Every command, and whether it takes the name of a recipe.
        main: Runs a command.

    Raises:
        InputError: The shell is another one.
    """
    parser = OptionParser(
        "ibca completion",
        "ibca completion bash, or zsh",
        "Print a script by which the shell completes commands, options, recipes, heads, losses and data sets. For "
        'every new bash: put eval "$(ibca completion bash)" into ~/.bashrc; for zsh the same with zsh, into ~/.zshrc.',
    )
    parser.add_argument("shell", help="bash or zsh.")
    shell = parser.parse_args(arguments).shell
    if shell not in ("bash", "zsh"):
        raise InputError("bash or zsh", shell, "write ibca completion bash")
    names = " ".join(named())
    values = {"--config|-c": names, **{command: names for command, takes in commands.items() if takes}, **_WORDS}
    values |= {option: " ".join(NAMES[kind]) for option, kind in _TAKEN.items()}
    script = _BASH.format(
        commands=" ".join(commands),
        options=_cases({command: " ".join(_options(main, command)) for command in commands}),
        values=_cases(values),
    )
    write_out((_ZSH if shell == "zsh" else "") + script)
    return 0


def _cases(words: dict[str, str]) -> str:
    return "\n".join(f'      {pattern}) words="{own}" ;;' for pattern, own in words.items())


def _options(main: Callable[[list[str]], int], command: str) -> list[str]:
    """The options that a command's help names, in their order."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        main([command, "--help"])
    return [*dict.fromkeys(["--help", *re.findall(r"(?<![\w-])--[a-z][\w.]*\w", text.getvalue())])]
