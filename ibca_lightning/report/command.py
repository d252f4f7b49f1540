"""`ibca report RUN`: everything about a tested run in one HTML file that needs no other."""

from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ibca_lightning.system.errors import InputError, input_error_behind
from ibca_lightning.system.hashed_names import add_hash_options, hashed_names
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.whole_files import write_output
from ibca_lightning.use.model_options import add_device, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.report.page import Gallery
    from ibca_lightning.report.pictures import Exhibit
    from ibca_lightning.report.run import Run, TestSet

_EXACT = 0.01  # by which probabilities may differ from the tested ones without a word


def report(arguments: list[str]) -> int:
    """Write the page; the options stand behind `ibca report`."""
    options = _parse(arguments)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.report.page import GENERATOR, page
    from ibca_lightning.report.run import read_run
    from ibca_lightning.system.pages.html_page import refuse_other

    rename = hashed_names(options)
    run = read_run(Path(options.run))
    output = Path(options.output or run.folder / "report.html")
    refuse_other(output, GENERATOR)
    gallery = _gallery(run, options, rename or str)
    text = page(run, gallery)
    write_output(output, text)
    for note in gallery.notes:
        write_out(f"note: {note}\n")
    write_out(f"wrote {output}, {len(text.encode()) / 1e6:.1f} MB\n")
    return 0


def _gallery(run: "Run", options: Namespace, rename: Callable[[str], str]) -> "Gallery":
    """Choose pictures, and draw them as far as that is wanted and possible."""
    from ibca_lightning.report.page import Gallery
    from ibca_lightning.report.pictures import choose, of_the_run

    gallery, drawn, missing, largest = Gallery(), 0, 0, 0.0
    drawers: dict[str, Callable[[TestSet, Exhibit], float]] = {}
    if run.hashed and not (options.hash_names or options.no_images):
        why = "heat maps of the best and worst pictures: their names are hashes"
        gallery.notes.append(f"not shown: {why}; --hash_names (and --hash_key FILE) finds them by the key of the run")
    elif not options.no_images:
        drawers = _drawers(run, options, rename, gallery.notes)
    for own in run.sets:
        best, worst = gallery.chosen[own.name] = choose(own, options.pictures, str if run.hashed else rename)
        for exhibit in (*best, *worst) if own.name in drawers else ():
            with suppress(InputError):  # one that cannot be read is counted below
                largest = max(largest, drawers[own.name](own, exhibit))
            drawn += bool(exhibit.panels)
            missing += not exhibit.panels
    if missing:
        gallery.notes.append(f"not shown: {missing} pictures that are not among the data, or cannot be read")
    if largest > _EXACT:
        gallery.notes.append(
            f"on the pictures that are drawn the checkpoint's probabilities differ by up to {largest:.2f} from the "
            "tested ones, which are shown: it is another checkpoint, or was tested on stored maps of less precision"
        )
    if options.no_images:
        gallery.notes.append("not shown: pictures, because of --no_images")
    elif not drawn and options.hash_names and not run.hashed:
        gallery.notes.append("not shown: the pictures that fit and test drew, because their names may stand in them")
    elif not drawn:
        gallery.drawn = of_the_run(run)
    return gallery


def _drawers(
    run: "Run", options: Namespace, rename: Callable[[str], str], notes: list[str]
) -> "dict[str, Callable[[TestSet, Exhibit], float]]":
    """What draws the pictures of each test set: `draw` with the model and their source; what there is not is noted.

    What was asked for by an option must be there.
    """
    from ibca_lightning.report.pictures import draw, from_files
    from ibca_lightning.run.model_card import without_paths

    cure = ""
    try:
        predictor = opened(str(options.ckpt_path or run.checkpoint), options.device, options.trust)
        names = run.sets[0].tested.class_names
        if predictor.spec.class_names != names:
            what = f"a checkpoint of the classes {names}"
            raise InputError(what, predictor.spec.class_names, "give another --ckpt_path")
        cure = "--images DIR takes them from a folder"
        # Nothing that config.yaml describes is built: a run may be a stranger's.
        folder, masks = (options.images, options.mask_dir) if options.images else run.pictures
        if folder is None:
            raise InputError("a folder (data.root, no URL) in the run's config.yaml", "none", "give --images")
        source = from_files(predictor, folder, masks, rename if run.hashed else str)
        return {own.name: partial(draw, predictor, source) for own in run.sets}
    except Exception as error:
        known = input_error_behind(error)
        if known is None or options.images or options.ckpt_path:
            raise
        reason, cure = "the data or the checkpoint cannot be read", cure or known.fix
        if options.hash_names:  # the message may name a picture: the terminal alone says it
            write_err(f"note: {' '.join(str(known).split())}\n")
            cure = "see what ibca report printed"
        else:
            reason, cure = (
                f"expected {without_paths([known.expected])}, got {without_paths([known.got])}",
                without_paths([cure]),
            )
        notes.append(f"not shown: heat maps of the best and worst pictures: {reason}; {cure}")
        return {}


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca report",
        "options of `ibca report`",
        "Everything about a tested run in one HTML file that needs no other file and no network: settings, figures "
        "with intervals, curves, calibration, errors, training, the best and worst pictures with their attention.",
    )
    parser.add_argument("run", metavar="RUN", help="A run folder that ibca test has written into.")
    parser.add_argument("--output", help="The file; default RUN/report.html. An earlier report there is replaced.")
    parser.add_argument("--no_images", action="store_true", help="No picture of a patient in the report.")
    add_hash_options(parser)
    parser.add_argument(
        "--images", help="Folder below which the test pictures lie by their ids, for runs on stored maps or where the "
        "data have moved; default data.root and data.image_dir of RUN/config.yaml.",
    )  # fmt: skip
    parser.add_argument("--mask_dir", help="Beside --images: folder of masks of the same names, bit i for class i.")
    parser.add_argument("--ckpt_path", help="The checkpoint that was tested; default that in the run folder.")
    parser.add_argument("--pictures", type=int, default=4, help="Best and worst pictures a test set (default 4 each).")
    add_device(parser)
    options = parser.parse_args(arguments)
    if options.pictures < 0:
        raise InputError("--pictures of at least 0", options.pictures, "give another value")
    if options.mask_dir and not options.images:
        raise InputError("--images beside --mask_dir", "none", "add it; the data of config.yaml bring their own masks")
    if options.no_images and options.images:
        raise InputError("--no_images or --images", "both", "leave one out")
    return options
