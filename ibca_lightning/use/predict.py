"""`ibca predict --images`: probabilities for pictures, from a checkpoint alone."""

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ibca_lightning.data import storage
from ibca_lightning.run.command_line.light_imports import late_modules, light_imports
from ibca_lightning.system.launched import place
from ibca_lightning.system.options import OptionParser, require_folder, require_least
from ibca_lightning.system.output import write_err
from ibca_lightning.use.model_options import (
    add_arithmetic,
    add_device,
    add_excel_safe,
    add_images,
    fingerprint,
    listed,
    opened,
    say_few_positives,
    say_passed_over,
)

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from torch.utils.data import DataLoader

    from ibca_lightning.use.picture_batches import Batch


def predict_pictures(arguments: list[str]) -> int:
    """Write `predictions.csv` for the pictures that `--images` names, or the rest of it.

    Of several processes each does its share, and the last to end writes it. Pictures that cannot be used are an
    InputError when all others are done.
    """
    options = _parse(arguments)
    pictures = listed(options)
    # Behind the options and pictures: wrong ones, and --help, are answered without seconds of imports.
    with light_imports("wandb"), late_modules():
        from ibca_lightning import __version__
        from ibca_lightning.metrics.columns import decisions, digits, excel_safe, prediction_columns
        from ibca_lightning.use.ensemble import Ensemble
        from ibca_lightning.use.picture_batches import picture_batches
        from ibca_lightning.use.predictions.parts import RowParts

    models = {path: opened(path, options.device, options.trust, options.precision) for path in options.ckpt_path}
    model = Ensemble(models, options.tta)
    record = {
        "version": __version__,
        "checkpoints": [fingerprint(path) for path in options.ckpt_path],
        "images": [storage.real(folder) for folder in pictures.folders],
        "views": options.tta,
        **({"excel_safe": True} if options.excel_safe else {}),
        **({"precision": options.precision} if options.precision != "32" else {}),
    }
    names, thresholds, own = model.class_names, model.thresholds, place()
    safe = excel_safe if options.excel_safe else str
    header = [safe(name) for name in prediction_columns(names, labelled=False)]
    ids = [safe(name) for name in pictures.files]
    share = list(pictures.files.items())[own.share(len(ids))]
    by_id = {safe(name): path for name, path in pictures.files.items()}
    parts = RowParts(Path(options.output), record, header, ids, own, pictures=by_id)
    with parts.own() as files:
        left = {name: path for name, path in share if safe(name) not in files.done}
        loader = picture_batches(left, model.transforms, options.batch_size or model.most, options.num_workers)
        for batch in _shown(loader, own.rank == 0):
            if batch.ids:
                rows = model.probabilities(batch.images).tolist()
                files.add([
                    [safe(name), *digits(row), *decisions(row, thresholds)]
                    for name, row in zip(batch.ids, rows, strict=True)
                ])  # fmt: skip
            files.fail([(safe(name), reason) for name, reason in batch.failed])
    if (ended := parts.ended(files, len(left), len(share))) is None:
        return 0
    files, said = ended
    say_few_positives(models.values())
    write_err(f"{said}; wrote {files.path}\n")
    if len(pictures.files) > files.failures:
        say_passed_over(pictures)
    files.require_all(len(left) if own.of == 1 else len(ids))
    return 0


def _shown(batches: "DataLoader[Batch]", shown: bool) -> "Iterable[Batch]":
    """The batches, with a bar on a terminal."""
    if not (shown and sys.stderr.isatty()):
        return batches
    from rich.progress import track

    return track(batches, "predict")


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
    add_excel_safe(parser)
    add_arithmetic(parser, 16)
    parser.add_argument("--num_workers", type=int, default=0, help="Processes that read pictures (default 0).")
    add_device(parser)
    options = parser.parse_args([a for a in arguments if a in ("-h", "--help")] or arguments)  # --images --help too
    require_least(options, batch_size=1, num_workers=0)
    require_folder(options.output)
    return options
