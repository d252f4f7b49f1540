"""`ibca faithfulness`: deletion and insertion curves on a sample of (picture, present class) pairs of a test set.

One run measures one checkpoint, thus one training seed. What is measured of a picture is noted at once, as `predict`
notes its rows: several processes share the pictures, and a command that was stopped goes on.
"""

import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.data.storage import is_remote
from ibca_lightning.run.command_line.at_once import refuse_at_once
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.launched import place
from ibca_lightning.system.options import OptionParser, require_folder, require_least
from ibca_lightning.system.output import bounds, write_out
from ibca_lightning.use.model_options import CHECKPOINT, add_arithmetic, add_device, fingerprint, opened
from ibca_lightning.use.predictions.files import Kind

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from torch import Tensor
    from torch.utils.data import DataLoader

    from ibca_lightning.use.predictor import Predictor

_HEADLINE = ("deletion", "insertion", "deletion_gain", "insertion_gain")
_SETTINGS = ("pairs", "seed", "steps", "filler", "precision")
_NOTES = Kind("rows.csv", "rows.json", "curves", "remove it, or give another --output", longer=True)  # done so far


def faithfulness(arguments: list[str]) -> int:
    """Write `faithfulness.json` and print its figures in one line.

    Of several processes each does its share of the pictures, and the last to end does that.
    """
    options, given = _parse(arguments)
    refuse_at_once("faithfulness", given)
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from rich.progress import track

    from ibca_lightning import __version__
    from ibca_lightning.run.experiment_data import experiment
    from ibca_lightning.run.model_card import without_paths
    from ibca_lightning.run.run_folder import run_of
    from ibca_lightning.system.whole_files import write_json
    from ibca_lightning.use.predictions.parts import RowParts

    predictor = opened(options.ckpt_path, options.device, options.trust, options.precision)
    data, _, described = experiment(given, options.ckpt_path)
    name, loader = _test_loader(data, options.test_set, predictor.spec.class_names)
    chosen, own, rename = _sample(loader, options.pairs, options.seed), place(), getattr(data, "rename", str)
    folder, settings = Path(options.output or run_of(options.ckpt_path)), {k: getattr(options, k) for k in _SETTINGS}
    record = {
        "version": __version__,
        "checkpoint": fingerprint(options.ckpt_path),
        "data": _fingerprint(described["data"]),
        "test_set": name,
        "settings": settings,
    }
    notes = folder / "faithfulness.notes"
    parts = RowParts(notes, record, ["row", "about", "curves"], list(map(str, chosen)), own, _NOTES)
    share = list(chosen)[own.share(len(chosen))]
    _item(loader, next(iter(chosen)), predictor.spec.image_size)  # data that do not fit leave no notes
    with parts.own() as files:
        left = [row for row in share if str(row) not in files.done]
        for row in track(left, "faithfulness", disable=own.rank > 0 or not sys.stderr.isatty()):
            item = _item(loader, row, predictor.spec.image_size)
            about, curves = _measured(predictor, item, row, chosen[row], options)
            about["group"] = rename(str(item.get("group", item["id"])))
            files.add([[str(row), *map(json.dumps, [about, *curves])]])
    if (ended := parts.ended(files, len(left), len(share))) is None:
        return 0
    with parts.alone():
        rows = {int(row): list(map(json.loads, fields)) for row, *fields in ended[0].rows()}
        result = _summary([rows[row] for row in chosen], predictor.spec.class_names)
        checkpoint = options.ckpt_path if rename is str else without_paths([options.ckpt_path])
        path = folder / "faithfulness.json"
        write_json(path, {"checkpoint": checkpoint, "test_set": name, **result, "settings": settings})
        parts.forget()
    with suppress(OSError):  # what others put there stays
        notes.rmdir()
    values, ends = result["metrics"], result["intervals"]
    # A gain in pictures of one group has no interval.
    figures = ", ".join(f"{n} {values[n]:.4f}{bounds(ends[n])}" for n in _HEADLINE)
    write_out(f"{name}, {result['pairs']} pairs: {figures}; wrote {path}\n")
    return 0


def _measured(
    predictor: "Predictor", item: dict[str, Any], row: int, present: list[int], options: Namespace
) -> tuple[dict[str, Any], list[Any]]:  # fmt: skip
    """What is noted of one picture: probabilities, labels and the curves' shares; each curve as label, name, values."""
    from ibca_lightning.metrics.faithfulness import mean_colour, pair_curves

    image: Tensor = item["image"]
    known, attention = (part[0] for part in predictor.forward(image[None]))
    about: dict[str, Any] = {"probabilities": known.tolist(), "label": item["label"].tolist()}
    curves = []
    for label in present:
        measured = pair_curves(
            lambda images: predictor.forward(images)[0], image, attention[label], label,
            item["mask"][label] if "mask" in item else None, options.steps,
            mean_colour(image) if options.filler == "mean" else None,
            seed=(options.seed * 1_000_003 + row) * len(known) + label,
        )  # fmt: skip
        about["shares"] = measured["deletion"].shares.tolist()
        curves += [[label, name, curve.probabilities.tolist()] for name, curve in measured.items()]
    return about, curves


def _summary(rows: Sequence[Sequence[Any]], class_names: list[str]) -> dict[str, Any]:
    """Average what was noted of each picture.

    `metrics`: mean areas of the curves of `pair_curves`, and `deletion_gain` (random less attention) and
    `insertion_gain` (attention less random), both better when higher. `per_class`: the same. `intervals`: 95 % of each,
    by bootstrap over groups. `curves`: the mean of each; `shares`: of cells, at its points. `pairs`, `pictures`.
    """
    import torch

    from ibca_lightning.metrics.faithfulness import Curve
    from ibca_lightning.metrics.intervals import bootstrap_intervals
    from ibca_lightning.metrics.localisation import summarise

    abouts = [about for about, *_ in rows]
    shares = torch.tensor(abouts[0]["shares"])
    curves: dict[str, list[Tensor]] = {}
    areas: dict[str, Tensor] = {}  # each (pictures, labels), NaN where there is no such pair
    for at, (_, *measured) in enumerate(rows):
        for label, name, values in measured:
            curve = Curve(shares, torch.tensor(values))
            curves.setdefault(name, []).append(curve.probabilities)
            areas.setdefault(name, torch.full((len(rows), len(class_names)), torch.nan))[at, label] = curve.area
    areas["deletion_gain"] = areas["deletion_random"] - areas["deletion"]
    areas["insertion_gain"] = areas["insertion"] - areas["insertion_random"]
    summary = summarise(areas, class_names)
    probabilities, labels = (torch.tensor([about[key] for about in abouts]) for key in ("probabilities", "label"))
    intervals = bootstrap_intervals(probabilities, labels, [about["group"] for about in abouts], pairs=areas)
    return {
        **summary,
        "intervals": {name: intervals[name] for name in summary["metrics"]},
        "curves": {name: torch.stack(own).mean(0).tolist() for name, own in curves.items()},
        "shares": shares.tolist(),
        "pictures": len(rows),
    }


def _fingerprint(data: dict[str, Any]) -> str:
    """Of the options of a data module that pictures depend on. A path may name a clinic, so they are not noted."""
    options = {
        key: value for key, value in (data.get("init_args") or {}).items() if key not in ("batch_size", "num_workers")
    }
    return hashlib.sha256(json.dumps([data["class_path"], options]).encode()).hexdigest()


def _sample(loader: "DataLoader[Any]", pairs: int, seed: int) -> dict[int, list[int]]:
    """The labels that are looked at in each row of a seeded sample of pairs, rows in order."""
    import torch

    dataset: Any = loader.dataset
    dataset = getattr(dataset, "dataset", dataset)  # within the guard
    labels = getattr(dataset, "labels", None)  # where there are none, every picture is read for its labels
    labels = torch.cat([batch["label"] for batch in loader]) if labels is None else torch.as_tensor(labels)
    present = (labels == 1).nonzero()
    if not len(present):
        raise InputError("a test set in which a class is present", "none", "choose another --test_set or split")
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed))[:pairs]
    chosen: dict[int, list[int]] = {}
    for row, label in present[order.sort().values].tolist():
        chosen.setdefault(row, []).append(label)
    return chosen


def _item(loader: "DataLoader[Any]", row: int, size: int) -> dict[str, Any]:
    item: Any = loader.dataset[row]
    if isinstance(item, InputError):  # a guarded data set hands it over
        raise item
    if "image" not in item:
        raise InputError("a data module of pictures", "one of maps", "give the --config of the pictures' experiment")
    if item["image"].shape[-1] != size:
        expected = f"pictures of the model's image_size {size}"
        raise InputError(expected, item["image"].shape[-1], f"add --data.image_size {size}")
    return dict(item)


def _test_loader(data: Any, asked: str | None, class_names: list[str]) -> tuple[str, Any]:
    own = list(getattr(data, "class_names", class_names))
    if own != class_names:
        raise InputError(f"data with the model's classes {class_names}", own, "give the --config of its experiment")
    data.setup("test")
    loaders = data.test_dataloader()
    loaders = loaders if isinstance(loaders, list) else [loaders]
    names = list(getattr(data, "test_names", None) or [f"test{i}" for i in range(len(loaders))])
    if asked is not None and asked not in names:
        raise InputError(f"--test_set as one of {', '.join(names)}", asked, "correct it")
    name = asked or names[0]
    return name, loaders[names.index(name)]


def _parse(arguments: list[str]) -> tuple[Namespace, list[str]]:
    """Our own options, and those that describe the data."""
    parser = OptionParser(
        "ibca faithfulness",
        "options of `ibca faithfulness`",
        "Deletion and insertion curves of the attention on a sample of a test set, of one checkpoint and thus of one "
        "training seed. A run that was stopped goes on with the same command. Every other option is one of `ibca test` "
        "and describes the data: --config FILE (RUN/config.yaml, or the pictures' experiment where the run was trained "
        "on maps), --data.root DIR, ...",
    )
    parser.allow_abbrev = False  # what is not ours is the parser's of `ibca test`
    parser.add_argument("--ckpt_path", required=True, help=CHECKPOINT)
    parser.add_argument("--pairs", type=int, default=100, help="(picture, present class) pairs (default 100).")
    parser.add_argument("--seed", type=int, default=0, help="Of the sample and the random orders (default 0).")
    parser.add_argument("--steps", type=int, default=10, help="Steps of a curve (default 10).")
    parser.add_argument("--test_set", help="One of several test sets by name; default the first.")
    parser.add_argument("--filler", choices=("blur", "mean"), default="blur", help="What replaces deleted cells.")
    add_arithmetic(parser)
    add_device(parser)
    parser.add_argument("--output", help="Folder for faithfulness.json; default the checkpoint's run.")
    options, others = parser.parse_known_args(arguments)
    require_least(options, pairs=1, steps=1, seed=0)
    if options.output is not None or is_remote(options.ckpt_path):  # there is no run beside a URL to write into
        require_folder(options.output or options.ckpt_path)
    return options, others
