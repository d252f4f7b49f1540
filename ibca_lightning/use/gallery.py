"""`ibca gallery`: heat maps of several models on the same pictures, side by side in one figure."""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, class_indices
from ibca_lightning.system.whole_files import write_whole
from ibca_lightning.use.model_options import add_device, add_images, listed, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    import numpy as np

    from ibca_lightning.use.predictor import Predictor

SIDE = 216  # of a panel in pixels: four of them are as wide as a README


def gallery(arguments: list[str]) -> int:
    """Write the figure.

    Args:
        arguments: Options behind `ibca gallery`.

    Returns:
        0; every failure is an exception.
    """
    options = _parse(arguments)
    files = listed(options).files
    models = {
        name: opened(path, options.device) for name, path in zip(options.names, options.ckpt_paths, strict=True)
    }  # fmt: skip
    picture = figure(models, files, options.classes, options.mask_dir, options.side)
    path = Path(options.output)
    _write(path, picture)
    height, width = picture.shape[:2]
    sys.stdout.write(f"wrote {path}: {width} x {height} pixels, {path.stat().st_size / 1000:.0f} kB\n")
    return 0


def figure(
    models: "dict[str, Predictor]",
    files: dict[str, str],
    classes: list[str] | None = None,
    mask_dir: str | None = None,
    side: int = SIDE,
) -> "np.ndarray":
    """Draw one row for each picture and class: the picture with the lesion outlined, then the map of each model.

    Args:
        models: By the name to be shown.
        files: Pictures by id.
        classes: Which classes to show; None shows all.
        mask_dir: Folder of masks as for `CSVDataModule`, found by the picture's id, bit i for the models' class i.
            Classes without a lesion in a picture are then left out of it.
        side: Of a panel, in pixels.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: When the models' classes differ, a class is unknown, a file cannot be read, or nothing is left.
    """
    import torch

    from ibca_lightning.data.pictures.drawing import attention_panels, stacked
    from ibca_lightning.data.pictures.masks import mask_name
    from ibca_lightning.use.picture_list import inside

    names = next(iter(models.values())).spec.class_names
    for title, model in models.items():
        if model.spec.class_names != names:
            raise InputError(f"models of the classes {names}", f"{model.spec.class_names} ({title})", "choose others")
    shown = class_indices(classes, names)
    rows = []
    for name, file in files.items():
        mask_file = Path(mask_dir) / mask_name(inside(name)) if mask_dir is not None else None
        seen = next(iter(models.values())).see(file, mask_file)
        outputs = [model.forward(model.see(file).image[None]) for model in models.values()]
        for label in shown:
            mask = seen.masks[label] if seen.masks is not None else None
            if mask is not None and not mask.any():
                continue
            rows.append(
                attention_panels(
                    seen.image,
                    [attention[0, label] for _, attention in outputs],
                    list(models),
                    [float(probabilities[0, label]) for probabilities, _ in outputs],
                    None if mask is None else torch.stack([mask] * len(models)),
                    title=(names[label], Path(name).stem),
                    outline=mask,
                    side=side,
                )
            )
    if not rows:
        raise InputError("a picture with a lesion of the --classes", "none", "choose other pictures or classes")
    return stacked(rows)


def _write(path: Path, picture: "np.ndarray") -> None:
    """Write a PNG of 256 colours: under half the size, and not to be told apart."""
    from PIL import Image

    # By coverage: the median cut gives few colours to what is rare, and a sharp peak is.
    palette = Image.fromarray(picture).quantize(
        256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
    )
    write_whole(path, lambda file: palette.save(file, format="PNG", optimize=True))


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca gallery",
        "options of `ibca gallery`",
        "Heat maps of several models on the same pictures in one figure: a row for each picture and class, the "
        "picture first, then a column for each model.",
    )
    parser.add_argument("--ckpt_paths", nargs="+", required=True, help="Checkpoints written by `ibca fit`.")
    parser.add_argument("--names", nargs="+", help="Names of the models; default 1, 2, ...")
    add_images(parser)
    parser.add_argument("--mask_dir", help="Folder of masks of the same file names; bit i is the models' class i.")
    parser.add_argument("--classes", nargs="+", help="Classes to show; default all (with masks: all with a lesion).")
    parser.add_argument("--side", type=int, default=SIDE, help=f"Of a panel, in pixels (default {SIDE}).")
    add_device(parser)
    parser.add_argument("--output", required=True, help="The figure, a PNG file.")
    options = parser.parse_args(arguments)
    options.names = options.names or [str(i + 1) for i in range(len(options.ckpt_paths))]
    if len(options.names) != len(options.ckpt_paths) or len(set(options.names)) != len(options.names):
        raise InputError(
            f"{len(options.ckpt_paths)} different --names, one a checkpoint", " ".join(options.names), "correct them"
        )
    if options.side < 32:
        raise InputError("--side of at least 32", options.side, "give another value")
    return options
