"""The layout that the parts of MedFMC share: two released folders with a table each, or the challenge's list files."""

import os
from collections.abc import Mapping
from typing import Any

from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.paths import check_root, find_pictures, first_present
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.splits import GroupOverlap, split_off
from ibca_lightning.data.tables.table import Table, build_table


class MedFMC(TableDataModule):
    """Base of the data modules over a part of MedFMC; one of them sets `part`, `names` and implements `group`.

    Args:
        root: Folder of the data set.
        lists: Whether to use the list files.
        val_fraction: Share of `MedFMC_train` that becomes validation, in (0, 1); not used with `lists`.
        split_seed: Chooses the split; independent of `seed_everything`.
        group_overlap: Whether a group in two splits is an `error` or a reason to `warn`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    part: str
    lists_share_groups = False  # so that an overlap in the list files is a warning only

    def __init__(
        self,
        root: str,
        lists: bool = False,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        group_overlap: GroupOverlap = "error",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.root = os.fspath(root)
        self.lists, self.val_fraction, self.split_seed = lists, val_fraction, split_seed
        self.group_overlap = "warn" if lists and self.lists_share_groups else group_overlap

    def group(self, name: str, study: str, where: str) -> str:
        """Return the group of a picture.

        Args:
            name: Its file name.
            study: What the column `study_id` says; blank where there is none.
            where: File and line, for messages.

        Returns:
            The group.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement group")

    @property
    def _help(self) -> str:
        part = self.part
        return (
            "get MedFMC (doi 10.1038/s41597-023-02460-0) and unpack it as "
            f"root/MedFMC_{{train,val}}/{part}/images/*.png, "
            f"root/MedFMC_{{train,val}}/{part}/{part}_{{train,val}}.csv; "
            "with lists root/images/*.png, root/{train_20,val_20,test_WithLabel}.txt"
        )

    def tables(self) -> Mapping[str, Table]:
        """Read the official tables or list files; split validation off by group where there is none."""
        check_root(self.root, self._help)
        tables = self._listed() if self.lists else self._released()
        return tables

    def _released(self) -> dict[str, Table]:
        tables = {}
        for split, half in (("train", "train"), ("test", "val")):
            base, file = f"MedFMC_{half}", f"{self.part}_{half}.csv"
            folder = self._present(f"{base}/{self.part}/images", f"{base}/{self.part}/image", f"{base}/{self.part}")
            sheet = read_sheet(self._present(f"{base}/{self.part}/{file}", f"{base}/{file}"))
            tables[split] = self._table(sheet, folder)
        return split_off(tables, {"val": self.val_fraction}, self.split_seed)

    def _listed(self) -> dict[str, Table]:
        bases = ("", f"{self.part}/", f"MedFMC_train/{self.part}/")
        folder = self._present(*(f"{base}{name}" for base in bases for name in ("images", "image")))
        tables = {}
        for split, name in (("train", "train_20"), ("val", "val_20"), ("test", "test_WithLabel")):
            file = self._present(*(f"{base}{name}.txt" for base in bases))
            tables[split] = self._table(read_sheet(file, header=("img_id", *self.names)), folder)
        return tables

    def _present(self, *candidates: str) -> str:
        return first_present(self.root, candidates, self._help)

    def _table(self, sheet: Sheet, folder: str) -> Table:
        pictures = find_pictures(sheet, sheet.column("img_id"), folder)
        studies = sheet.column("study_id") if "study_id" in sheet.header else [""] * len(sheet)
        groups = [
            self.group(os.path.basename(picture), study, sheet.where(row))
            for row, (picture, study) in enumerate(zip(pictures, studies, strict=True))
        ]
        labels = self.label_policy.cells(sheet, self.names)
        return build_table(sheet, self.names, pictures, self.root, folder, labels=labels, groups=groups)
