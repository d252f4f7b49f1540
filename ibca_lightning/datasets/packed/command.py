"""`ibca pack`: the pictures of an experiment in shards, for `data.PackedPictures`."""

import re
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from ibca_lightning.system.options import OptionParser, require_folder


def pack(arguments: list[str], experiment_data: Callable[[list[str]], Any]) -> int:
    """Pack the pictures of an experiment, or go on where an earlier call was stopped.

    Args:
        arguments: Behind the command.
        experiment_data: Builds the data module of options of `ibca fit`; this room knows nothing of experiments.
    """
    options, rest = _parse(arguments)
    data = experiment_data(rest)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.datasets.packed.writing import write_pack

    write_pack(data, options.output)
    return 0


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    parser = OptionParser(
        "ibca pack",
        "options of `ibca pack`",
        "Put the pictures, masks and tables of an experiment into shards, which `--data PackedPictures` reads from a "
        "disk or an object store. The data are given as for `ibca fit`: --config FILE, --data.root DIR, --data.KEY "
        "VALUE. A run that was stopped goes on with the same command. The pack names patients as the tables do, unless "
        "--hash_names is given.",
        (
            "ibca pack ward7.yaml --output packs/ward7",
            "ibca pack --config galar --data.root data/galar --output s3://bucket/galar",
        ),
    )
    parser.allow_abbrev = False  # the other options are those of fit
    parser.add_argument("--output", required=True, help="A folder, or an address such as s3://bucket/folder.")
    options, rest = parser.parse_known_args(arguments)
    if not re.match("(s3|gs)://", options.output):
        require_folder(options.output)
    return options, rest
