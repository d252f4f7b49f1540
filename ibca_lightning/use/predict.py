"""`ibca predict --images`: probabilities for pictures, from a checkpoint alone."""

import hashlib
import os
import sys
from argparse import Namespace
from contextlib import closing
from pathlib import Path

from ibca_lightning.run.command_line.light_imports import light_imports
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_folder, require_least
from ibca_lightning.system.output import write_err
from ibca_lightning.use.model_options import add_device, add_images, listed, opened, say_passed_over


def predict_pictures(arguments: list[str]) -> int:
    """Write `predictions.csv` for the pictures that `--images` names, or the rest of it.

    Pictures that cannot be used are an InputError when all others are done.
    """
    options = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    with light_imports("wandb"):
        from rich.progress import track

        from ibca_lightning import __version__
        from ibca_lightning.metrics.columns import decisions, digits, excel_safe, prediction_columns
        from ibca_lightning.use.ensemble import Ensemble
        from ibca_lightning.use.picture_batches import picture_batches
        from ibca_lightning.use.prediction_files import PredictionFiles

    pictures = listed(options)
    model = Ensemble({path: opened(path, options.device, options.trust) for path in options.ckpt_path}, options.tta)
    record = {
        "version": __version__,
        "checkpoints": [_fingerprint(path) for path in options.ckpt_path],
        "images": [os.path.realpath(folder) for folder in pictures.folders],
        "views": options.tta,
        **({"excel_safe": True} if options.excel_safe else {}),
    }
    names, thresholds = model.class_names, model.thresholds
    safe = excel_safe if options.excel_safe else str
    header = [safe(name) for name in prediction_columns(names, labelled=False)]
    with closing(PredictionFiles(Path(options.output), record, header)) as files:
        left = {name: path for name, path in pictures.files.items() if safe(name) not in files.done}
        loader = picture_batches(left, model.transforms, options.batch_size, options.num_workers)
        first = ""
        for batch in track(loader, "predict", disable=not sys.stderr.isatty()):
            if batch.ids:
                rows = model.probabilities(batch.images).tolist()
                files.add([
                    [safe(name), *digits(row), *decisions(row, thresholds)]
                    for name, row in zip(batch.ids, rows, strict=True)
                ])  # fmt: skip
            files.fail([(safe(name), reason) for name, reason in batch.failed])
            first = first or (batch.failed[0][1] if batch.failed else "")
    before = len(pictures.files) - len(left)
    write_err(
        f"{len(left) - files.failures} pictures{f', {before} were there' if before else ''}; wrote {files.path}\n"
    )
    if len(pictures.files) > files.failures:
        say_passed_over(pictures)
    if files.failures:
        raise InputError(
            f"pictures that can be read, all {len(left)}", f"{files.failures} that cannot ({first})",
            f"restore or remove what {files.failed_path} lists; the same command tries them again",
        )  # fmt: skip
    return 0


def _fingerprint(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca predict --images",
        "options of `ibca predict --images`",
        "Probabilities for pictures, from a checkpoint alone. For the test set of a run instead: ibca predict --config "
        "RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt.",
    )
    parser.add_argument(
        "--ckpt_path", required=True, nargs="+", action="extend",
        help="A checkpoint written by `ibca fit`. Of several, of the same classes, the mean probability is written.",
    )  # fmt: skip
    add_images(parser)
    parser.add_argument(
        "--output", required=True,
        help="Folder for predictions.csv, failed.csv and predict.json. A run that was stopped goes on there.",
    )  # fmt: skip
    parser.add_argument(
        "--tta", nargs="?", type=int, choices=(1, 4, 8), default=1, const=4,
        help="Mean over views of each picture: 4 (flips and the half turn; --tta alone) or 8 (quarter turns too).",
    )  # fmt: skip
    parser.add_argument(
        "--excel_safe", action="store_true",
        help="An apostrophe before ids and columns that begin with =, +, - or @: a spreadsheet would run them.",
    )  # fmt: skip
    parser.add_argument("--batch_size", type=int, default=16, help="Pictures a step (default 16).")
    parser.add_argument("--num_workers", type=int, default=0, help="Processes that read pictures (default 0).")
    add_device(parser)
    options = parser.parse_args([a for a in arguments if a in ("-h", "--help")] or arguments)  # --images --help too
    require_least(options, batch_size=1, num_workers=0)
    require_folder(options.output)
    return options
