"""`ibca predict --images`: probabilities for pictures, from a checkpoint alone."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import torch
from rich.progress import track
from torch.utils.data import DataLoader

from ibca_lightning.data.folder import PictureFolder
from ibca_lightning.errors import InputError
from ibca_lightning.evaluation import write_predictions
from ibca_lightning.predictor import load


def predict_pictures(arguments: list[str]) -> int:
    """Write `predictions.csv` for a picture or a folder of pictures.

    Args:
        arguments: Options behind `ibca predict`.

    Returns:
        0; every failure is an exception.
    """
    options = _parse(arguments)
    predictor = load(options.ckpt_path, options.device)
    pictures = PictureFolder(options.images, predictor.spec.image_size, predictor.spec.preprocessing)
    loader = DataLoader(pictures, options.batch_size, num_workers=options.num_workers)
    ids: list[str] = []
    rows: list[torch.Tensor] = []
    for batch in track(loader, "predict", disable=not sys.stderr.isatty()):
        ids += batch["id"]
        rows.append(predictor.forward(batch["image"])[0])
    path = Path(options.output) / "predictions.csv"
    write_predictions(path, ids, torch.cat(rows), predictor.spec.class_names)
    sys.stderr.write(f"{len(ids)} pictures; wrote {path}\n")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError("options of `ibca predict --images`", message, "see ibca predict --images --help")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="ibca predict", description="Probabilities for pictures, from a checkpoint alone.")
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
