"""Derm7pt: the seven-point checklist of skin lesions, 7 to 13 labels."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ibca_lightning.data.options import check_choice, check_whole
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.copies import first_present
from ibca_lightning.datasets.layouts.pairs import pair_pictures, pairs_folder
from ibca_lightning.datasets.layouts.released import ReleasedSet
from ibca_lightning.system.errors import InputError

Form = Literal["criteria", "levels"]
View = Literal["derm", "clinic", "both"]

# For each column its levels beside `absent`: (level as the paper groups it, values of the table, points of the score).
_COLUMNS: dict[str, tuple[tuple[str, tuple[str, ...], int], ...]] = {
    "pigment_network": (("typical", ("typical",), 0), ("atypical", ("atypical",), 2)),
    "blue_whitish_veil": (("present", ("present",), 2),),
    "vascular_structures": (
        ("regular", ("arborizing", "comma", "hairpin", "within regression", "wreath"), 0),
        ("irregular", ("dotted", "linear irregular"), 2),
    ),
    "pigmentation": (
        ("regular", ("diffuse regular", "localized regular"), 0),
        ("irregular", ("diffuse irregular", "localized irregular"), 1),
    ),
    "streaks": (("regular", ("regular",), 0), ("irregular", ("irregular",), 1)),
    "dots_and_globules": (("regular", ("regular",), 0), ("irregular", ("irregular",), 1)),
    "regression_structures": (("present", ("blue areas", "white areas", "combinations"), 1),),
}


class Derm7pt(ReleasedSet):
    """Derm7pt, the seven-point checklist data set: skin lesions with a dermoscopic and a clinical photograph each.

    1011 cases. Official split: 413 training, 203 validation and 395 test cases, given as row numbers (from 0) of the
    table. One row is one lesion; patients are not given, so each is its own group.

    A criterion has several levels, some of which count points (in brackets) in the checklist. `form: criteria` has one
    label a criterion, positive where it counts: pigment_network atypical (2), blue_whitish_veil present (2),
    vascular_structures irregular (2: dotted, linear irregular), pigmentation irregular (1: diffuse, localized), streaks
    irregular (1), dots_and_globules irregular (1), regression_structures present (1: blue areas, white areas,
    combinations). `form: levels` has one label for each level but `absent`, grouped as in the paper: beside those seven
    pigment_network typical, vascular_structures regular (arborizing, comma, hairpin, within regression, wreath),
    pigmentation regular, streaks regular, dots_and_globules regular: 12. `melanoma` adds the diagnosis, which is
    positive for every value that begins with this word (in situ, by thickness, metastasis).

    Licence: as stated with the release. Citation: Kawahara, Daneshvar, Argenziano, Hamarneh, "Seven-point checklist and
    skin lesion classification using multitask multimodal neural nets", IEEE Journal of Biomedical and Health
    Informatics, 2018, doi 10.1109/JBHI.2018.2824327.

    Expected tree (also below `release_v0/`)::

        root/meta/meta.csv  root/meta/{train,valid,test}_indexes.csv  root/images/{path in column derm or clinic}

    Args:
        root: Folder of the data set.
        form: `criteria` or `levels`.
        melanoma: Whether the diagnosis melanoma is a label too.
        view: Which photograph is read, `derm` or `clinic`; or `both`, the dermoscopic one left and the clinical one
            right, as one picture for the head `pair`. These pictures are written once, below `pairs_dir`.
        pair_pixels: Side of each photograph in the pictures of `view: both`.
        pairs_dir: Folder for these pictures; None for `root/pairs`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    _tree = "root/meta/meta.csv, root/meta/{train,valid,test}_indexes.csv, root/images/"
    _help = f"get Derm7pt (doi 10.1109/JBHI.2018.2824327) and unpack it as {_tree}"

    def __init__(
        self,
        root: str,
        form: Form = "criteria",
        melanoma: bool = False,
        view: View = "derm",
        pair_pixels: int = 768,
        pairs_dir: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(root, **common)
        check_choice("form", form, Form)
        check_choice("view", view, View)
        check_whole("pair_pixels", pair_pixels, 1)
        self.form, self.melanoma, self.view, self.pair = form, melanoma, view, view == "both"
        self.pair_pixels, self.pairs = pair_pixels, pairs_folder(self.root, pairs_dir, pair_pixels)

    @property
    def own_names(self) -> list[str]:
        """The labels of `form`, as `streaks irregular`, and last `melanoma`."""
        return [*(f"{column} {level}" for column, level, _ in self._levels()), *(["melanoma"] if self.melanoma else [])]

    def official(self) -> Mapping[str, Table]:
        """Read the table and the official row numbers."""
        file = self.present("meta/meta.csv")
        release = os.path.dirname(os.path.dirname(file))
        folder = first_present(release, ("images",), self._help)
        sheet = read_sheet(file)
        tables = {}
        for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
            indexes = read_sheet(first_present(release, (f"meta/{name}_indexes.csv",), self._help))
            part = sheet.take(_rows(indexes, len(sheet), sheet.file))
            labels = self.label_policy.cells(self._marked(part), self.own_names)
            names, below = part.column("derm" if self.pair else self.view), folder
            if self.pair:
                columns, below = (names, part.column("clinic")), self.pairs
                names = pair_pictures(part, columns, self.root, folder, self.pairs, self.pair_pixels)
            tables[split] = self.rows(part, names, below, labels)
        return tables

    def _levels(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return column, level and values of each label."""
        return [
            (column, level, values)
            for column, levels in _COLUMNS.items()
            for level, values, points in levels
            if points or self.form == "levels"
        ]

    def _marked(self, sheet: Sheet) -> Sheet:
        """Return the table with a column of 0, 1 and blank for each label."""
        columns = []
        for column, _, positive in self._levels():
            known = {"absent", *(value for _, values, _ in _COLUMNS[column] for value in values)}
            texts = [text.strip().lower() for text in sheet.column(column)]
            for row, text in enumerate(texts):
                if text not in known and not is_blank(text):
                    raise InputError(
                        f"one of {', '.join(sorted(known))} in column '{column}' of {sheet.where(row)}",
                        repr(text),
                        "correct the value",
                    )
            columns.append(["" if is_blank(text) else str(int(text in positive)) for text in texts])
        if self.melanoma:
            texts = [text.strip().lower() for text in sheet.column("diagnosis")]
            columns.append(["" if is_blank(text) else str(int(text.startswith("melanoma"))) for text in texts])
        return replace(sheet, header=self.own_names, rows=[list(row) for row in zip(*columns, strict=True)])


def _rows(indexes: Sheet, count: int, file: str) -> list[int]:
    rows = []
    for row, text in enumerate(indexes.column("indexes")):
        if not text.isdecimal() or int(text) >= count:
            raise InputError(
                f"a row of {file} from 0 to {count - 1} in {indexes.where(row)}", repr(text), "restore the file"
            )
        rows.append(int(text))
    return rows
