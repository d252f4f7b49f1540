import csv
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.pictures.masks import mask_name
from ibca_lightning.data.tables.groups.grouping import otherwise_written
from ibca_lightning.data.tables.table import encode, pooled
from ibca_lightning.system.errors import DataWarning, InputError
from tests.datasets import fake_csv
from tests.datasets.contract import DataModuleContract


class TestCSVDataModule(DataModuleContract):
    class_names: ClassVar = list(fake_csv.LABELS)
    rows: ClassVar = {"train": 35, "val": 10, "test": 15}
    has_masks = True

    def write(self, root: Path) -> None:
        fake_csv.write(root)

    def module(self, root: Path, **common: Any) -> CSVDataModule:
        return CSVDataModule(str(root), **SPLITS, **COLUMNS, **common)

    def test_masks_follow_their_pictures_and_ignore_further_bits(self, root: Path) -> None:
        module = self.small(root, image_size=64)
        for loader in (module.val_dataloader(), module.test_dataloader()):
            for batch in loader:
                # Squares are brighter than the noise around them, and later ones lie over earlier ones.
                inside = batch["image"][:, 0] > 140
                known = batch["label"] >= 0
                assert torch.equal(batch["mask"].flatten(2).any(-1)[known], (batch["label"] == 1)[known])
                for picture, mask in zip(inside, batch["mask"].any(1), strict=True):
                    assert (picture & mask).sum() >= 0.8 * picture.sum()

    def test_augmented_masks_follow_their_pictures(self, root: Path) -> None:
        torch.manual_seed(0)
        module = self.small(root, image_size=64)
        for batch in module.train_dataloader():
            for picture, mask in zip(batch["image"][:, 0] > 150, batch["mask"].any(1), strict=True):
                assert (picture & mask).sum() >= 0.6 * picture.sum()

    def test_labels_are_those_of_the_file(self, root: Path) -> None:
        module = self.small(root)
        with open(root / "test.csv", newline="") as file:
            for row, item in zip(csv.DictReader(file), module.test_sets()["test"], strict=True):  # type: ignore[call-overload]
                known = {"1": 1, "1.0": 1, "0": 0, "0.0": 0}
                assert item["label"].tolist() == [known.get(row[name], -1) for name in fake_csv.LABELS]
                assert (item["id"], item["group"]) == (row["image"], row["patient"])

    def test_subgroups_come_as_text_and_are_no_labels(self, root: Path) -> None:
        columns = {**COLUMNS, "subgroup_columns": ["sex", "age"]}
        module = CSVDataModule(str(root), **SPLITS, **columns, num_workers=0, image_size=16, batch_size=4)
        module.setup("test")
        assert next(iter(module.test_dataloader()))["subgroup"] == {"sex": ["M"] * 4, "age": ["29"] * 4}


SPLITS: dict[str, Any] = {"val_csv": "val.csv", "test_csv": "test.csv"}
COLUMNS: dict[str, Any] = {"group_column": "patient", "image_dir": "images", "mask_dir": "masks"}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("csv")
    fake_csv.write(root)
    return root


def test_splits_are_made_by_group_and_seed(tree: Path) -> None:
    def groups(seed: int) -> list[set[bytes]]:
        module = CSVDataModule(str(tree), "all.csv", test_fraction=0.2, split_seed=seed, **COLUMNS)
        return [set(module.table(split).groups.tolist()) for split in ("train", "val", "test")]

    train, val, test = groups(0)
    assert not (train & val) | (train & test) | (val & test)
    assert len(train | val | test) == 12
    assert [len(val), len(test)] in ([2, 2], [2, 3], [3, 2])
    assert groups(0) == [train, val, test]
    assert any(groups(seed) != [train, val, test] for seed in (1, 2, 3))


def test_without_a_test_split_only_test_is_refused(tree: Path) -> None:
    module = CSVDataModule(str(tree), "all.csv", num_workers=0, image_size=16, **COLUMNS)
    module.setup("fit")
    with pytest.raises(InputError, match=r"test split.*test_csv.*test_fraction"):
        module.setup("test")


def test_a_test_table_may_lie_outside_the_root(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes((tree / "test.csv").read_bytes())
    module = CSVDataModule(str(tree), val_csv="val.csv", test_csv=str(tmp_path / "mine.csv"), **COLUMNS)
    assert len(module.table("test")) == 15


# --- tables as text: eight pictures, one table after another -----------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for at in range(8):
        cv2.imwrite(str(root / f"{at}.png"), np.full((12, 16, 3), at, np.uint8))
    cv2.imwrite(str(root / "Größe 1.png"), np.full((12, 16, 3), 9, np.uint8))
    (root / "folder.png").mkdir()
    (root / "outside.png").symlink_to(root.parent / "elsewhere.png")
    cv2.imwrite(str(root.parent / "elsewhere.png"), np.full((12, 16, 3), 9, np.uint8))
    return root


GOOD = "image,a,b\n0.png,0,1\n1.png,1,0\n2.png,0,0\n3.png,1,1\n"


def load(root: Path, text: str | bytes, **options: Any) -> CSVDataModule:
    (root / "train.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    module = CSVDataModule(str(root), image_size=8, batch_size=2, num_workers=0, **options)
    module.setup("fit")
    exhaust(module)
    return module


def exhaust(module: CSVDataModule) -> None:
    for loader in (module.val_dataloader(), module.train_dataloader()):
        for _ in loader:
            pass


ACCEPTED = {
    "plain": (GOOD, {}),
    "byte-order mark": ("\ufeff" + GOOD, {}),
    "CRLF": (GOOD.replace("\n", "\r\n"), {}),
    "semicolons": (GOOD.replace(",", ";"), {}),
    "tabs": (GOOD.replace(",", "\t"), {}),
    "quotes": (GOOD.replace("0.png", '"0.png"'), {}),
    "blank lines": (GOOD.replace("\n", "\n\n"), {}),
    "no last line end": (GOOD.rstrip(), {}),
    "spaces": (GOOD.replace(",", " , "), {}),
    "floats": (GOOD.replace("1\n", "1.0\n").replace(",0", ",0.0"), {}),
    "pandas index": ("," + "\n5,".join(GOOD.splitlines()), {}),
    "dot": (GOOD.replace("0.png", "./0.png"), {}),
    "symbolic link inside": (GOOD.replace("0.png", "outside.png"), {}),
    "word column": ("image,a,b,note\n0.png,0,1,x\n1.png,1,0,y\n2.png,0,0,z\n3.png,1,1,\n", {}),
    "age column": ("image,a,b,age\n0.png,0,1,0\n1.png,1,0,41\n2.png,0,0,33\n3.png,1,1,1\n", {}),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_these_tables_are_read(pictures: Path, case: str) -> None:
    text, options = ACCEPTED[case]
    module = load(pictures, text, **options)
    assert module.class_names == ["a", "b"]
    train, val = module.table("train"), module.table("val")
    labels = {t.name(row): t.labels[row].tolist() for t in (train, val) for row in range(len(t))}
    first = "outside.png" if "link" in case else "0.png"
    assert labels == {first: [0, 1], "1.png": [1, 0], "2.png": [0, 0], "3.png": [1, 1]}


def test_an_absolute_path_inside_the_root_and_any_alphabet(pictures: Path) -> None:
    text = GOOD.replace("0.png", str(pictures / "0.png")).replace("1.png", "Größe 1.png")
    module = load(pictures, text)
    tables = module.table("train"), module.table("val")
    assert {t.name(row) for t in tables for row in range(len(t))} == {"0.png", "Größe 1.png", "2.png", "3.png"}


def test_unknown_labels_and_ids_with_zeros(pictures: Path) -> None:
    text = "image,a,p\n0.png,0,0012\n1.png,1,012\n2.png,,12\n3.png,NaN,12.0\n4.png,-1,1e1\n"
    module = load(pictures, text, group_column="p")
    tables = module.table("train"), module.table("val")
    rows: ClassVar = {t.groups[row].decode(): t.labels[row].tolist() for t in tables for row in range(len(t))}
    assert rows == {"0012": [0], "012": [1], "12": [-1], "12.0": [-1], "1e1": [-1]}


def test_chosen_labels_are_logged(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pictures / "train.csv").write_text(GOOD.replace("image", "image,sure").replace(".png", ".png,1"))
    with caplog.at_level(logging.INFO), pytest.warns(UserWarning, match="sure' .only one of 0 and 1"):
        assert CSVDataModule(str(pictures)).class_names == ["a", "b"]
    assert "a, b" in caplog.text


@pytest.mark.parametrize(
    "cells",
    ["TRUE FALSE TRUE FALSE", "yes No YES no", "1,0 0,0 1,00 0,0", "1 0 NULL N/A", "Positive negative <NA> None",
     "y n y n", "T f t F", "pos neg pos neg", "present absent present absent", "1.0 0.0 #N/A NA", "+1 0 1e0 0"],
)  # fmt: skip
def test_the_usual_spellings_of_a_label_are_read(pictures: Path, cells: str) -> None:
    rows = "".join(f"{at}.png;{text};{at % 2}\n" for at, text in enumerate(cells.split()))
    (pictures / "train.csv").write_text(f"image;a;b\n{rows}")
    module = CSVDataModule(str(pictures))
    assert module.class_names == ["a", "b"]
    blank = {"NULL", "N/A", "<NA>", "None", "#N/A", "NA"}
    expected = [-1 if text in blank else 1 - at % 2 for at, text in enumerate(cells.split())]
    assert pooled([module.table("train"), module.table("val")]).labels[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("cells", "named"),
    [("m f m f", r"'c' \(it holds 'm', as on line 2"),
     ("ja nein nein ja", "it holds 'ja'"), ("NULL x NA x", "it holds 'x'"), ("1 2 2 2", "it holds '2'"),
     ("0 1 7 8", "it holds '7'"), ("1,000 2,000 1,000 2,000", "it holds '1,000'"),
     ("N S N N", "it holds 'S'"), ("NULL x z z", "it holds 'x'")],
)  # fmt: skip
def test_a_column_that_may_be_a_label_is_named(pictures: Path, cells: str, named: str) -> None:
    rows = "".join(f"{at}.png;{text};{at % 2}\n" for at, text in enumerate(cells.split()))
    (pictures / "train.csv").write_text(f"image;c;b\n{rows}")
    with pytest.warns(DataWarning, match=named):
        assert CSVDataModule(str(pictures)).class_names == ["b"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CSVDataModule(str(pictures), exclude_columns=["c"]).class_names == ["b"]


def test_remarks_and_ids_are_no_doubtful_labels(pictures: Path) -> None:
    rows = "".join(f"{at}.png,{at % 2},id{at},{'' if at else 'seen'},{40 + at}\n" for at in range(4))
    (pictures / "train.csv").write_text(f"image,a,id,remark,age\n{rows}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CSVDataModule(str(pictures)).class_names == ["a"]


REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, r"train\.csv, got an empty file"),
    "blank": ("\n \n", {}, r"train\.csv, got an empty file"),
    "header only": ("image,a\n", {}, r"rows in .*train\.csv, got a header only"),
    "binary": (b"image,a\n\x00\x01", {}, r"train\.csv, got a binary file"),
    "UTF-16": (GOOD.encode("utf-16"), {}, r"got a binary file; save the table as CSV in UTF-8"),
    "Latin-1": (GOOD.replace("1.png", "größe.png").encode("latin-1"), {}, r"UTF-8.*line 3, got byte 0xf6"),
    "picture": (cv2.imencode(".png", np.zeros((3, 3)))[1].tobytes(), {}, r"got a binary file"),
    "too short": (GOOD.replace("1.png,1,0", "1.png,1"), {}, r"3 values in .*train\.csv, line 3, got 2"),
    "too long": (GOOD.replace("1.png,1,0", "1.png,1,0,1"), {}, r"3 values in .*line 3, got 4"),
    "open quote": (GOOD.replace("2.png", '"2.png'), {}, r"well-formed row in .*train\.csv, line 4"),
    "no image column": (GOOD.replace("image", "picture"), {}, r"column 'image' in .*got the columns picture, a, b"),
    "duplicate column": (GOOD.replace("a,b", "a,a"), {}, r"every column once in .*'a' twice"),
    "word": (GOOD.replace("3.png,1", "3.png,maybe"), {}, r"column 'a' of .*train\.csv, line 5, got 'maybe'.*exclude"),
    "two": (GOOD.replace("3.png,1", "3.png,2"), {}, r"column 'a' of .*line 5, got '2'"),
    "half": (GOOD.replace("3.png,1", "3.png,0.5"), {}, r"column 'a' of .*line 5, got '0\.5'"),
    "named word": (GOOD.replace("0,1", "x,1"), {"label_columns": ["a"]}, r"column 'a' of .*line 2, got 'x'"),
    "no labels": ("image,age\n0.png,7\n1.png,8\n", {}, r"at least one label column.*image, age"),
    "no such label": (GOOD, {"label_columns": ["a", "z"]}, r"label columns a, z in .*got no column z"),
    "no such group": (GOOD, {"group_column": "p"}, r"column 'p' in .*train\.csv"),
    "no such exclusion": (GOOD, {"exclude_columns": ["sexx"]}, r"column 'sexx' in .*train\.csv"),
    "blank group": ("image,a,p\n0.png,0,x\n1.png,1,\n", {"group_column": "p"}, r"group in .*line 3, got a blank"),
    "a group that is none": ("image,a,p\n0.png,0,x\n1.png,1,NaN\n", {"group_column": "p"}, r"line 3, got 'NaN'"),
    "a group of nobody": ("image,a,p\n0.png,0,x\n1.png,1,Unknown\n", {"group_column": "p"}, r"line 3, got 'Unknown'"),
    "case of the extension": (GOOD.replace("1.png", "1.PNG"), {}, r"line 3\), got nothing there; write '1\.png'"),
    "backslash": (GOOD.replace("1.png", "x\\1.png"), {}, r"line 3\), got nothing there; write '1\.png'"),
    "drive": (GOOD.replace("1.png", "C:\\data\\1.png"), {}, r"line 3\), got nothing there; write '1\.png'"),
    "another extension": (GOOD.replace("1.png", "1.jpg"), {}, r"there is 1\.png: correct the extension"),
    "blank picture": (GOOD.replace("1.png", ""), {}, r"picture in .*line 3, got a blank"),
    "missing picture": (GOOD.replace("1.png", "9.png"), {}, r"9\.png \(.*train\.csv, line 3\), got nothing there"),
    "no extension": (GOOD.replace("1.png", "1"), {}, r"line 3\), got nothing there; write the extension, as in 1\.png"),
    "a folder": (GOOD.replace("1.png", "folder.png"), {}, r"folder\.png \(.*line 3\), got nothing"),
    "twice": (GOOD.replace("2.png", "./0.png"), {}, r"picture once in .*'0\.png' on lines 2 and 4"),
    "up": (GOOD.replace("1.png", "../elsewhere.png"), {}, r"line 3, got '\.\./elsewhere\.png'; .*without '\.\.'"),
    "up inside": (GOOD.replace("1.png", "x/../1.png"), {}, r"line 3, got 'x/\.\./1\.png'"),
    "absolute": (GOOD.replace("1.png", "/etc/hosts"), {}, r"inside .* line 3, got '/etc/hosts'"),
    "image_dir up": (GOOD, {"image_dir": "../x"}, r"data\.image_dir, got '\.\./x'"),
    "no image_dir": (GOOD, {"image_dir": "nope"}, r"data\.image_dir at .*nope, got nothing there"),
    "no mask": (GOOD, {"mask_dir": "folder.png"}, r"mask at .*0\.png \(.*line 2\), got nothing there"),
    "one group": ("image,a,p\n0.png,0,x\n1.png,1,x\n", {"group_column": "p"}, r"at least 2 groups.*got 1"),
    "fraction": (GOOD, {"val_fraction": 0.0}, r"data\.val_fraction above 0 and below 1, got 0\.0"),
    "fractions": (GOOD, {"val_fraction": 0.6, "test_fraction": 0.5}, r"leave something to train on"),
    "halves": (GOOD, {"val_fraction": 0.5, "test_fraction": 0.5}, r"leave something to train on"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_these_tables_are_refused_in_one_line(pictures: Path, case: str) -> None:
    text, options, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        load(pictures, text, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size of 1 or more, got 0"),
        ({"batch_size": 2.5}, r"data\.batch_size of 1 or more, got 2\.5"),
        ({"image_size": 0}, r"data\.image_size of 1 or more"),
        ({"num_workers": -1}, r"data\.num_workers of 0 or more"),
        ({"augment": "strong"}, r"data\.augment.*'strong'"),
        ({"resize": "crop"}, r"data\.resize"),
        ({"group_overlap": "ignore"}, r"data\.group_overlap"),
        ({"label_columns": "a"}, r"data\.label_columns as a list"),
        ({"label_columns": []}, r"at least one name in data\.label_columns"),
        ({"label_columns": ["a", "a"]}, r"'a'"),
        ({"label_columns": ["a"], "exclude_columns": ["a"]}, r"in no other role"),
    ],
)
def test_arguments_are_checked_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CSVDataModule("nowhere", **options)


def test_a_missing_root_or_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root\) at .*none, got nothing there"):
        CSVDataModule(str(tmp_path / "none")).setup()
    with pytest.raises(InputError, match=r"data\.train_csv at .*train\.csv"):
        CSVDataModule(str(tmp_path)).setup()


VAL_REFUSED = {
    "fewer labels": ("image,a\n4.png,1\n", {}, r"label columns a, b in .*val\.csv, got no column b"),
    "more labels": (GOOD.replace("b\n", "c\n").replace("image,a", "image,b,a").replace(".png", "9.png,0"), {}, "'c'"),
    "same picture": (
        "image,a,b\n4.png,1,0\n3.png,1,1\n",
        {},
        r"'3\.png' in train \(.*line 5\) and in val \(.*line 3\)",
    ),
    "no group": ("image,a,b\n4.png,1,0\n", {"group_column": "p"}, r"column 'p' in .*val\.csv"),
}


@pytest.mark.parametrize("case", VAL_REFUSED)
def test_splits_must_agree(pictures: Path, case: str) -> None:
    text, options, message = VAL_REFUSED[case]
    (pictures / "val.csv").write_text(text)
    train = GOOD if not options else "image,a,b,p\n0.png,0,1,x\n1.png,1,0,y\n"
    with pytest.raises(InputError, match=message):
        load(pictures, train, val_csv="val.csv", **options)


def test_a_group_in_two_splits_is_an_error_or_a_warning(pictures: Path) -> None:
    train = "image,a,p\n0.png,0,x\n1.png,1,y\n"
    (pictures / "val.csv").write_text("image,a,p\n2.png,0,z\n3.png,1,y\n")
    message = r"group in one split only, got 'y' in train \(.*train\.csv, line 3\) and in val \(.*val\.csv, line 3\)"
    with pytest.raises(InputError, match=message):
        load(pictures, train, val_csv="val.csv", group_column="p")
    with pytest.warns(UserWarning, match=message):
        load(pictures, train, val_csv="val.csv", group_column="p", group_overlap="warn")


def broken(kind: str) -> bytes:
    whole = cv2.imencode(".jpg" if kind == "jpg" else ".png", np.random.default_rng(0).integers(0, 255, (40, 40, 3)))[1]
    return {"zero": b"", "text": b"no picture"}.get(kind, whole.tobytes()[: len(whole) * 2 // 3])


@pytest.mark.parametrize("kind", ["zero", "text", "jpg", "png"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_with_its_row_from_any_process(tmp_path: Path, kind: str, workers: int) -> None:
    for at in range(6):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((12, 16, 3), at, np.uint8))
    (tmp_path / "4.png").write_bytes(broken(kind))
    (tmp_path / "train.csv").write_text("image,a\n" + "".join(f"{at}.png,{at % 2}\n" for at in range(6)))
    module = CSVDataModule(str(tmp_path), image_size=8, batch_size=1, num_workers=workers)
    module.setup("fit")
    with pytest.raises(InputError, match=r"4\.png \(.*train\.csv, line 6\)"):
        exhaust(module)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((12, 16, 3), np.uint8), r"one 8-bit channel .*line \d\), got 3 channels of uint8"),
        (np.zeros((12, 16), np.uint16), r"got 1 channels of uint16"),
        (np.zeros((16, 12), np.uint8), r"proportions of its picture .*\d\.png \(.*line \d\)"),
    ],
)
def test_a_wrong_mask_is_named(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    (tmp_path / "m").mkdir()
    for at in range(2):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.zeros((12, 16, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "m" / f"{at}.png"), mask)
    (tmp_path / "train.csv").write_text("image,a\n0.png,0\n1.png,1\n")
    module = CSVDataModule(str(tmp_path), mask_dir="m", image_size=8, num_workers=0)
    module.setup("fit")
    with pytest.raises(InputError, match=message):
        exhaust(module)


def test_bits_can_be_named_where_labels_are_chosen(tree: Path) -> None:
    def masks(**options: Any) -> torch.Tensor:
        columns = {**COLUMNS, **options}
        module = CSVDataModule(str(tree), **SPLITS, **columns, image_size=32, num_workers=0)
        return torch.stack([item["mask"] for item in module.val_set()])  # type: ignore[attr-defined]

    whole = masks()
    assert whole[:, 2].any()
    chosen = masks(label_columns=["C", "A"], mask_labels=["A", "B", "C"])
    assert torch.equal(chosen, whole[:, [2, 0]])
    partly = masks(mask_labels=["C"])
    assert torch.equal(partly[:, 2], whole[:, 0])
    assert not partly[:, :2].any()


def test_some_pictures_may_be_without_a_mask(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, root := tmp_path / "tree")
    masks = sorted((root / "masks").rglob("*.png"))
    options = {**SPLITS, **COLUMNS, "image_size": 32, "num_workers": 0, "augment": "none"}
    whole = {item["id"]: item for item in CSVDataModule(str(root), **options).train_set()}  # type: ignore[attr-defined]
    for mask in masks[::2]:
        mask.unlink()
    with pytest.raises(InputError, match=r"a mask at .* missing_masks: empty"):
        CSVDataModule(str(root), **options).train_set()
    for cache in ("none", "memory"):
        module = CSVDataModule(str(root), **options, missing_masks="empty", cache=cache)  # type: ignore[arg-type]
        for item in (*module.train_set(), *module.val_set()):  # type: ignore[attr-defined]
            kept = (root / "masks" / mask_name(item["id"])).exists()
            if (was := whole.get(item["id"])) is not None:
                assert torch.equal(item["image"], was["image"])
                assert torch.equal(item["mask"], was["mask"] if kept else torch.zeros_like(was["mask"]))
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    with pytest.raises(InputError, match="a mask at"):
        CSVDataModule(str(root), **options, missing_masks="empty").train_set()


def test_nine_labels_do_not_fit_a_mask(pictures: Path) -> None:
    names = [f"l{at}" for at in range(9)]
    text = "image," + ",".join(names) + "\n0.png" + ",0" * 9 + "\n1.png" + ",1" * 9 + "\n"
    with pytest.raises(InputError, match=r"at most 8 labels.*l7, l8"):
        load(pictures, text, mask_dir=".")


def test_the_last_training_batch_is_dropped_only_beside_a_full_one(pictures: Path) -> None:
    (pictures / "train.csv").write_text("image,a\n" + "".join(f"{at}.png,{at % 2}\n" for at in range(8)))
    sizes = {}
    for batch_size in (2, 4, 6, 16):
        module = CSVDataModule(str(pictures), image_size=8, batch_size=batch_size, num_workers=0, val_fraction=0.4)
        module.setup("fit")
        assert len(module.table("train")) == 5
        sizes[batch_size] = [len(batch["id"]) for batch in module.train_dataloader()]
    assert sizes == {2: [2, 2], 4: [4], 6: [5], 16: [5]}


def test_one_patient_in_two_spellings_is_told_of(pictures: Path) -> None:
    (pictures / "train.csv").write_text("image,a,p\n0.png,0,3.0\n1.png,1,PT4\n")
    (pictures / "val.csv").write_text("image,a,p\n2.png,0,3\n3.png,1,5\n")
    module = CSVDataModule(str(pictures), val_csv="val.csv", group_column="p")
    with pytest.warns(DataWarning, match=r"written otherwise: '3\.0' in train .*line 2\) and '3' in val .*line 2\)"):
        module.split_tables()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("0003", "3", True), ("PT-3", "pt 03", True), ("3,0", "3", True), ("'0003", "3", True), ("#3", "3.", True),
     ("PT3\u200b", "ＰＴ3", True), ("a\u0308", "ä", True), ("00", "0", True), ("patient_12", "Patient12", True),
     ("1-2", "12", False), ("1. 12. 2020", "11. 2. 2020", False), ("1, 12", "1,12", True),
     ("10", "1.0", False), ("P3", "3", False), ("3.10", "3.1", False)],
)  # fmt: skip
def test_spellings_of_one_patient(one: str, other: str, same: bool) -> None:
    assert bool(otherwise_written(encode([one]), encode([other]))) == same


def test_a_name_in_the_other_form_of_unicode_is_suggested(pictures: Path) -> None:
    (pictures / "e\u0301.png").write_bytes((pictures / "0.png").read_bytes())
    (pictures / "train.csv").write_text("image,a\n\u00e9.png,0\n1.png,1\n")
    if not (pictures / "\u00e9.png").exists():  # some file systems see no difference
        with pytest.raises(InputError, match=r"write .*\.png. \(in the other form of Unicode\)"):
            CSVDataModule(str(pictures)).split_tables()


def test_one_bit_depth_is_found_for_a_data_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for at, most in enumerate((3800, 4095, 900, 4000)):
        cv2.imwrite(str(tmp_path / f"{at}.png"), np.full((8, 8), most, np.uint16))
    (tmp_path / "train.csv").write_text("image,a\n0.png,0\n1.png,1\n2.png,0\n3.png,1\n")
    (tmp_path / "test.csv").write_text("image,a\n2.png,0\n")
    options = {"val_csv": "train.csv", "group_overlap": "warn", "augment": "none", "image_size": 8}
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = CSVDataModule(str(tmp_path), test_csv="test.csv", **options)
        assert module.preprocessing == {"resize": "stretch"}
        module.setup()
        assert module.preprocessing == {"resize": "stretch", "bit_depth": "12"}
        assert "bit depth of the pictures" in caplog.text
        assert [int(item["image"].max()) for item in (module._set("val")[2], module._set("test")[0])] == [56, 56]
        each = CSVDataModule(str(tmp_path), bit_depth="each", **options)
        each.setup("fit")
        assert each.preprocessing == {"resize": "stretch"}
        assert int(each._set("val")[2]["image"].max()) == 225
        assert CSVDataModule(str(tmp_path), bit_depth=14, **options).preprocessing["bit_depth"] == "14"
    with pytest.raises(InputError, match=r"data\.bit_depth: each, 8, 10, 12, 14 or 16, got 9"):
        CSVDataModule(str(tmp_path), bit_depth=9)


def test_pictures_of_8_bits_have_no_depth_and_tell_it_by_their_header(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "train.csv").write_text(GOOD)
    monkeypatch.setattr("ibca_lightning.data.pictures.reading.read_bytes", None)
    module = CSVDataModule(str(pictures))
    module.find_bit_depth()
    assert (module.bit_depth, module.preprocessing) == ("each", {"resize": "stretch"})


def test_a_test_table_alone_has_the_classes_of_the_label_space(pictures: Path) -> None:
    (pictures / "test.csv").write_text("image,B,site,a\n0.png,1,x,0\n1.png,0,y,0\n")
    module = CSVDataModule(str(pictures), train_csv="no.csv", test_csv="test.csv", label_space=["a", "b", "c"])
    module.setup("test")
    assert module.class_names == ["a", "b", "c"]
    assert module.table("test").labels.tolist() == [[0, 1, -1], [0, 0, -1]]
    assert module.preprocessing == {"resize": "stretch"}
    with pytest.raises(InputError, match="a train split, got none"):
        module.setup("fit")
    with pytest.raises(InputError, match=r"data\.train_csv"):
        CSVDataModule(str(pictures), train_csv="no.csv", test_csv="test.csv").setup("test")
