"""What one looks at in a notebook beside a prediction: heat maps of models, a training by epoch, pictures of the data.

Pictures are Pillow's, which a notebook shows by itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from PIL import Image

from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.drawing import Panel
from ibca_lightning.data.tables.labels import UNKNOWN
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.use import explanation
from ibca_lightning.use.explain import common_classes
from ibca_lightning.use.predictor import Predictor, load

if TYPE_CHECKING:
    import pandas as pd

    from ibca_lightning.data.base import MultiLabelDataModule

_COLUMNS = 4  # of pictures of the data
_MODEL = "model"  # the name of one that stands alone, which no picture shows
Model = str | Path | Predictor
Files = str | Path | Sequence[str | Path]


def explain(
    models: Model | Mapping[str, Model], pictures: Files, classes: str | Sequence[str] | None = None,
    masks: Files | None = None, max_side: int = 512,
) -> Image.Image:  # fmt: skip
    """Where models looked, drawn over pictures, as `ibca explain` draws it.

    `explain("RUN/checkpoints/best.ckpt", "photo.jpg")` shows one model, `explain({"IBCA": "a.ckpt", "GAP": "b.ckpt"},
    ["one.jpg", "two.jpg"], classes=["polyp"])` two of them side by side.

    Args:
        models: A checkpoint, what `load` gave, or several of them by name.
        pictures: A file, or several.
        classes: Those to be shown; default those that a model finds.
        masks: The mask of each picture, bit i for class i; their lesions are outlined.
        max_side: Larger pictures are drawn with this longer side, in pixels.

    Raises:
        InputError: A checkpoint or a picture cannot be read, or there is no such class.
    """
    named = models if isinstance(models, Mapping) else {_MODEL: models}
    opened = {name: own if isinstance(own, Predictor) else load(own) for name, own in named.items()}
    files = [*map(expanded, _listed(pictures))]
    bits: list[str | None] = [*map(expanded, _listed(masks))] or [None] * len(files)
    if not files or not opened or len(bits) != len(files):
        expected = "a model, pictures, and a mask for each or none"
        raise InputError(expected, f"{len(opened)}, {len(files)} and {len(bits)}", "correct them")
    common, asked = common_classes(opened, _listed(classes) or None)
    figures = []
    for file, mask in zip(files, bits, strict=True):  # one at a time: few are looked at
        own = explanation.read(opened, Path(file).name, file, mask, max_side)
        (said,) = explanation.say(opened, [own])
        figures.append(explanation.figure(own, said, common, asked, max_side))
    return Image.fromarray(explanation.sheet(figures))


def history(run: str | Path) -> "pd.DataFrame":
    r"""The figures of a training by epoch, the last value of each: losses, validation figures, AP of each class.

    `history("RUN")[["val/mAP", "val/loss"]]` is the course of a training.

    Args:
        run: A run folder that `ibca fit` has written into, or writes into now.

    Raises:
        InputError: There are no figures, or pandas is not installed.

    Examples:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import ibca_lightning
        >>> with TemporaryDirectory() as run:
        ...     _ = Path(run, "metrics.csv").write_text("epoch,val/mAP,train/loss\n0,,0.7\n0,0.25,\n1,0.5,0.6\n")
        ...     ibca_lightning.history(run)["val/mAP"].to_dict()
        {0: 0.25, 1: 0.5}
    """
    try:
        import pandas as pd
    except ImportError as error:
        fix = "pip install 'ibca-lightning[notebook]'"
        raise InputError("the package pandas for ibca_lightning.history", "none installed", fix) from error
    rows = [row for row in read_training(Path(expanded(str(run)))) if "epoch" in row]
    if not rows:
        raise InputError(f"metrics.csv of a training in {run}", "none", "give the folder of a run of ibca fit")
    frame: pd.DataFrame = pd.DataFrame(rows).astype({"epoch": int}).groupby("epoch").last()
    return frame


def show_batch(data: "str | Path | MultiLabelDataModule", count: int = 8, seed: int = 0) -> Image.Image:
    """Pictures of the training set as the model sees them: augmented, with the classes they show, lesions outlined.

    Args:
        data: A data module, such as `CSVDataModule`, or the YAML of an experiment.
        count: How many.
        seed: Of the choice and the augmentation.

    Raises:
        InputError: The data are wrong, or stored maps, which have no pictures.

    Examples:
        >>> import ibca_lightning
        >>> from ibca_lightning.data import SCMDataModule
        >>> data = SCMDataModule(train_size=6, val_size=1, test_size=1)
        >>> ibca_lightning.show_batch(data, count=4).mode
        'RGB'
    """
    if isinstance(data, str | Path):
        from ibca_lightning.run.experiment_data import experiment_data  # the whole command line

        data = cast("MultiLabelDataModule", experiment_data(["--config", expanded(str(data))]))
    data.prepare_data()
    data.find_bit_depth()
    pictures, shown = data.train_set(), []
    rows = np.random.default_rng(seed).permutation(len(pictures))[:count].tolist()  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):  # augmentation draws from torch
        torch.manual_seed(seed)
        for item in (pictures[row] for row in rows):
            if "image" not in item:
                raise InputError("data with pictures", "stored maps", "give the data that they were made of")
            labels = item["label"].tolist()
            present = [name for name, label in zip(data.class_names, labels, strict=True) if label == 1]
            unknown = f", {labels.count(UNKNOWN)} unknown" if UNKNOWN in labels else ""
            title = (str(item["id"]), f"shows: {', '.join(present) or 'none'}{unknown}")
            outline = item["mask"].any(0).numpy() if "mask" in item else None
            shown.append((as_rgb(item["image"].permute(1, 2, 0).numpy()), Panel(None, title, outline)))
    return explanation.side_by_side(shown, min(_COLUMNS, len(shown)), max_side=384)


def _listed(given: Files | None) -> list[str]:
    return [str(own) for own in ([given] if isinstance(given, str | Path) else given or ())]
