"""What a picture says of its origin before anybody looks at it: its size, and the form of its file's name.

A class whose pictures come from another machine, film or hospital is told by these, and a model may learn the machine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np

from ibca_lightning.check.content import Contents, distinct_sizes
from ibca_lightning.data.tables.distinct import distinct
from ibca_lightning.data.tables.doubts import Association, Doubt, associations, shortcuts
from ibca_lightning.data.tables.table import Table, decode, encode

SIZE, NAME = "picture size", "form of the file name"
_FIX = "a model may learn the origin of a picture in its place: test on pictures of another origin"


def origin_associations(contents: Mapping[str, Contents], class_names: Sequence[str]) -> list[Association]:
    """How well size and name of the training pictures tell each class, as `associations` has it for subgroups."""
    return associations(_tables(contents), class_names)


def origin_doubts(contents: Mapping[str, Contents], class_names: Sequence[str]) -> list[Doubt]:
    """Say which classes size or name tell too well."""
    return [doubt._replace(fix=_FIX) for doubt in shortcuts(_tables(contents), class_names)]


def _tables(contents: Mapping[str, Contents]) -> dict[str, Table]:
    """The training table with the two in the place of its subgroups; names that are not to be seen are left out."""
    train = contents.get("train")
    if train is None or not isinstance(train.source, Table):
        return {}
    sizes, of_rows = distinct_sizes(train.sizes)
    named = [f"{width} x {height}" if width else "" for height, width in sizes.tolist()]
    columns = {SIZE: encode(named)[of_rows]}
    if train.rename is str:
        # With every digit a 0 few different names are left, of the same forms.
        zeros = train.ids.copy()
        letters = zeros.view(np.uint8)
        letters[(letters > ord("0")) & (letters <= ord("9"))] = ord("0")
        names, of_rows = distinct(zeros)
        columns[NAME] = encode([form_of_name(decode(name)) for name in names])[of_rows]
    return {"train": replace(train.source, subgroups=columns)}


def form_of_name(name: str) -> str:
    """A file's name without folder and ending, each number as `#`.

    Examples:
        >>> from ibca_lightning.check.origin import form_of_name
        >>> form_of_name("images/NAF_0040.jpg")
        'NAF_#'
    """
    return re.sub(r"\d+", "#", PurePath(name).stem)
