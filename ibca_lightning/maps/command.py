"""`ibca maps`: the maps of a frozen backbone over every picture of an experiment, stored for `data.FrozenMaps`."""

from argparse import Namespace

from ibca_lightning.run.command_line.at_once import refuse_at_once
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_folder


def maps(arguments: list[str]) -> int:
    """Write the maps of an experiment, or go on where an earlier call was stopped."""
    options, rest = _parse(arguments)
    refuse_at_once("maps", rest)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.maps.writing import MapsCLI, write_maps
    from ibca_lightning.run.lightning_cli import build

    built = build(["fit", *rest], MapsCLI)
    write_maps(built, options.output, options.views, options.drawn, options.precision)
    return 0


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    parser = OptionParser(
        "ibca maps",
        "options of `ibca maps`",
        "Store the maps of a frozen backbone. Model and data are given as for `ibca fit`: --config FILE, --model.KEY "
        "VALUE, --data.KEY VALUE. A run that was stopped goes on with the same command.",
    )
    parser.allow_abbrev = False  # the other options are those of fit
    parser.add_argument("--output", required=True, help="Folder for the maps.")
    parser.add_argument(
        "--views", type=int, choices=(1, 4, 8), default=8,
        help="Of a training picture: itself, with flips and the half turn, or all flips and quarter turns (default).",
    )  # fmt: skip
    parser.add_argument(
        "--drawn", type=int, choices=(0, 1, 2, 4, 8, 16), default=0,
        help="Further views of a training picture, with noise drawn on it, for data.drawn_noise (default 0).",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("32", "bf16"), default="32",
        help="Of the backbone; bf16 is faster where the processor has it (default 32).",
    )  # fmt: skip
    options, rest = parser.parse_known_args(arguments)
    if any(argument.partition("=")[0] == "--ckpt_path" for argument in rest):
        raise InputError("no --ckpt_path for ibca maps", "one", "give its weights with --model.init_from")
    require_folder(options.output)
    return options, rest
