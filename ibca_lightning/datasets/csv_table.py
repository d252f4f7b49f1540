"""Any table and a folder of pictures."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn

from ibca_lightning.data import storage
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.options import check_choice, check_whole
from ibca_lightning.data.pictures.masks import MaskFolder, mask_name
from ibca_lightning.data.tables.columns import (
    CASE,
    idle_words,
    number_of,
    one_row_a_picture,
    rows_by_split,
    with_values,
)
from ibca_lightning.data.tables.doubts import Doubt
from ibca_lightning.data.tables.groups.grouping import grouping_doubts
from ibca_lightning.data.tables.groups.respelt import lost_name
from ibca_lightning.data.tables.label_list import LabelList
from ibca_lightning.data.tables.label_space import meaning
from ibca_lightning.data.tables.labels import check_no_other_labels, find_label_columns, is_blank
from ibca_lightning.data.tables.paths import absent, check_root, inside, missing, suggestion
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.splits import GroupOverlap, split_off
from ibca_lightning.data.tables.table import Table, build_table, encode
from ibca_lightning.datasets.layouts.bands import in_bands
from ibca_lightning.datasets.layouts.pairs import pair_pictures, pairs_folder
from ibca_lightning.datasets.layouts.picture_index import PictureIndex
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.system.errors import DataWarning, InputError, doubled, first_of

MissingImages = Literal["error", "skip"]
MissingMasks = Literal["error", "empty"]

log = logging.getLogger(__name__)


class CSVDataModule(TableDataModule):
    """Pictures named in tables, with a column for each label, or one that lists the findings.

    A label is 0 or 1 (also `1.0`, `1,0`, yes, TRUE), or unknown: -1, blank, `NaN`, `NULL`; `label_values` adds words.
    Ids and groups are strings, whatever they look like. Text files are UTF-8, separated by commas, semicolons or tabs;
    of an Excel workbook (.xlsx) the first visible sheet, and Parquet with the extra `parquet`. `ibca init` writes these
    options.

    Args:
        root: Folder of the data set.
        train_csv: Training table. Tables are looked for below `root` first, then as a path of their own, so that an
            external test set can be given beside the data.
        val_csv: Validation table; None splits `val_fraction` off by group.
        test_csv: Test table; None splits `test_fraction` off by group, or leaves the test split out where that is 0.
            With a `label_space` it may stand alone, without a training table.
        val_fraction: Share of the training table that becomes validation where `val_csv` is None, in (0, 1).
        test_fraction: Share of the training table that becomes test where `test_csv` is None, in [0, 1).
        split_seed: Chooses the split; independent of `seed_everything`, so that runs of several seeds share it.
        split_column: Column of the training table that names the split of each row (train, val, test, or as others
            spell them), in place of further tables; a split that it does not name is split off by its fraction.
        image_column: Column with the path of the picture below `image_dir`.
        image_columns: Several such columns in its place, each with a picture of the case that a row is. Every picture
            becomes a row with the labels of its case, and a case is a group where there is no `group_column`.
        join_images: Whether the two `image_columns`, such as prior and current, become one picture instead, the first
            left and the second right, for the head `pair`. A blank is black. These pictures are written below
            `pairs_dir`, and again when one of the two is newer.
        pair_pixels: Side of each picture of such a pair.
        pairs_dir: Folder for them; None for `root/pairs`.
        find_images: Whether a picture may be named without its extension, or without the folders below `image_dir`, or
            with those of another machine. Of folders that are there, no other than those of the cell are searched.
        missing_images: Whether a row whose picture is not there is an `error`, or is left out (`skip`), which a warning
            says.
        group_column: Column that says which pictures belong together (patient, source); None makes each its own, and
            warns where another column or the names of files say otherwise; `none` says that this is meant.
        image_dir: Picture folder below `root`; None for `root` itself.
        mask_dir: Folder below `root` with one 8-bit PNG for each picture, same stem, whose bit i marks label i; further
            bits are ignored.
        missing_masks: Whether a picture without a mask is an `error`, or has an empty one (`empty`), as where some
            pictures of the training split were outlined.
        mask_labels: The labels of bit 0, 1, ... where they are not the classes in their order, as when `label_columns`
            chooses some of them; a class without a bit has an empty mask.
        label_columns: The labels; None takes every other column of the training table that has 0 and 1 among its
            values and is half filled, and logs their names; none where there is a `label_list`.
        label_values: What words in label columns mean, as 0, 1 or -1: `{present: 1, absent: 0, unsure: -1}`; the key
            "" stands for a blank, and a number for all ways to write it (`'-1'` also for `-1.0`).
        label_counts: Label columns that hold numbers of findings: a number above 0 is 1.
        label_list: A column that names the findings (`{column: findings, separator: ";"}`), or several; each name is a
            class behind those of `label_columns`.
        exclude_columns: Columns that are not labels though they may look so.
        subgroup_columns: Columns such as sex, site or device, for figures by subgroup; never labels.
        subgroup_bands: Limits by which numbers of a subgroup column become bands: `{age: [40, 60]}` gives `<40`,
            `40 to <60` and `60+`.
        group_overlap: Whether a group, or a picture, in two splits is an `error` or a reason to `warn`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    def __init__(
        self,
        root: str,
        train_csv: str = "train.csv",
        val_csv: str | None = None,
        test_csv: str | None = None,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        split_seed: int = 0,
        split_column: str | None = None,
        image_column: str = "image",
        image_columns: list[str] | None = None,
        join_images: bool = False,
        pair_pixels: int = 768,
        pairs_dir: str | None = None,
        find_images: bool = False,
        missing_images: MissingImages = "error",
        group_column: str | None = None,
        image_dir: str | None = None,
        mask_dir: str | None = None,
        missing_masks: MissingMasks = "error",
        mask_labels: list[str] | None = None,
        label_columns: list[str] | None = None,
        label_values: dict[str, int] | None = None,
        label_counts: list[str] | None = None,
        label_list: LabelList | list[LabelList] | None = None,
        exclude_columns: list[str] | None = None,
        subgroup_columns: list[str] | None = None,
        subgroup_bands: dict[str, list[float]] | None = None,
        group_overlap: GroupOverlap = "error",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        check_choice("group_overlap", group_overlap, GroupOverlap)
        check_choice("missing_images", missing_images, MissingImages)
        check_choice("missing_masks", missing_masks, MissingMasks)
        for name, columns in (
            ("image_columns", image_columns),
            ("label_columns", label_columns),
            ("label_counts", label_counts),
            ("mask_labels", mask_labels),
            ("exclude_columns", exclude_columns),
            ("subgroup_columns", subgroup_columns),
        ):
            if columns is not None and not (isinstance(columns, list) and all(isinstance(c, str) for c in columns)):
                raise InputError(f"data.{name} as a list of column names", repr(columns), "write [NAME, NAME]")
        self.root = os.fspath(root)
        self.csv = {"train": train_csv, "val": val_csv, "test": test_csv}
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed, self.group_overlap, self.split_column = split_seed, group_overlap, split_column
        if split_column is not None and (val_csv is not None or test_csv is not None):
            raise InputError("data.split_column or further tables", "both", "leave out val_csv and test_csv")
        if image_columns == []:
            raise InputError("at least one name in data.image_columns", "[]", "name the columns, or leave it out")
        self.image_columns, self.find_images, self.missing_images = image_columns or [], find_images, missing_images
        self.image_column = self.image_columns[0] if self.image_columns else image_column
        self.pair, self.pair_pixels = join_images, pair_pixels
        check_whole("pair_pixels", pair_pixels, 1)
        if join_images and (len(self.image_columns) != 2 or mask_dir is not None or self.in_channels != 3):
            got = f"{len(self.image_columns)} image_columns, in_channels {self.in_channels}, mask_dir {mask_dir}"
            raise InputError(
                "two data.image_columns of RGB or gray pictures without masks", got, "or join_images: false"
            )
        self.pairs = pairs_folder(self.root, pairs_dir, pair_pixels)
        self.no_groups = group_column == "none"
        group_column = None if self.no_groups else group_column
        by_case = group_column is None and self.image_columns and not join_images
        self.group_column = CASE if by_case else group_column
        self.image_dir, self.mask_dir, self.missing_masks = image_dir or "", mask_dir, missing_masks
        self.label_columns, self.mask_labels = label_columns, mask_labels
        self.exclude_columns, self.subgroup_columns = exclude_columns or [], subgroup_columns or []
        self.subgroup_bands = subgroup_bands or {}
        for column, limits in self.subgroup_bands.items():
            if column not in self.subgroup_columns or not limits:
                raise InputError(
                    "columns of data.subgroup_columns in data.subgroup_bands, each with a limit", f"{column}: {limits}",
                    "add it to both, or leave it out",
                )  # fmt: skip
        self.label_values, self.label_counts = label_values or {}, label_counts or []
        spelt: dict[str | float, int] = {}
        for word, value in self.label_values.items():
            if value not in (0, 1, -1):
                raise InputError(f"0, 1 or -1 for '{word}' in data.label_values", value, "correct the value")
            known, number = str(word).strip().casefold(), number_of(str(word).strip())
            if spelt.setdefault(known if number is None else number, value) != value:
                raise InputError("one value a word in data.label_values", f"another for '{word}'", "name it once")
        self._idle: list[str] | None = None  # words of label_values that no table has held so far
        listed = [label_list] if isinstance(label_list, LabelList) else label_list or []
        self._lists: dict[str, LabelList] = {each.column: each for each in listed}
        own = (self.image_column, *self.image_columns[1:], *filter(None, (self.group_column, split_column)))
        self._others = others = [*own, *self._lists, *self.subgroup_columns, *self.exclude_columns]
        given = Counter(label_columns or [])
        for column in given:
            if column in others or given[column] > 1:
                raise InputError(
                    "every column of data.label_columns once, and in no other role", f"'{column}'", "remove it"
                )
        if label_columns == []:
            raise InputError("at least one name in data.label_columns", "[]", "name the labels, or leave it out")
        self._train: tuple[list[str], list[str], Table] | None = None
        self._header: list[str] = []
        self._found: list[str] = []  # the classes, once the rows are split
        self._listed: dict[str, Mapping[str, str | None]] = {}  # by column, what names of the training table are
        self._exclusive: list[list[str]] = []
        self._doubts: list[Doubt] = []  # of those names
        self._parts: Mapping[str, Any] = {}
        self._index: PictureIndex | None = None

    @property
    def own_names(self) -> list[str]:
        """The label columns; read from the training table where `label_columns` was not given."""
        if self.label_columns and not self._lists:
            return self.label_columns
        return self._found or (self._alone() or self._training_table())[0]

    @property
    def exclusive_classes(self) -> list[list[str]]:
        """Those of each column with one name a cell."""
        return self._exclusive

    @property
    def masks(self) -> MaskFolder | None:
        """The folder of the masks and the bit of each label; None where there are none.

        Raises:
            InputError: If there are more than eight bits, one label has two, or the folder is not there.
        """
        if self.mask_dir is None:
            return None
        order = self.own_names if self.mask_labels is None else self.mask_labels
        if len(order) > 8 or len(set(order)) < len(order):
            raise InputError(
                "at most 8 labels, each once, one for each bit of the masks in data.mask_dir",
                ", ".join(order),
                "name the labels of the bits, from bit 0, in data.mask_labels",
            )
        bits = tuple(order.index(name) if name in order else None for name in self.own_names)
        return MaskFolder(self._folder(self.mask_dir, "mask_dir"), bits, self.missing_masks == "empty")

    def tables(self) -> Mapping[str, Table]:
        """Read all splits and check that they agree."""
        if (alone := self._alone()) is not None:
            return {"test": alone[2]}
        class_names, header, train = self._training_table()
        tables = {split: train.take(rows) for split, rows in self._parts.items()} or {"train": train}
        for name in ("val", "test"):
            if self.csv[name] is not None:
                sheet = self._sheet(name)
                if self.label_columns is None and not self._lists:
                    check_no_other_labels(sheet, class_names, [*header, *self._others])
                tables[name] = self._table(sheet, class_names)
        tables = split_off(tables, self.fractions, self.split_seed)
        self._found, self._train = class_names, None  # the splits have the rows now: no copy is kept
        if (masks := self.masks) is not None:
            for name, table in tables.items():
                _check_masks(name, table, masks)
        return tables

    def doubts(self) -> list[Doubt]:
        """Also names that are several, and where rows of two splits seem to show one patient, by `grouping`."""
        doubts = [*super().doubts(), *self._doubts]
        if self._idle:
            what = f"no cell of a label column holds what data.label_values names: {first_of(self._idle, 5)}"
            doubts.insert(0, Doubt("label values", what, "write words as the cells have them, or leave these out"))
        if self.no_groups or self._alone() is not None:
            return doubts
        sheets = (self._sheet(name) for name in self.csv if self.csv[name] is not None)
        used = (*self.own_names, *set(self._others).difference(self.exclude_columns))
        column = None if self.group_column == CASE else self.group_column
        return [*grouping_doubts(self.split_tables(), sheets, used, column, self._header), *doubts]

    def _alone(self) -> tuple[list[str], list[str], Table] | None:
        """As `_training_table`, of a test table without one; None where there is one, or no `label_space`."""
        places = (os.path.join(self.root, str(self.csv["train"])), str(self.csv["train"]))
        if not self.label_space or self.csv["test"] is None or any(map(storage.exists, places)):
            return None
        if self._train is None:
            sheet = self._sheet("test")
            known = {meaning(name) for name in (*self.label_space, *self.label_aliases)}
            names = self.label_columns or [
                name for name in sheet.header if meaning(name) in known and name not in self._others
            ]
            self._train = names, sheet.header, self._table(sheet, names)
        return self._train

    def _training_table(self) -> tuple[list[str], list[str], Table]:
        """Return the class names, the header and the rows of the training table, which is read once."""
        if self._train is None:
            sheet = self._sheet("train")
            for column in self._others:
                sheet.place(column)
            names = [*(self.label_columns or []), *self._list_classes()]
            if double := doubled(names):
                raise InputError(f"every class once in {sheet.file}", double[0], "set label_list: {prefix: true}")
            if not names:
                names, doubtful = find_label_columns(sheet, self._others, self.label_policy.blank is not None)
                log.info("labels found in %s: %s", sheet.file, ", ".join(names))
                if doubtful:
                    rank_zero_warn(
                        f"not taken as labels of {sheet.file}: {', '.join(doubtful)}; name them in label_columns "
                        "and write 0, 1 or blank if they are, in exclude_columns if they are not",
                        category=DataWarning,
                    )
            if self.split_column is not None:
                self._parts = rows_by_split(sheet, self.split_column)
            self._header = sheet.header
            self._train = names, sheet.header, self._table(sheet, names)
        return self._train

    def _sheet(self, split: str) -> Sheet:
        """Read the table of a split as one with a row for each picture and columns of 0, 1 and -1."""
        sheet = read_any(self._path(split))
        labels: Collection[str] = self.label_columns or [name for name in sheet.header if name not in self._others]
        if self.label_values:
            known = [word for word, value in self.label_values.items() if value != -1]  # nobody needs to be unsure
            idle = idle_words(sheet, {*labels, *self.label_counts}, known)
            self._idle = [word for word in idle if self._idle is None or word in self._idle]
        sheet = with_values(sheet, labels, self.label_values, self.label_counts)
        bands = {name: in_bands(sheet.column(name), limits) for name, limits in self.subgroup_bands.items()}
        sheet = sheet.with_columns(bands)
        for column, each in self._lists.items():
            if column not in self._listed:
                self._listed[column] = classes = each.classes(sheet)
                self._doubts += each.doubts(sheet, classes)
                self._exclusive += [[name for name in classes.values() if name]] if each.exclusive(sheet) else []
            sheet = sheet.with_columns(each.columns(sheet, self._listed[column]))
        if self.pair:
            return self._joined(self._with_files(sheet, *self.image_columns))
        sheet = one_row_a_picture(sheet, self.image_columns) if self.image_columns else sheet
        return self._with_files(sheet, self.image_column)

    def _joined(self, sheet: Sheet) -> Sheet:
        """Name the picture of each pair, which is written, in the first of its columns."""
        columns = [sheet.column(name) for name in self.image_columns]
        folder = self._folder(self.image_dir, "image_dir")
        names = pair_pictures(sheet, columns, self.root, folder, self.pairs, self.pair_pixels)
        return sheet.with_columns({self.image_column: names})

    def _list_classes(self) -> list[str]:
        """The classes of the columns that name the findings."""
        return [name for classes in self._listed.values() for name in dict.fromkeys(classes.values()) if name]

    def _with_files(self, sheet: Sheet, *columns: str) -> Sheet:
        """Name the file of each picture, and leave out the rows without one where that is asked for."""
        folder, gone = self._folder(self.image_dir, "image_dir"), dict[int, str]()
        for column in columns if self.find_images or self.missing_images == "skip" else ():
            names = sheet.column(column)
            if self.find_images:
                if self._index is None:
                    self._index = PictureIndex(folder)
                names = self._index.named(sheet, names)
                sheet = sheet.with_columns({column: names})
            if self.missing_images == "skip":
                rows = absent(folder, encode(names))
                gone |= {at: names[at] for at in rows if not (self.pair and is_blank(names[at]))}
        if not gone or len(gone) == len(sheet):
            return sheet
        row = min(gone)
        lost = next(filter(None, map(lost_name, gone.values())), "")
        rank_zero_warn(
            f"{len(gone)} of {len(sheet)} rows of {sheet.file} name no picture of {folder} and are left out, such as "
            f"'{gone[row]}' on line {sheet.lines[row]}; {lost or 'restore the pictures if they should be there'}",
            category=DataWarning,
        )
        return sheet.take(sorted({*range(len(sheet))} - {*gone}))

    def _table(self, sheet: Sheet, class_names: list[str]) -> Table:
        return build_table(
            sheet,
            class_names,
            sheet.cells(self.image_column),
            self.root,
            self.pairs if self.pair else self._folder(self.image_dir, "image_dir"),
            labels=self.label_policy.cells(sheet, class_names),
            groups=None if self.group_column is None else sheet.cells(self.group_column),
            subgroup_columns=self.subgroup_columns,
        )

    def _path(self, split: str) -> str:
        check_root(self.root)
        name = str(self.csv[split])
        below = os.path.join(self.root, name)
        if storage.exists(below):
            return below
        if storage.exists(name):
            return name
        raise InputError(f"data.{split}_csv at {below} or {name}", "nothing there", "correct data.root or the name")

    def _folder(self, name: str, option: str) -> str:
        check_root(self.root)
        folder = storage.normal(os.path.join(self.root, inside(name or ".", self.root, self.root, f"data.{option}")))
        if not storage.is_folder(folder):
            raise InputError(f"the folder data.{option} at {folder}", "nothing there", f"correct data.{option}")
        return folder


def _check_masks(split: str, table: Table, masks: MaskFolder) -> None:
    folder, names = masks.path, [mask_name(table.name(row)) for row in range(len(table))]
    gone = absent(folder, encode(names))
    if masks.optional and len(gone) < len(names):
        log.info("masks of %d of %d pictures in %s", len(names) - len(gone), len(names), split)
    elif gone and not (masks.optional and split != "train"):
        raise missing(
            [f"a mask at {os.path.join(folder, names[row])} ({table.where(row)})" for row in gone],
            suggestion(folder, names[gone[0]])
            or "write one mask for each picture, all 0 where there is no lesion; or, of some, set missing_masks: empty",
        )
