from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.table import Table, build_table


class Findings(TableDataModule):  # root/{train,val,test}.csv with a column `findings` such as "polyp+ulcer"
    names = ["polyp", "ulcer"]

    def __init__(self, root: str, **common) -> None:
        super().__init__(**common)
        self.root = root

    def tables(self) -> dict[str, Table]:
        return {split: self.read(f"{self.root}/{split}.csv") for split in ("train", "val", "test")}

    def read(self, file: str) -> Table:
        sheet = read_sheet(file)
        found = [[str(int(name in cell.split("+"))) for name in self.names] for cell in sheet.column("findings")]
        labels = Sheet(sheet.file, self.names, found, sheet.lines)
        return build_table(labels, self.names, sheet.column("file"), self.root, self.root)
