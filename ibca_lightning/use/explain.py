"""`ibca explain`: where models looked, drawn over each picture, and the same as numbers.

A row of `explained.csv` claims a figure before it is drawn, so that what a stopped run left is known as ours. A picture
is done when its row, its PNG and its NPZ are there.
"""

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ibca_lightning.data import storage
from ibca_lightning.run.command_line.light_imports import late_modules, light_imports
from ibca_lightning.system.errors import InputError, PictureError, shortened
from ibca_lightning.system.hashed_names import add_hash_options, hashed_names
from ibca_lightning.system.launched import place
from ibca_lightning.system.options import OptionParser, class_indices, require_folder, require_least
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.strangers import csv_rows
from ibca_lightning.system.whole_files import write_png, write_whole
from ibca_lightning.use.model_options import (
    add_arithmetic,
    add_device,
    add_excel_safe,
    add_images,
    add_names,
    fingerprint,
    listed,
    named,
    opened,
    say_few_positives,
    say_passed_over,
)

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    import numpy as np

    from ibca_lightning.use.predictor import Predictor

_SHEET = 100  # pictures on one


def explain(arguments: list[str]) -> int:
    """Write a PNG and an NPZ for each picture, and `failed.csv` where one cannot be read.

    Of several processes each does its share, and the last to end lists all.
    """
    options = _parse(arguments)
    pictures = listed(options)
    # Behind the options and pictures: wrong ones, and --help, are answered without seconds of imports.
    with light_imports("wandb"), late_modules():
        import numpy as np
        from rich.progress import track

        from ibca_lightning import __version__
        from ibca_lightning.metrics.columns import excel_safe
        from ibca_lightning.use import explanation
        from ibca_lightning.use.picture_list import require_writable
        from ibca_lightning.use.predictions.files import Kind
        from ibca_lightning.use.predictions.parts import RowParts

    files, own = pictures.files, place()
    if options.overwrite and own.of > 1:
        fix = "leave it out, and remove what lies at --output or give another one"
        raise InputError("one process for --overwrite", own.of, fix)
    masks = _masks(files, options.mask_dir)
    models = {
        name: opened(path, options.device, options.trust, options.precision)
        for name, path in zip(options.names, options.ckpt_path, strict=True)
    }
    classes, asked = common_classes(models, options.classes)
    folder = Path(options.output)
    hidden, cell = hashed_names(options) or str, excel_safe if options.excel_safe else str

    def rename(name: str) -> str:
        return cell(hidden(name))

    kind = Kind("explained.csv", "explain.json", "explanations", "give another --output, or --overwrite")
    drawn_as = _outputs({hidden(name): path for name, path in files.items()}, folder, masks.values())
    outputs = {cell(name): path for name, path in drawn_as.items()}
    figures = {name: cell(path.relative_to(folder).as_posix()) for name, path in outputs.items()}  # as rows say it
    new = [*outputs.values(), *map(_npz, outputs.values())]
    if options.sheet:
        _require_sheet(Path(options.sheet), files.values(), [*new, folder / kind.rows, folder / kind.record])
        new.append(Path(options.sheet))
    found = None if options.overwrite else next(filter(Path.exists, new), None)
    # Asked for last: another process may have begun meanwhile. Whose files they are is looked at with its record below.
    if found and not (folder / kind.record).is_file():
        raise InputError(f"no {found} yet", "an earlier one", "give another --output or --sheet, or --overwrite")
    folders = {"images": pictures.folders, "mask_dir": [options.mask_dir] if options.mask_dir else []}
    record = {
        "version": __version__,
        "checkpoints": [list(pair) for pair in zip(options.names, map(fingerprint, options.ckpt_path), strict=True)],
        **{key: [rename(storage.real(path)) for path in paths] for key, paths in folders.items()},
        **{key: getattr(options, key) for key in ("classes", "max_side", "precision")},
        **({"excel_safe": True} if options.excel_safe else {}),
        "sheet": options.sheet and rename(os.path.realpath(options.sheet)),  # an earlier one of this name is ours
    }
    share, step = list(files)[own.share(len(files))], options.batch_size or next(iter(models.values())).most
    paths = {rename(name): path for name, path in files.items()}
    ids = list(map(rename, files))
    parts = RowParts(folder, record, ["id", "figure"], ids, own, kind, options.overwrite, paths)
    with parts.own() as written:
        claims = _claims({folder / kind.rows, written.path}) if written.done else {}
        mine = {name: outputs[name] for name in map(rename, share)}
        if options.overwrite:
            for old in (*mine.values(), *map(_npz, mine.values())):
                old.unlink(missing_ok=True)
        _require_own(mine, figures, claims)
        left = [name for name in share if rename(name) not in claims or not _is_drawn(outputs[rename(name)])]
        shown_bar = own.rank == 0 and sys.stderr.isatty()
        for at in track(range(0, len(left), step), "explain", disable=not shown_bar):
            batch: list[explanation.Reading] = []
            failed: list[tuple[str, str]] = []
            for name in left[at : at + step]:
                path, mask, shown = files[name], masks[name], rename(name)
                try:
                    require_writable(name)
                    batch.append(explanation.read(models, shown, path, mask, options.max_side))
                except PictureError as error:
                    reason = f"expected {error.expected}, got {error.got}"
                    for file in (path, mask) if options.hash_names else ():
                        reason = reason.replace(file or path, shown)
                    failed.append((shown, shortened(reason)))
            new_rows = [one.name for one in batch if one.name not in claims]
            written.add([[name, figures[name]] for name in new_rows])
            for one, said in zip(batch, explanation.say(models, batch), strict=True):
                write_png(outputs[one.name], explanation.figure(one, said, classes, asked, options.max_side))
                write_whole(_npz(outputs[one.name]), partial(np.savez_compressed, **explanation.numbers(one, said)))
            written.fail(failed)
    if (ended := parts.ended(written, len(left), len(share))) is None:
        return 0
    whole, _ = ended
    claims = _claims([whole.path])
    drawn = [path for name, path in outputs.items() if claims.get(name) == figures[name] and _is_drawn(path)]
    say_few_positives(models.values())
    write_out(f"explained {len(drawn)} of {len(files)} pictures in {folder}\n")
    if drawn:
        say_passed_over(pictures, rename)
    bare = [name for name, mask in masks.items() if mask is None]
    if options.mask_dir and bare:
        write_err(f"note: no mask of {len(bare)} pictures, {rename(bare[0])} first; no lesion is outlined there\n")
    if options.sheet and drawn:
        write_png(options.sheet, explanation.sheet([_read_figure(path) for path in drawn]))
    whole.require_all(len(files))
    if len(drawn) < len(files):  # removed meanwhile, or claimed by a stopped run and unreadable now
        raise InputError(f"figures of all {len(files)} pictures", len(drawn), "the same command draws the others")
    return 0


def _claims(tables: Iterable[Path]) -> dict[str, str]:
    """The figure of each picture that has a row."""
    claims: dict[str, str] = {}
    for table in tables:
        claims |= {row[0]: row[1] for row in csv_rows(table, "backslashreplace") if len(row) == 2}
    return claims


def _require_own(outputs: Mapping[str, Path], figures: Mapping[str, str], claims: Mapping[str, str]) -> None:
    """Refuse to replace the figure of another picture, and files that no row claims."""
    owners, fix = {figure: name for name, figure in claims.items()}, "give another --output, or --overwrite"
    for name, path in outputs.items():
        figure = figures[name]
        if owners.get(figure, name) != name:
            raise InputError(f"no {path} yet", f"the figure of {owners[figure]}", fix)
        if claims.get(name, figure) != figure:
            raise InputError(f"the figure of {name} at {path}", f"one at {claims[name]}", fix)
        if name not in claims and (path.exists() or _npz(path).exists()):
            raise InputError(f"no {path} yet", "a file of others", fix)


def _is_drawn(path: Path) -> bool:
    return path.is_file() and _npz(path).is_file()


def _read_figure(path: Path) -> "np.ndarray":
    """A figure of ours as RGB, of any size: the bound of `read_image` is for pictures of strangers."""
    import cv2

    pixels: np.ndarray | None = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise InputError(f"a figure at {path}", "a damaged file", "remove it: the same command draws it again")
    return pixels


def _masks(files: Mapping[str, str], folder: str | None) -> dict[str, str | None]:
    """The mask of each picture; None where it has none."""
    from ibca_lightning.data.pictures.masks import mask_of
    from ibca_lightning.use.picture_list import inside

    if folder is not None and not storage.is_folder(folder):
        raise InputError(f"a folder of masks at --mask_dir {folder}", "nothing there", "correct it, or leave it out")
    found = {name: mask_of(inside(name), folder) for name in files}
    if folder is not None and not any(found.values()):
        expected = f"masks with the names of these pictures, as .png, at --mask_dir {folder}"
        raise InputError(expected, "none", "correct it, or leave it out")
    return found


def common_classes(models: "Mapping[str, Predictor]", asked: list[str] | None) -> tuple[list[str], list[str] | None]:
    """The classes that every model has, matched by their names, and those of them that are asked for."""
    own = [predictor.spec.class_names for predictor in models.values()]
    common = [name for name in own[0] if all(name in names for names in own)]
    others = sorted({name for names in own for name in names} - set(common))
    if not common:
        raise InputError("checkpoints that have a class in common", "none", "explain them one by one")
    if others:
        write_err(f"note: not every model has these classes, which are not drawn: {', '.join(others)}\n")
    return common, [common[at] for at in class_indices(asked, common)] if asked else None


def _require_sheet(path: Path, pictures: Iterable[str], figures: Iterable[Path]) -> None:
    """Refuse a figure too large to be looked at, and one in the place of a picture or of what is drawn of one."""
    real = [os.path.realpath(picture) for picture in pictures]
    if len(real) > _SHEET:
        raise InputError(f"at most {_SHEET} pictures on a --sheet", len(real), "give fewer --images, or leave it out")
    if path.is_dir() or os.path.realpath(path) in {*real, *map(os.path.realpath, figures)}:
        raise InputError("a --sheet that is no folder and none of the pictures", path, "give another file")


def _outputs(files: Mapping[str, str], folder: Path, masks: Iterable[str | None]) -> dict[str, Path]:
    """The PNG of each picture: its id with another ending, or with one more where two pictures differ in it alone.

    None may take the place of a picture or a mask.
    """
    from ibca_lightning.use.picture_list import inside

    stems = Counter(os.path.splitext(inside(name))[0] for name in files)
    outputs: dict[str, Path] = {}
    taken: set[Path] = set()
    pictures = {os.path.realpath(path) for path in (*files.values(), *masks) if path}
    for name in files:
        within = inside(name)
        stem = os.path.splitext(within)[0]
        output = folder / f"{stem if stems[stem] == 1 else within}.png"
        if output in taken:
            raise InputError(f"one picture for {output}", f"{name} and another one", "explain them one by one")
        outputs[name] = output
        taken.add(output)
        if pictures & {os.path.realpath(output), os.path.realpath(_npz(output))}:
            raise InputError("an --output outside of the pictures' folder", f"{folder}", "give another one")
    return outputs


def _npz(output: Path) -> Path:
    return output.with_suffix(".npz")


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca explain",
        "options of `ibca explain`",
        "Where models looked: for each picture a PNG of it with a panel for each class found (of several checkpoints a "
        "row for each class and a column for each), in the picture's own proportions, colours and resolution, and an "
        "NPZ of the maps of all classes.",
    )
    parser.add_argument(
        "--ckpt_path", required=True, nargs="+", action="extend",
        help="A checkpoint written by `ibca fit`; of several the maps stand side by side, classes matched by name.",
    )  # fmt: skip
    add_names(parser)
    add_images(parser)
    parser.add_argument(
        "--output", required=True, help="Folder for the PNG and NPZ files. A run that was stopped goes on there."
    )
    parser.add_argument(
        "--classes", nargs="+", action="extend", help="Classes to show; default those found in the picture."
    )
    parser.add_argument(
        "--mask_dir", help="Folder of masks of the same names (.png), bit i for class i (of the first checkpoint): "
        "outlined, with the share of the attention on the lesion. A picture without a mask is explained without.",
    )  # fmt: skip
    parser.add_argument(
        "--max_side", type=int, default=2048,
        help="Larger pictures are drawn with this longer side, in pixels (default 2048).",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="Begin again, and replace files that are there.")
    parser.add_argument("--sheet", help=f"A PNG file for all figures below each other, at most {_SHEET}.")
    add_excel_safe(parser)
    add_arithmetic(parser, 8)
    add_hash_options(parser)
    add_device(parser)
    options = parser.parse_args(arguments)
    require_least(options, max_side=64, batch_size=1)
    options.names = named(options)
    require_folder(options.output)
    return options
