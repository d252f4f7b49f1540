"""ChestX-ray14: findings in chest radiographs, 14 labels mined from reports."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.pictures.masks import MaskFolder
from ibca_lightning.data.tables.paths import find_pictures
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.chest_boxes import read_boxes, write_masks
from ibca_lightning.datasets.layouts.copies import all_present
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.system.errors import InputError


class ChestXray14(OpenSplitSet):
    """ChestX-ray14 of the NIH Clinical Center.

    112,120 frontal radiographs (PNG) of 30,805 patients, 14 labels mined from reports by a program. Official split by
    patient: `train_val_list.txt` and `test_list.txt`; validation is split off from the first, by patient. A picture
    without a finding is 0 for all 14.

    Licence: no restriction on use; link to the NIH download site, cite the paper and name the NIH Clinical Center as
    the provider (Google Cloud Healthcare's page of the set). Citation: Wang et al., "ChestX-ray8: Hospital-scale Chest
    X-ray Database and Benchmarks on Weakly-Supervised Classification and Localization of Common Thorax Diseases", CVPR
    2017, arXiv 1705.02315.

    Expected tree (the archives unpack to twelve folders; all pictures in one `images/` will do)::

        root/Data_Entry_2017_v2020.csv or root/Data_Entry_2017.csv
        root/train_val_list.txt  root/test_list.txt
        root/images_001/images/*.png ... root/images_012/images/*.png   or   root/images/*.png
        root/BBox_List_2017.csv      with boxes

    A much used copy of 224 pixels is read as it is: `images-224/`, `train_val_list_NIH.txt`, `test_list_NIH.txt`,
    `BBox_List_2017_Official_NIH.csv`.

    With `boxes` there is a second test set, `boxes`: the test pictures into which radiologists drew boxes, for 8 of the
    labels (984 boxes in 880 pictures in all), with the boxes as masks, for figures of localisation. A label without a
    box counts in none of these. The masks are written once, below `boxes_dir`.

    Args:
        root: Folder of the data set.
        no_finding: Whether `No Finding` is a label too, after the others.
        val_fraction: Share of the pictures of `train_val_list.txt` that becomes validation, in (0, 1).
        subgroup_columns: Columns for figures by subgroup, such as `View Position` or `Patient Gender` (`Patient Sex` in
            some copies).
        boxes: Whether to add the test set `boxes`.
        boxes_dir: Folder for its masks; None for `root/box_masks`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    names = (
        *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax"),
        *("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"),
    )
    _folders = (
        *("images", "images-224"),
        *(f"images_{part:03d}{end}" for part in range(1, 13) for end in ("/images", "")),
    )
    _lists: Mapping[str, str] = {"train": "train_val_list.txt", "test": "test_list.txt"}
    _help = (
        "get ChestX-ray14 (NIH Clinical Center, arXiv 1705.02315) and unpack it as root/Data_Entry_2017_v2020.csv, "
        "root/train_val_list.txt, root/test_list.txt, root/images_001/images/*.png to root/images_012/images/*.png "
        "or all of them in root/images/"
    )

    def __init__(
        self,
        root: str,
        no_finding: bool = False,
        val_fraction: float = 0.1,
        subgroup_columns: list[str] | None = None,
        boxes: bool = False,
        boxes_dir: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(root, val_fraction, **common)
        self.no_finding, self.subgroup_columns, self.boxes = no_finding, subgroup_columns or [], boxes
        self.boxes_dir = os.path.join(self.root, "box_masks") if boxes_dir is None else os.fspath(boxes_dir)

    @property
    def own_names(self) -> list[str]:
        """The 14 labels in the order of the paper, and `No Finding` if asked for."""
        return [*self.names, *(["No Finding"] if self.no_finding else [])]

    @property
    def test_names(self) -> list[str]:
        """`test`, or those of marks, and `boxes` if asked for."""
        return [*super().test_names, *(["boxes"] if self.boxes else [])]

    def test_sets(self) -> Mapping[str, Dataset[Any]]:
        """Return the official test set, and those of its pictures that have boxes, with masks."""
        return {**super().test_sets(), **({"boxes": self._boxed()} if self.boxes else {})}

    def _boxed(self) -> PictureDataset:
        test = self.table("test")
        planes = read_boxes(
            self.present("BBox_List_2017.csv", "BBox_List_2017_Official_NIH.csv"),
            self.names[:8],
            {"Infiltrate": "Infiltration"},
        )
        names = [test.name(row) for row in range(len(test))]
        rows = [row for row, name in enumerate(names) if os.path.basename(name) in planes]
        if not rows:
            raise InputError("boxes of pictures of test_list.txt in BBox_List_2017.csv", "none", self._help)
        write_masks(self.boxes_dir, {names[row]: planes[os.path.basename(names[row])] for row in rows})
        # Only the first eight labels have boxes; a label space may have put them elsewhere.
        space = self.space()
        sources = range(len(self.own_names)) if space is None else space.sources
        bits = tuple(at if at is not None and at < 8 else None for at in sources)
        return PictureDataset(test.take(np.array(rows)), self.evaluation_transform(), MaskFolder(self.boxes_dir, bits))

    def official(self) -> Mapping[str, Table]:
        """Read the table and divide it by the official lists."""
        sheet = read_sheet(self.present("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv"))
        below = all_present(self.root, self._folders, self._help)
        return {split: self._table(sheet.take(rows), below) for split, rows in self._rows(sheet).items()}

    def _rows(self, sheet: Sheet) -> dict[str, list[int]]:
        names = sheet.column("Image Index")
        split_of: dict[str, str] = {}
        for split, file in self._lists.items():
            listed = read_sheet(self.present(file, file.replace(".txt", "_NIH.txt")), header=("Image Index",))
            for row, name in enumerate(listed.column("Image Index")):
                if split_of.setdefault(name, split) != split:
                    raise InputError(
                        "every picture in one list only", f"'{name}' again in {listed.where(row)}", self._help
                    )
        rows: dict[str, list[int]] = {split: [] for split in self._lists}
        for row, name in enumerate(names):
            if name not in split_of:
                raise InputError(
                    f"'{name}' ({sheet.where(row)}) in {' or '.join(self._lists.values())}", "no such line", self._help
                )
            rows[split_of[name]].append(row)
        for split, file in self._lists.items():
            if not rows[split]:
                raise InputError(f"pictures of {file} in {sheet.file}", "none", self._help)
        return rows

    def _table(self, sheet: Sheet, below: list[str]) -> Table:
        names = find_pictures(sheet, sheet.column("Image Index"), self.root, below, fix=self._help)
        labels = self.label_policy.lists(
            sheet.column("Finding Labels"),
            self.own_names,
            where=sheet.where,
            separator="|",
            none=() if self.no_finding else ("No Finding",),
        )
        return self.rows(sheet, names, labels=labels, groups=sheet.column("Patient ID"))
