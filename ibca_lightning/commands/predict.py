"""`ibca predict --images`: probabilities for pictures, from a checkpoint alone."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from ibca_lightning.commands.options import OptionParser
from ibca_lightning.errors import InputError


def predict_pictures(arguments: list[str]) -> int:
    """Write `predictions.csv` for the pictures that `--images` names, or the rest of it.

    Args:
        arguments: Options behind `ibca predict`.

    Returns:
        0; every failure is an exception, pictures that cannot be used too, when all others are done.
    """
    options = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from rich.progress import track

    from ibca_lightning import __version__
    from ibca_lightning.commands.allocator import keep_freed_memory
    from ibca_lightning.commands.prediction_files import PredictionFiles, fingerprint
    from ibca_lightning.data.picture_list import list_pictures
    from ibca_lightning.data.readings import Readings, readings_loader
    from ibca_lightning.ensemble import Ensemble
    from ibca_lightning.evaluation import decisions, digits, prediction_columns
    from ibca_lightning.predictor import load

    keep_freed_memory()
    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} to be a folder", "a file", "give another --output")
    device = _device(options.device)
    model = Ensemble({path: load(path, device) for path in options.ckpt_path}, options.tta)
    root, ids = list_pictures(options.images, options.image_column)
    record = {
        "version": __version__,
        "checkpoints": [fingerprint(path) for path in options.ckpt_path],
        "images": os.path.realpath(root),
        "views": options.tta,
    }
    names, thresholds = model.class_names, model.thresholds
    with PredictionFiles(folder, record, prediction_columns(names, labelled=False)) as files:
        left = [name for name in ids if name not in files.done]
        loader = readings_loader(Readings(root, left, model.transforms), options.batch_size, options.num_workers)
        first = ""
        for batch in track(loader, "predict", disable=not sys.stderr.isatty()):
            if batch.ids:
                rows = model.probabilities(batch.images).tolist()
                files.add([
                    [name, *digits(row), *decisions(row, thresholds)]
                    for name, row in zip(batch.ids, rows, strict=True)
                ])  # fmt: skip
            files.fail(batch.failed)
            first = first or (batch.failed[0][1] if batch.failed else "")
    before = len(ids) - len(left)
    sys.stderr.write(
        f"{len(left) - files.failures} pictures{f', {before} were there' if before else ''}; wrote {files.path}\n"
    )
    if files.failures:
        raise InputError(
            f"pictures that can be read, all {len(left)}", f"{files.failures} that cannot ({first})",
            f"restore or remove what {files.failed_path} lists; the same command tries them again",
        )  # fmt: skip
    return 0


def _device(name: str | None) -> str | None:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} to be there", reason, "leave it out, or give cpu, cuda or cuda:1") from error
    return name


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca predict --images",
        "options of `ibca predict --images`",
        "Probabilities for pictures, from a checkpoint alone.",
    )
    parser.add_argument(
        "--ckpt_path", required=True, nargs="+", action="extend",
        help="A checkpoint written by `ibca fit`. Of several, of the same classes, the mean probability is written.",
    )  # fmt: skip
    parser.add_argument(
        "--images", required=True,
        help="A picture, a folder of pictures, searched below too, a pattern in quotes such as 'scans/*.png', or a "
        ".csv file of paths as seen from its folder.",
    )  # fmt: skip
    parser.add_argument("--image_column", default="image", help="Of the paths in a .csv file (default image).")
    parser.add_argument(
        "--output", required=True,
        help="Folder for predictions.csv, failed.csv and predict.json. A run that was stopped goes on there.",
    )  # fmt: skip
    parser.add_argument(
        "--tta", nargs="?", type=int, choices=(1, 4, 8), default=1, const=4,
        help="Mean over views of each picture: 4 (flips and the half turn; --tta alone) or 8 (quarter turns too).",
    )  # fmt: skip
    parser.add_argument("--batch_size", type=int, default=16, help="Pictures a step (default 16).")
    parser.add_argument("--num_workers", type=int, default=0, help="Processes that read pictures (default 0).")
    parser.add_argument("--device", default=None, help="Such as cpu or cuda:0; default CUDA where there is one.")
    options = parser.parse_args(arguments)
    if options.batch_size < 1 or options.num_workers < 0:
        raise InputError(
            "--batch_size of at least 1 and --num_workers of at least 0",
            f"{options.batch_size} and {options.num_workers}", "give other values",
        )  # fmt: skip
    return options
