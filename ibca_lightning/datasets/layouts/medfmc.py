"""The layout that the parts of MedFMC share: two released folders with a table each, or the challenge's list files."""

import os
from collections.abc import Mapping
from typing import Any

from ibca_lightning.data.tables.paths import find_pictures
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.splits import GroupOverlap
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.released import OpenSplitSet


class MedFMC(OpenSplitSet):
    """Base of the data modules over a part of MedFMC; one of them sets `part`, `names` and implements `group`.

    Args:
        root: Folder of the data set.
        lists: Whether to use the list files.
        group_overlap: Whether a group in two splits is an `error` or a reason to `warn`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    part: str
    lists_share_groups = False  # so that an overlap in the list files is a warning only

    def __init__(self, root: str, lists: bool = False, group_overlap: GroupOverlap = "error", **common: Any) -> None:
        super().__init__(root, **common)
        self._help = (
            "get MedFMC (doi 10.1038/s41597-023-02460-0) and unpack it as "
            f"root/MedFMC_{{train,val}}/{self.part}/images/*.png, "
            f"root/MedFMC_{{train,val}}/{self.part}/{self.part}_{{train,val}}.csv; "
            "with lists root/images/*.png, root/{train_20,val_20,test_WithLabel}.txt"
        )
        self.lists = lists
        self.group_overlap = "warn" if lists and self.lists_share_groups else group_overlap

    def group(self, name: str, study: str, where: str) -> str:
        """Return the group of a picture: of its file name, what `study_id` says (or blank), and file and line."""
        raise NotImplementedError(f"{type(self).__name__} must implement group")

    def official(self) -> Mapping[str, Table]:
        """Read the released tables, or the list files."""
        return self._listed() if self.lists else self._released()

    def _released(self) -> dict[str, Table]:
        tables = {}
        for split, half in (("train", "train"), ("test", "val")):
            base, file = f"MedFMC_{half}", f"{self.part}_{half}.csv"
            folder = self.present(f"{base}/{self.part}/images", f"{base}/{self.part}/image", f"{base}/{self.part}")
            sheet = read_sheet(self.present(f"{base}/{self.part}/{file}", f"{base}/{file}"))
            tables[split] = self._table(sheet, folder)
        return tables

    def _listed(self) -> dict[str, Table]:
        bases = ("", f"{self.part}/", f"MedFMC_train/{self.part}/")
        folder = self.present(*(f"{base}{name}" for base in bases for name in ("images", "image")))
        tables = {}
        for split, name in (("train", "train_20"), ("val", "val_20"), ("test", "test_WithLabel")):
            file = self.present(*(f"{base}{name}.txt" for base in bases))
            tables[split] = self._table(read_sheet(file, header=("img_id", *self.names)), folder)
        return tables

    def _table(self, sheet: Sheet, folder: str) -> Table:
        pictures = find_pictures(sheet, sheet.column("img_id"), folder)
        studies = sheet.column("study_id") if "study_id" in sheet.header else [""] * len(sheet)
        groups = [
            self.group(os.path.basename(picture), study, sheet.where(row))
            for row, (picture, study) in enumerate(zip(pictures, studies, strict=True))
        ]
        return self.rows(sheet, pictures, folder, groups=groups)
