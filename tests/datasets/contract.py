"""What every data module must do; the test class of each inherits this."""

import csv
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from ibca_lightning.data import MultiLabelDataModule
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.split_file import COLUMNS, split_rows
from ibca_lightning.data.tables.table import Table, decode
from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError


class DataModuleContract:
    """Inherit, and set or implement the following."""

    class_names: list[str]
    rows: dict[str, int]  # rows of each split; of train with what is split off from it
    has_masks = False
    has_files = True
    has_folds = True
    pictures_are_made = False  # from others, and again where one is missing
    labels_are_columns = True  # of 0 and 1; where they are texts the module's own tests have wrong ones

    def write(self, root: Path) -> None:
        """Write the fake tree."""
        raise NotImplementedError

    def module(self, root: Path, **common: Any) -> MultiLabelDataModule:
        """Return the data module over the fake tree."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("tree")
        self.write(root)
        return root

    def small(self, root: Path, **changes: Any) -> MultiLabelDataModule:
        module = self.module(root, **{"image_size": 32, "batch_size": 8, "num_workers": 0, **changes})
        module.setup()
        return module

    def loaders(self, module: MultiLabelDataModule) -> dict[str, Any]:
        tests = module.test_dataloader()
        tests = tests if isinstance(tests, list) else [tests]
        named = dict(zip(module.test_names, tests, strict=True))
        return {"train": module.train_dataloader(), "val": module.val_dataloader(), **named}

    def test_classes_and_sizes_are_known_before_setup(self, root: Path) -> None:
        module = self.module(root, image_size=48, batch_size=2, num_workers=0)
        assert module.class_names == self.class_names
        assert module.num_labels == len(self.class_names)
        assert module.image_size == 48
        assert module.test_names
        assert module.preprocessing == {"resize": "stretch"} | ({"pair": "yes"} if module.pair else {})

    def test_batches_are_what_the_contract_says(self, root: Path) -> None:
        module = self.small(root)
        count = len(self.class_names)
        for loader in self.loaders(module).values():
            batch = next(iter(loader))
            size = len(batch["id"])
            assert batch["image"].dtype == torch.uint8
            assert batch["image"].shape == (size, 3, 32, 32)
            assert batch["label"].dtype == torch.int8
            assert batch["label"].shape == (size, count)
            assert set(batch["label"].unique().tolist()) <= {-1, 0, 1}
            assert batch["index"].dtype == torch.int64
            assert all(isinstance(name, str) for name in batch["id"] + batch["group"])
            assert ("mask" in batch) == self.has_masks
            if self.has_masks:
                assert batch["mask"].dtype == torch.bool
                assert batch["mask"].shape == (size, count, 32, 32)

    def test_every_row_is_loaded_once(self, root: Path) -> None:
        module = self.small(root)
        seen = {}
        for name, loader in self.loaders(module).items():
            if name == "train":
                dataset = module.train_set()
                items = [dataset[at] for at in range(len(dataset))]  # type: ignore[arg-type]
                index, ids = [int(item["index"]) for item in items], [item["id"] for item in items]
            else:
                batches = list(loader)
                index = [at for batch in batches for at in batch["index"].tolist()]
                ids = [name for batch in batches for name in batch["id"]]
            assert index == list(range(len(index)))
            assert len(set(ids)) == len(ids)
            seen[name] = len(ids)
        for split in {"val", "test"} & seen.keys() - self.rows.keys():
            seen["train"] += seen.pop(split)
        assert seen == self.rows

    def test_ids_are_paths_below_the_picture_folder(self, root: Path) -> None:
        if not self.has_files:
            pytest.skip("made in memory")
        module = self.small(root)
        for loader in self.loaders(module).values():
            folder = Path(loader.dataset.dataset.table.folder)
            for name in next(iter(loader))["id"]:
                assert (folder / name).is_file()
                assert "\\" not in name

    def test_no_group_is_in_two_splits(self, root: Path) -> None:
        module = self.small(root)
        groups = [
            {group for batch in loader for group in batch["group"]}
            for name, loader in self.loaders(module).items()
            if name in ("train", "val") or name == module.test_names[0]
        ]
        assert Counter(group for part in groups for group in part).most_common(1)[0][1] == 1

    def test_other_classes_can_be_asked_for(self, root: Path) -> None:
        module = self.module(root)
        if not isinstance(module, TableDataModule):
            pytest.skip("no tables")
        space = ["no such class", *reversed(self.class_names)]
        other = self.module(root, label_space=space)
        assert other.class_names == space
        for split, table in module.split_tables().items():
            found = other.split_tables()[split].labels  # type: ignore[attr-defined]
            assert (found[:, 0] == -1).all()
            assert (found[:, :0:-1] == table.labels).all()

    def test_marks_can_be_drawn_on_it(self, root: Path) -> None:
        if not isinstance(self.module(root), TableDataModule):
            pytest.skip("no tables")
        if len(self.class_names) > len(KINDS):
            with pytest.raises(InputError, match="a kind of mark for each"):
                self.small(root, marks=Marks(0.5))
            return
        module, plain = self.small(root, marks=Marks(0.5)), self.small(root)
        marked, clean = (next(iter(each.val_dataloader())) for each in (module, plain))
        anywhere = marked["spurious_mask"].any(dim=1, keepdim=True).expand_as(marked["image"])
        assert marked["spurious_mask"].shape == (len(marked["id"]), len(self.class_names), 32, 32)
        assert marked["spurious_mask"].any()
        assert torch.equal(marked["image"][~anywhere], clean["image"][~anywhere])
        if "test" in module.split_tables():
            assert [*module.test_sets()][:3] == module.test_names[:3] == ["same", "independent", "reversed"]

    def tables(self, root: Path, **options: Any) -> tuple[TableDataModule, Mapping[str, Table]]:
        module = self.module(root, **options)
        if not isinstance(module, TableDataModule):
            pytest.skip("no tables")
        return module, module.split_tables()

    def test_folds_divide_training_and_validation_by_group(self, root: Path) -> None:
        _, plain = self.tables(root)
        if not self.has_folds:
            with pytest.raises(InputError, match=r"data\.fold left out"):
                self.module(root, fold=0)
            return
        folds = [self.tables(root, fold=at, folds=2)[1] for at in range(2)]
        first, second, everything = (
            {split: {table.where(row) for row in range(len(table))} for split, table in tables.items()}
            for tables in (*folds, plain)
        )
        assert first["train"] | first["val"] == everything["train"] | everything["val"]
        assert (first["train"], first["val"]) == (second["val"], second["train"])
        assert not first["train"] & first["val"]
        assert first.get("test") == second.get("test") == everything.get("test")
        for fold in folds:
            assert not set(fold["train"].groups.tolist()) & set(fold["val"].groups.tolist())
            for table in (fold["train"], fold["val"]):
                files = (Path(table.folder) / table.name(row) for row in range(len(table)))
                assert not self.has_files or all(file.is_file() for file in files)

    def damaged(self, root: Path, tmp_path: Path) -> tuple[Path, Table]:
        """A copy of the tree, and its training table."""
        copy = shutil.copytree(root, tmp_path / "copy")
        _, tables = self.tables(copy)
        if not self.has_files:
            pytest.skip("made in memory")
        return copy, tables["train"]

    def test_a_picture_that_is_gone_is_named_with_its_row(self, root: Path, tmp_path: Path) -> None:
        copy, train = self.damaged(root, tmp_path)
        if self.pictures_are_made:
            pytest.skip("made again")
        picture = Path(train.folder) / train.name(0)
        picture.unlink()
        with pytest.raises(InputError, match="nothing there") as caught:
            self.small(copy)
        assert picture.stem in caught.value.expected
        assert f"line {train.lines[0]}" in caught.value.expected

    def test_a_table_without_rows_is_named(self, root: Path, tmp_path: Path) -> None:
        copy, train = self.damaged(root, tmp_path)
        if not Path(train.file).is_file() or Path(train.file).suffix != ".csv":
            pytest.skip("not one CSV file")
        file = Path(train.file)
        file.write_text(file.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
        with pytest.raises(InputError, match="header only") as caught:
            self.small(copy)
        assert file.name in caught.value.expected

    def test_a_label_that_is_none_is_named_with_its_row(self, root: Path, tmp_path: Path) -> None:
        copy, train = self.damaged(root, tmp_path)
        if not Path(train.file).is_file() or Path(train.file).suffix != ".csv":
            pytest.skip("not one CSV file")
        with open(train.file, newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file)
        if not self.labels_are_columns:
            pytest.skip("labels are texts")
        line = int(train.lines[0])
        lines[line - 2][header.index(self.class_names[0])] = "maybe"
        with open(train.file, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *lines])
        with pytest.raises(InputError, match=f"line {line}, got 'maybe'"):
            self.small(copy)

    def test_a_group_that_a_file_cuts_in_two_is_an_error(self, root: Path, tmp_path: Path) -> None:
        _, tables = self.tables(root)
        train = tables["train"]
        names, counts = np.unique(train.groups, return_counts=True)
        if train.file != tables["val"].file or counts.max() < 2:
            pytest.skip("no group of two rows that may move")
        rows = [list(row) for row in split_rows(tables)]
        moved = next(row for row in rows if row[1] == decode(names[counts.argmax()]))
        moved[2] = "val"
        with open(tmp_path / "splits.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        with pytest.raises(InputError, match="every group in one split only") as caught:
            self.tables(root, splits=str(tmp_path / "splits.csv"))
        assert f"'{moved[1]}' in train" in caught.value.got

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_seed_repeats_a_run_exactly(self, root: Path, workers: int) -> None:
        def run(seed: int) -> list[Any]:
            torch.manual_seed(seed)
            loader = self.small(root, num_workers=workers).train_dataloader()
            return [batch for _ in range(2) for batch in loader]

        first, again, other = run(5), run(5), run(6)
        for one, two in zip(first, again, strict=True):
            assert one["id"] == two["id"]
            assert torch.equal(one["image"], two["image"])
        assert [b["id"] for b in first] != [b["id"] for b in other]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_no_epoch_repeats_an_augmentation(self, root: Path, workers: int) -> None:
        torch.manual_seed(0)
        loader = self.small(root, num_workers=workers, augment=[A.GaussNoise(p=1.0)]).train_dataloader()
        epochs = [{n: i for b in loader for n, i in zip(b["id"], b["image"], strict=True)} for _ in range(2)]
        shared = epochs[0].keys() & epochs[1].keys()
        assert shared
        assert not any(torch.equal(epochs[0][name], epochs[1][name]) for name in shared)

    def test_two_processes_train_on_the_batch_of_one_whoever_reads_it(self, root: Path) -> None:
        """The same pictures, augmented alike: neither processes nor workers count in what is drawn."""

        def pictures(ranks: int, rank: int, workers: int = 0) -> dict[str, Any]:
            size = 4 // ranks
            module = self.module(root, image_size=32, batch_size=size, num_workers=workers, augment="default")
            strategy = SimpleNamespace(broadcast=lambda seed: 7)
            trainer = SimpleNamespace(global_rank=rank, world_size=ranks, strategy=strategy)
            module.trainer = trainer  # type: ignore[assignment]
            module.setup("fit")
            torch.manual_seed(7 + rank)  # what the first process has is what counts
            batch = next(iter(module.train_dataloader()))
            return dict(zip(batch["id"], batch["image"], strict=True))

        one = pictures(1, 0)
        for other in (pictures(2, 0) | pictures(2, 1), pictures(1, 0, workers=1)):
            assert other.keys() == one.keys()
            assert all(torch.equal(other[name], image) for name, image in one.items())
