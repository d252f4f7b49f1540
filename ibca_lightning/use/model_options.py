"""What the commands on trained models and pictures begin with: their common options, the model, the pictures."""

import hashlib
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ibca_lightning.data import storage
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.launched import place
from ibca_lightning.system.output import write_err

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.use.picture_list import PictureList
    from ibca_lightning.use.predictor import Predictor

_NAMED = 4  # files that are passed over
CHECKPOINT = "A checkpoint written by `ibca fit`."


def add_images(parser: ArgumentParser, required: bool = True, more: str = "") -> None:
    """Add `--images`, of which `--help` says `more`, and what goes with it."""
    parser.add_argument(
        "--images", nargs="+", action="extend", required=required,
        help="Pictures, folders of pictures (searched below too), patterns in quotes such as 'scans/*.png', or tables "
        f"of paths (.csv, .xlsx, .parquet); also behind s3://, gs://, https://.{more}",
    )  # fmt: skip
    parser.add_argument("--image_column", default="image", help="Of the paths in a table (default image).")
    parser.add_argument("--image_dir", help="Where these paths are seen from; default the folder of the table.")


def add_device(parser: ArgumentParser) -> None:
    """Add `--device` and `--trust`."""
    parser.add_argument(
        "--device", help="Such as cpu or cuda:0; default CUDA where there is one. Each process has its own."
    )
    add_trust(parser)


def add_names(parser: ArgumentParser) -> None:
    """Add `--names`, which `named` reads."""
    parser.add_argument(
        "--names", nargs="+", action="extend", help="Names of the checkpoints; default those of their run folders."
    )


def add_trust(parser: ArgumentParser) -> None:
    """Add `--trust`."""
    parser.add_argument(
        "--trust", nargs="+", action="extend", default=[], metavar="MODULE",
        help="Modules that may be run to find the checkpoint's head, such as my_head; none but those of ibca are else.",
    )  # fmt: skip


def add_excel_safe(parser: ArgumentParser) -> None:
    """Add `--excel_safe`."""
    parser.add_argument(
        "--excel_safe", action="store_true",
        help="An apostrophe in the CSV files before names that begin with =, +, - or @: a spreadsheet would run them.",
    )  # fmt: skip


def add_arithmetic(parser: ArgumentParser, batch_size: int | None = None) -> None:
    """Add `--precision`, and `--batch_size` with such a default."""
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="Of the models (default 32).")
    if batch_size is not None:
        parser.add_argument(
            "--batch_size", type=number_or_auto, default=batch_size,
            help=f"Pictures a step (default {batch_size}); auto is 256 on a GPU. What its memory does not hold is done "
            "in smaller pieces.",
        )  # fmt: skip


def number_or_auto(text: str) -> int | None:
    """A batch size; None for `auto`."""
    return None if text == "auto" else int(text)


def fingerprint(path: str) -> str:
    """The SHA-256 of a file."""
    with open(storage.here(os.path.expanduser(path)), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_device(device: str | None) -> str | None:
    """The device that is asked for, which for one of several processes is a GPU of its own."""
    import torch

    own, gpus = place(), torch.cuda.device_count()
    if device in (None, "cuda") and own.of > 1 and gpus:
        return f"cuda:{own.local % gpus}"  # srun may show each process its own one alone
    return device


def opened(path: str, device: str | None, trust: Sequence[str], precision: str = "32") -> "Predictor":
    """Load a checkpoint; the imports take seconds, so wrong options are to be answered before."""
    from ibca_lightning.system.allocator import keep_freed_memory
    from ibca_lightning.use.predictor import load

    keep_freed_memory()
    return load(path, own_device(device), trust, precision)


def named(options: Namespace) -> list[str]:
    """What to call each `--ckpt_path`: its one of `--names`, else its run folder where those differ, else a number.

    Raises:
        InputError: When names are too few, too many or alike.
    """
    paths = options.ckpt_path
    folders = [os.path.basename(os.path.dirname(os.path.dirname(os.path.realpath(path)))) for path in paths]
    alike = len(set(folders)) < len(folders)
    names: list[str] = options.names or ([str(at + 1) for at in range(len(paths))] if alike else folders)
    if len(names) != len(paths) or len(set(names)) != len(names):
        raise InputError(f"{len(paths)} different --names, one a checkpoint", " ".join(names), "correct them")
    return names


def listed(options: Namespace) -> "PictureList":
    """The pictures that the options of `add_images` name; a `--ckpt_path` that cannot be one is refused before.

    Nothing is imported for that which takes seconds.
    """
    from ibca_lightning.data.storage import here
    from ibca_lightning.system.model_files.model_record import require_archive
    from ibca_lightning.use.picture_list import list_pictures

    given = options.ckpt_path
    for path in given if isinstance(given, list) else [given]:
        require_archive(os.path.expanduser(here(path)))
    return list_pictures(options.images, options.image_column, options.image_dir)


def say_few_positives(models: "Iterable[Predictor]") -> None:
    """Say which decisions are next to chance, as the thresholds of a class rest on few positives in some model."""
    from ibca_lightning.metrics.decision import few_positives

    fewest: dict[str, int] = {}
    for spec in (model.spec for model in models):
        for name, number in zip(spec.class_names, spec.threshold_positives, strict=False):  # an old one has none
            fewest[name] = min(number, fewest.get(name, number))
    if said := few_positives([*fewest], [*fewest.values()]):
        write_err(f"note: {said}; these decisions are mostly chance\n")


def say_passed_over(pictures: "PictureList", rename: Callable[[str], str] = str) -> None:
    """Count and name, when something was made of the pictures, the files beside them that are none."""
    others = sorted(set(pictures.passed_over))
    if others:
        shown = ", ".join(repr(rename(name)) for name in others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        write_err(f"note: {len(others)} files are no pictures and are passed over: {shown}\n")
