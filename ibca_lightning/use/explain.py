"""`ibca explain`: where models looked, drawn over each picture, and the same as numbers."""

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.hashed_names import add_hash_options, hashed_names
from ibca_lightning.system.options import OptionParser, class_indices, require_folder
from ibca_lightning.system.whole_files import write_csv, write_whole
from ibca_lightning.use.model_options import add_device, add_images, listed, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    import numpy as np
    from torch import Tensor

    from ibca_lightning.data.pictures.masks import Bits
    from ibca_lightning.use.predictor import Predictor, Seen

MAX_SIDE = 2048
_SHEET = 100  # pictures on one


@dataclass(frozen=True)
class _Said:
    """What one model says of one picture.

    Attributes:
        model: Its name.
        predictor: The model.
        seen: The picture as it sees it.
        probabilities: (L,).
        attention: (L, H, W).
    """

    model: str
    predictor: "Predictor"
    seen: "Seen"
    probabilities: "np.ndarray"
    attention: "Tensor"

    @property
    def decisions(self) -> "np.ndarray":
        """(L,) bool."""
        return self.probabilities > self.predictor.spec.thresholds

    @property
    def found(self) -> list[str]:
        """The classes that it finds."""
        return [name for name, yes in zip(self.predictor.spec.class_names, self.decisions, strict=True) if yes]


@dataclass(frozen=True)
class _Read:
    """A picture, read for all models.

    Attributes:
        name: To be shown.
        pixels: (h, w, 3) uint8 RGB, as it is drawn.
        size: Height and width of the file.
        bits: (h', w') uint8, its mask; None where there is none.
        seen: As each model sees it.
    """

    name: str
    pixels: "np.ndarray"
    size: tuple[int, int]
    bits: "Bits | None"
    seen: "list[Seen]"


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
    models = {
        name: opened(path, options.device) for name, path in zip(options.names, options.ckpt_path, strict=True)
    }  # fmt: skip
    classes, asked = _classes(models, options.classes)
    folder = Path(options.output)
    rename = hashed_names(options) or str
    outputs = _outputs({rename(name): path for name, path in files.items()}, folder, options.overwrite)
    if options.sheet:
        _require_sheet(Path(options.sheet), files, options.overwrite)
    failed: list[tuple[str, str]] = []
    sheet: list[np.ndarray] = []
    names, step = list(files), options.batch_size
    for at in track(range(0, len(names), step), "explain", disable=not sys.stderr.isatty()):
        batch = []
        for name in names[at : at + step]:
            path, mask, shown = files[name], masks[name], rename(name)
            try:
                batch.append(_read(list(models.values()), shown, path, mask, options.max_side))
            except PictureError as error:
                reason = f"expected {error.expected}, got {error.got}"
                for file in (path, mask) if options.hash_names else ():
                    reason = reason.replace(file or path, shown)
                failed.append((shown, reason))
        for own, said in zip(batch, _said(models, batch), strict=True):
            figure = _figure(own, said, classes, asked, options.max_side)
            _write(outputs[own.name], figure, _numbers(own, said))
            sheet += [figure] if options.sheet else []
    if sheet:
        _write_sheet(Path(options.sheet), sheet)
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


def _classes(models: "Mapping[str, Predictor]", asked: list[str] | None) -> tuple[list[str], list[str] | None]:
    """The classes that every model has, matched by their names, and those of them that are asked for.

    Raises:
        InputError: When there are none, or no such one.
    """
    own = [predictor.spec.class_names for predictor in models.values()]
    common = [name for name in own[0] if all(name in names for names in own)]
    others = sorted({name for names in own for name in names} - set(common))
    if not common:
        raise InputError("checkpoints that have a class in common", "none", "explain them one by one")
    if others:
        sys.stderr.write(f"note: not every model has these classes, which are not drawn: {', '.join(others)}\n")
    return common, [common[at] for at in class_indices(asked, common)] if asked else None


def _read(models: "Sequence[Predictor]", name: str, path: str, mask: str | None, max_side: int) -> _Read:
    """Read a picture once for all models; what is kept of it is no larger than what is drawn."""
    from ibca_lightning.data.pictures.drawing import fitted
    from ibca_lightning.data.pictures.masks import read_mask, resize_bits
    from ibca_lightning.data.pictures.reading import PictureFile

    file, bits = PictureFile(path), read_mask(mask) if mask else None
    classes = models[0].spec.class_names
    seen = [model.see(file, bits, classes) for model in models]
    pixels = file.pixels()
    small = fitted(pixels, max_side)
    if bits is not None:
        bits = resize_bits(bits, min(len(bits), len(small)), min(bits.shape[1], small.shape[1]))
    return _Read(name, small.copy() if small is not pixels else small, pixels.shape[:2], bits, seen)


def _said(models: "Mapping[str, Predictor]", batch: list[_Read]) -> Iterator[list[_Said]]:
    """What the models say of each picture of a batch."""
    import torch

    outputs = [
        predictor.forward(torch.stack([own.seen[at].image for own in batch]))
        for at, predictor in enumerate(models.values() if batch else ())
    ]
    for row, own in enumerate(batch):
        yield [
            _Said(name, predictor, seen, probabilities[row].numpy(), attention[row])
            for (name, predictor), seen, (probabilities, attention) in zip(
                models.items(), own.seen, outputs, strict=True
            )
        ]  # fmt: skip


def _figure(
    own: _Read, said: list[_Said], classes: list[str], asked: list[str] | None, max_side: int
) -> "np.ndarray":  # fmt: skip
    """Of one model the picture and a panel for each class; of several a row for each class, a column for each model."""
    from ibca_lightning.data.pictures.drawing import Panel, class_panel, explanation
    from ibca_lightning.use.predictor import lesions

    outlines = None if own.bits is None else lesions(own.bits, said[0].predictor.spec.class_names)

    def panel(one: _Said, name: str, title: str) -> Panel:
        at = one.predictor.spec.class_names.index(name)
        return class_panel(
            title, float(one.probabilities[at]), one.predictor.spec.thresholds[at], one.attention[at],
            one.seen.masks[at] if one.seen.masks is not None else None, outlined(name), one.seen.box,
        )  # fmt: skip

    def outlined(name: str) -> "Tensor | None":
        return None if outlines is None else outlines[said[0].predictor.spec.class_names.index(name)]

    found = [name for name in classes if any(name in one.found for one in said)]
    picture = Panel(None, (own.name, f"found: {', '.join(found) or 'none'}"))
    shown = found if asked is None else asked
    if len(said) == 1 or not shown:
        return explanation(own.pixels, [picture, *(panel(said[0], name, name) for name in shown)], max_side)
    panels: list[Panel] = []
    for name in shown:
        lesion = outlined(name)
        panels.append(Panel(None, (name, own.name), None if lesion is None else lesion.numpy()))
        panels += [panel(one, name, one.model) for one in said]
    return explanation(own.pixels, panels, max_side, columns=1 + len(said))


def _numbers(own: _Read, said: list[_Said]) -> dict[str, Any]:
    """What the NPZ holds; of several models each array as `MODEL/array`."""
    import numpy as np

    numbers: dict[str, Any] = {"size": np.array(own.size)}
    height, width = own.size
    for one in said:
        start = "" if len(said) == 1 else f"{one.model}/"
        arrays = {
            "class_names": np.array(one.predictor.spec.class_names),
            "probabilities": one.probabilities,
            "thresholds": np.array(one.predictor.spec.thresholds),
            "decisions": one.decisions,
            "attention": one.attention.numpy(),
            "box": np.array(one.seen.box) * (height, width, height, width),
        }
        numbers |= {f"{start}{name}": array for name, array in arrays.items()}
    return numbers


def _write(output: Path, figure: "np.ndarray", numbers: Mapping[str, Any]) -> None:
    import numpy as np
    from PIL import Image

    write_whole(output, lambda file: Image.fromarray(figure).save(file, format="PNG", compress_level=4))
    write_whole(_npz(output), lambda file: np.savez_compressed(file, **numbers))


def _require_sheet(path: Path, files: Mapping[str, str], overwrite: bool) -> None:
    """Refuse a figure too large to be looked at, and one in the place of a picture or an earlier file.

    Raises:
        InputError: When it is such.
    """
    if len(files) > _SHEET:
        raise InputError(f"at most {_SHEET} pictures on a --sheet", len(files), "give fewer --images, or leave it out")
    if path.is_dir() or os.path.realpath(path) in map(os.path.realpath, files.values()):
        raise InputError("a --sheet that is no folder and none of the pictures", path, "give another file")
    if path.exists() and not overwrite:
        raise InputError(f"no {path} yet", "an earlier one", "give another --sheet, or --overwrite")


def _write_sheet(path: Path, figures: "list[np.ndarray]") -> None:
    """All figures below each other, in 256 colours: under half the size, and not to be told apart."""
    import numpy as np
    from PIL import Image

    from ibca_lightning.data.pictures.drawing import stacked

    width = max(figure.shape[1] for figure in figures)
    sheet = stacked(
        [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in figures]
    )
    # By coverage: the median cut gives few colours to what is rare, and a sharp peak is.
    palette = Image.fromarray(sheet).quantize(
        256, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
    )
    write_whole(path, lambda file: palette.save(file, format="PNG", optimize=True))


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
        "Where models looked: for each picture a PNG of it with a panel for each class found (of several checkpoints a "
        "row for each class and a column for each), in the picture's own proportions, colours and resolution, and an "
        "NPZ of the maps of all classes.",
    )
    parser.add_argument(
        "--ckpt_path", required=True, nargs="+",
        help="A checkpoint written by `ibca fit`; of several the maps stand side by side, classes matched by name.",
    )  # fmt: skip
    parser.add_argument("--names", nargs="+", help="Names of the checkpoints; default those of their run folders.")
    add_images(parser)
    parser.add_argument("--output", required=True, help="Folder for the PNG and NPZ files.")
    parser.add_argument("--classes", nargs="+", help="Classes to show; default those found in the picture.")
    parser.add_argument(
        "--mask_dir", help="Folder of masks of the same names (.png), bit i for class i (of the first "
        "checkpoint): outlined, with the share of "
        "the attention on the lesion. A picture without a mask is explained without.",
    )  # fmt: skip
    parser.add_argument(
        "--max_side", type=int, default=MAX_SIDE,
        help=f"Larger pictures are drawn with this longer side, in pixels (default {MAX_SIDE}).",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="Replace earlier files of the same names.")
    parser.add_argument("--sheet", help=f"A PNG file for all figures below each other, at most {_SHEET}.")
    parser.add_argument("--batch_size", type=int, default=8, help="Pictures a step, held in memory (default 8).")
    add_hash_options(parser)
    add_device(parser)
    options = parser.parse_args(arguments)
    if options.max_side < 64:
        raise InputError("--max_side of at least 64", options.max_side, "give another value")
    if options.batch_size < 1:
        raise InputError("--batch_size of at least 1", options.batch_size, "give another value")
    options.names = options.names or _run_names(options.ckpt_path)
    if len(options.names) != len(options.ckpt_path) or len(set(options.names)) != len(options.names):
        raise InputError(
            f"{len(options.ckpt_path)} different --names, one a checkpoint", " ".join(options.names), "correct them"
        )
    require_folder(options.output)
    return options


def _run_names(paths: list[str]) -> list[str]:
    """The run folders' names where they differ, else numbers."""
    names = [os.path.basename(os.path.dirname(os.path.dirname(os.path.realpath(path)))) for path in paths]
    return names if len(set(names)) == len(names) else [str(at + 1) for at in range(len(names))]
