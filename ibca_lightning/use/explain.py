"""`ibca explain`: where a model looked, drawn over each picture, and the same as numbers."""

import os
import sys
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.hashed_names import add_hash_options, hashed_names
from ibca_lightning.system.options import OptionParser, class_indices, require_folder
from ibca_lightning.system.whole_files import write_csv, write_whole
from ibca_lightning.use.model_options import CHECKPOINT, add_device, add_images, listed, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.use.predictor import Predictor

MAX_SIDE = 2048


def explain(arguments: list[str]) -> int:
    """Write a PNG and an NPZ for each picture; `failed.csv` where one cannot be read.

    Args:
        arguments: Options behind `ibca explain`.

    Returns:
        0; every failure is an exception.
    """
    options = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from rich.progress import track

    files = listed(options).files
    masks = _masks(files, options.mask_dir)
    predictor = opened(options.ckpt_path, options.device)
    classes = class_indices(options.classes, predictor.spec.class_names) if options.classes else None
    folder = Path(options.output)
    rename = hashed_names(options) or str
    outputs = _outputs({rename(name): path for name, path in files.items()}, folder, options.overwrite)
    failed: list[tuple[str, str]] = []
    for name, path in track(files.items(), "explain", disable=not sys.stderr.isatty()):
        mask, shown = masks[name], rename(name)
        try:
            _explain_one(predictor, shown, path, mask, classes, outputs[shown], options.max_side)
        except PictureError as error:
            reason = f"expected {error.expected}, got {error.got}"
            for file in (path, mask) if options.hash_names else ():
                reason = reason.replace(file or path, shown)
            failed.append((shown, reason))
    sys.stdout.write(f"explained {len(files) - len(failed)} of {len(files)} pictures in {folder}\n")
    bare = [name for name, mask in masks.items() if mask is None]
    if options.mask_dir and bare:
        sys.stderr.write(
            f"note: no mask of {len(bare)} pictures, {rename(bare[0])} first; no lesion is outlined there\n"
        )
    _write_failed(folder / "failed.csv", failed)
    if failed:
        raise InputError(
            "pictures (and masks) that can be read", f"{len(failed)} that cannot, {failed[0][0]} first",
            f"see {folder / 'failed.csv'}",
        )  # fmt: skip
    return 0


def _masks(files: dict[str, str], folder: str | None) -> dict[str, str | None]:
    """The mask of each picture; None where it has none.

    Raises:
        InputError: When no picture has a mask in that folder.
    """
    from ibca_lightning.data.pictures.masks import mask_of
    from ibca_lightning.use.picture_list import inside

    found = {name: mask_of(inside(name), folder) for name in files}
    if folder is not None and not any(found.values()):
        raise InputError(
            f"masks with the names of these pictures, as .png, at --mask_dir {folder}",
            "none",
            "correct it, or leave it out",
        )
    return found


def _explain_one(
    predictor: "Predictor", name: str, path: str, mask: str | None, classes: list[int] | None, output: Path,
    max_side: int,
) -> None:  # fmt: skip
    import numpy as np
    from PIL import Image

    from ibca_lightning.data.pictures.drawing import class_panel, explanation
    from ibca_lightning.data.pictures.reading import read_image

    spec = predictor.spec
    seen = predictor.see(path, mask)
    picture = read_image(path)
    all_probabilities, all_attention = predictor.forward(seen.image[None])
    probabilities, attention = all_probabilities[0].numpy(), all_attention[0]
    decisions = probabilities > np.asarray(spec.thresholds)
    shown = np.flatnonzero(decisions).tolist() if classes is None else classes
    panels = [
        class_panel(
            spec.class_names[label], float(probabilities[label]), spec.thresholds[label], attention[label],
            None if seen.masks is None else seen.masks[label], None if seen.lesions is None else seen.lesions[label],
        )
        for label in shown
    ]  # fmt: skip
    found = [spec.class_names[label] for label in np.flatnonzero(decisions)]
    figure = explanation(picture, panels, (name, f"found: {', '.join(found) or 'none'}"), seen.box, max_side)
    height, width = picture.shape[:2]
    top, left, bottom, right = seen.box
    raw: dict[str, Any] = {
        "class_names": np.array(spec.class_names),
        "probabilities": probabilities,
        "thresholds": np.array(spec.thresholds),
        "decisions": decisions,
        "attention": attention.numpy(),
        "box": np.array([top * height, left * width, bottom * height, right * width]),
        "size": np.array([height, width]),
    }
    write_whole(output, lambda file: Image.fromarray(figure).save(file, format="PNG", compress_level=4))
    write_whole(_npz(output), lambda file: np.savez_compressed(file, **raw))


def _outputs(files: dict[str, str], folder: Path, overwrite: bool) -> dict[str, Path]:
    """The PNG of each picture: its id with another ending, or with one more where two pictures differ in it alone.

    Raises:
        InputError: When one would take the place of a picture, or without `overwrite` of any file.
    """
    from ibca_lightning.use.picture_list import inside

    stems = Counter(os.path.splitext(inside(name))[0] for name in files)
    outputs: dict[str, Path] = {}
    pictures = {os.path.realpath(path) for path in files.values()}
    for name in files:
        within = inside(name)
        stem = os.path.splitext(within)[0]
        output = folder / f"{stem if stems[stem] == 1 else within}.png"
        if output in outputs.values():
            raise InputError(f"one picture for {output}", f"{name} and another one", "explain them one by one")
        outputs[name] = output
        if os.path.realpath(output) in pictures or os.path.realpath(_npz(output)) in pictures:
            raise InputError("an --output outside of the pictures' folder", f"{folder}", "give another one")
        if not overwrite and (output.exists() or _npz(output).exists()):
            raise InputError(f"no {output} yet", "an earlier one", "give another --output, or --overwrite")
    return outputs


def _npz(output: Path) -> Path:
    return output.with_name(output.name.removesuffix(".png") + ".npz")


def _write_failed(path: Path, failed: list[tuple[str, str]]) -> None:
    """Name what could not be read and why; an older list goes, it was of other pictures."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    write_whole(path, lambda file: write_csv(file, [("id", "reason"), *failed]))


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca explain",
        "options of `ibca explain`",
        "Where the model looked: for each picture a PNG of it with a panel for each class found, in the picture's own "
        "proportions and resolution, and an NPZ of the maps of all classes.",
    )
    parser.add_argument("--ckpt_path", required=True, help=CHECKPOINT)
    add_images(parser)
    parser.add_argument("--output", required=True, help="Folder for the PNG and NPZ files.")
    parser.add_argument("--classes", nargs="+", help="Classes to show; default those found in the picture.")
    parser.add_argument(
        "--mask_dir", help="Folder of masks of the same names (.png), bit i for class i: outlined, with the share of "
        "the attention on the lesion. A picture without a mask is explained without.",
    )  # fmt: skip
    parser.add_argument(
        "--max_side", type=int, default=MAX_SIDE,
        help=f"Larger pictures are drawn with this longer side, in pixels (default {MAX_SIDE}).",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="Replace earlier files of the same names.")
    add_hash_options(parser)
    add_device(parser)
    options = parser.parse_args(arguments)
    if options.max_side < 64:
        raise InputError("--max_side of at least 64", options.max_side, "give another value")
    require_folder(options.output)
    return options
