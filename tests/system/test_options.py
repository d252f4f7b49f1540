"""Options of the commands that need no Lightning: what is given twice is given together."""

from argparse import Action, Namespace

import pytest

from ibca_lightning import cli
from ibca_lightning.system.options import OptionParser
from tests.command_line import done

COMMANDS = sorted({*cli.COMMANDS} - {"fit", "validate", "test", "list", "completion"})  # `predict` of --images
ARGUMENTS = {"check": ["--suspects", "RUN"], "predict": ["--images", "a"]}
SEVERAL = {"compare": 3, "explain": 5, "predict": 3, "sweep": 2, "check": 1, "app": 3}  # at least, as they are now


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_of_several_values_that_is_given_twice_has_all_of_them(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--images A --images B` is no other wish than `--images A B`."""
    parsers: list[OptionParser] = []
    help_of = OptionParser.format_help
    monkeypatch.setattr(OptionParser, "format_help", lambda self: parsers.append(self) or help_of(self))
    done(command, *ARGUMENTS.get(command, []), "--help")
    several = [each for parser in parsers for each in parser._actions if each.nargs == "+" and each.option_strings]
    assert len(several) >= SEVERAL.get(command, 0)
    for action in several:
        assert _twice(parsers[0], action) == [*(action.default or []), "1", "2", "3"], action.option_strings


def _twice(parser: OptionParser, action: Action) -> list[str]:
    given = Namespace(**{action.dest: action.default})
    for values in (["1", "2"], ["3"]):
        action(parser, given, values, action.option_strings[0])
    found: list[str] = getattr(given, action.dest)
    return found
