"""`ibca predict --images`: probabilities for pictures, from a checkpoint alone."""

import sys
from argparse import Namespace
from pathlib import Path

from ibca_lightning.commands.options import OptionParser
from ibca_lightning.errors import InputError


def predict_pictures(arguments: list[str]) -> int:
    """Write `predictions.csv` for a picture or a folder of pictures.

    Args:
        arguments: Options behind `ibca predict`.

    Returns:
        0; every failure is an exception.
    """
    options = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    import torch
    from rich.progress import track

    from ibca_lightning.commands.allocator import keep_freed_memory
    from ibca_lightning.data.folder import PictureFolder
    from ibca_lightning.data.loader import make_loader
    from ibca_lightning.evaluation import write_predictions
    from ibca_lightning.predictor import load

    keep_freed_memory()
    path = Path(options.output) / "predictions.csv"
    if Path(options.output).exists() and not Path(options.output).is_dir():
        raise InputError(f"--output {options.output} to be a folder", "a file", "give another --output")
    predictor = load(options.ckpt_path, _device(options.device))
    pictures = PictureFolder(options.images, predictor.spec.image_size, predictor.spec.preprocessing)
    loader = make_loader(pictures, options.batch_size, options.num_workers)
    ids: list[str] = []
    rows: list[torch.Tensor] = []
    for batch in track(loader, "predict", disable=not sys.stderr.isatty()):
        ids += batch["id"]
        rows.append(predictor.forward(batch["image"])[0])
    write_predictions(path, ids, torch.cat(rows), predictor.spec.class_names)
    sys.stderr.write(f"{len(ids)} pictures; wrote {path}\n")
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
    parser.add_argument("--ckpt_path", required=True, help="A checkpoint written by `ibca fit`.")
    parser.add_argument("--images", required=True, help="A picture or a folder of pictures, searched below too.")
    parser.add_argument("--output", required=True, help="Folder for predictions.csv.")
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
