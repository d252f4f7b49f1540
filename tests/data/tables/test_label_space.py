"""Classes of one data set among those of another."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, MultiLabelDataModule, MuReD
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.tables.label_space import SAME, intersection, match, meaning, plain, read_label_space, union
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, rows, written
from tests.training import checkpoint

CHESTXRAY14 = [
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
]  # fmt: skip
CHEXPERT = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
]  # fmt: skip


def test_chestxray14_on_chexpert() -> None:
    space = match(CHESTXRAY14, CHEXPERT)
    pairs = {n: CHEXPERT[s] for n, s in zip(space.names, space.sources, strict=True) if s is not None}
    assert pairs == {
        "Atelectasis": "Atelectasis", "Cardiomegaly": "Cardiomegaly", "Effusion": "Pleural Effusion",
        "Pneumonia": "Pneumonia", "Pneumothorax": "Pneumothorax", "Consolidation": "Consolidation", "Edema": "Edema",
    }  # fmt: skip
    own = np.arange(28).reshape(2, 14).astype(np.int8) % 2
    labels = space.labels(own)
    assert labels.shape == (2, 14)
    assert (labels[:, CHESTXRAY14.index("Mass")] == -1).all()
    assert (labels[:, 2] == own[:, 10]).all()
    line = space.summary(CHEXPERT)
    assert "\n" not in line
    assert line.startswith(
        "label space: 7 of 14 classes are in the data; under another name: Effusion = Pleural Effusion;"
    )
    assert "unknown: Infiltration, Mass" in line
    assert "of the data not used: No Finding," in line


def test_a_summary_says_what_there_is_to_say() -> None:
    assert match(["A"], ["A"]).summary(["A"]) == "label space: 1 of 1 classes are in the data"
    assert match(["A", "DR", "B"], ["diabetic retinopathy", "A", "C", "D"]).summary(
        ["diabetic retinopathy", "A", "C", "D"]
    ) == (
        "label space: 2 of 3 classes are in the data; under another name: DR = diabetic retinopathy; unknown: B; "
        "of the data not used: C, D"
    )


def test_union_and_intersection_keep_the_first_sets_names() -> None:
    both = union([CHESTXRAY14, CHEXPERT])
    assert both[:14] == CHESTXRAY14
    assert len(both) == 14 + 14 - 7
    assert "Pleural Effusion" not in both
    shared = intersection([CHESTXRAY14, CHEXPERT])
    assert shared == ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax", "Consolidation", "Edema"]
    with pytest.raises(InputError, match="a class that all data sets have"):
        intersection([["a"], ["b"]])


def test_names_win_in_the_order_alias_exact_plain_meaning() -> None:
    assert match(["Edema", "edema"], ["edema", "Edema"]).sources == (1, 0)
    assert match(["pleural thickening"], ["Pleural_Thickening"]).sources == (0,)
    assert match(["Effusion", "Pleural Effusion"], ["Pleural Effusion"]).sources == (None, 0)
    assert match(["Nodule", "Mass"], ["Nodule/Mass", "nodule"], {"Nodule/Mass": "Nodule"}).sources == (0, None)
    assert match(["Edema"], ["EDEMA", "lung edema"]).sources == (0,), "the same name before the same meaning"
    assert match(["A", "B"], ["B"], {"B": "A"}).sources == (0, None), "what an alias takes is no longer there"
    assert match(["DR", "ARMD"], ["age-related macular degeneration", "Diabetic Retinopathy"]).sources == (1, 0)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(InputError, match=r"a class of the label space \(a, b\) among those of the data, got c"):
        match(["a", "b"], ["c"])
    with pytest.raises(InputError, match=r"one class of the data for 'Effusion', got .* 'pleural effusion: Effusion'"):
        match(["Effusion"], ["pleural effusion", "Pleural_Effusion"])
    with pytest.raises(InputError, match="no class 'x' in the data"):
        match(["a"], ["a"], {"x": "a"})
    with pytest.raises(InputError, match="no class 'y' in the label space"):
        match(["a"], ["a"], {"a": "y"})


def test_no_name_of_the_table_has_two_meanings() -> None:
    names = [name for same in SAME for name in same]
    assert len(set(names)) == len(names)
    assert all(plain(name) == name for name in names)
    # The codes of MuReD are no two names of one finding.
    assert len({meaning(name) for name in MuReD.names}) == len(MuReD.names)


def test_a_class_of_the_rest_is_told_of_where_the_other_classes_differ() -> None:
    said = "not the same findings in both, as the other classes differ: OTHER"
    assert said in match(["DR", "OTHER"], ["DR", "MH", "OTHER"]).summary(["DR", "MH", "OTHER"])
    assert said not in match(["DR", "OTHER"], ["OTHER", "DR"]).summary(["OTHER", "DR"])
    assert said not in match(["DR", "OTHER"], ["DR", "MH"]).summary(["DR", "MH"])


def test_a_label_space_is_read_from_names_a_file_or_a_model(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Mass\n\n Nodule \n")
    assert read_label_space(str(tmp_path / "names.txt")) == ["Mass", "Nodule"]
    assert read_label_space(str(checkpoint(tmp_path / "best.ckpt", 0, ["A", "B", "C"]))) == ["A", "B", "C"]
    assert read_label_space(["x"]) == ["x"]
    assert read_label_space(None) is None
    (tmp_path / "junk.ckpt").write_text("x")
    for space, message in (
        ([], "each once, got none;"), (["a", "a"], "'a' twice"), ("nowhere.txt", "no file at nowhere.txt"),
        (str(tmp_path / "junk.ckpt"), "junk.ckpt to be a checkpoint of tensors"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            read_label_space(space)


def module(tree: Path, **options: Any) -> CSVDataModule:
    given = {"image_size": 32, "batch_size": 4, "num_workers": 0, "val_csv": "val.csv", "mask_dir": "masks"}
    return CSVDataModule(str(tree), image_dir="images", group_column="patient", exclude_columns=["sex", "age"],
                         **(given | options))  # fmt: skip


def test_labels_and_masks_of_every_split_are_in_the_order_of_the_space(tree: Path) -> None:
    own = module(tree)
    other = module(tree, label_space=["Z", "C", "A"])
    assert (other.class_names, other.num_labels) == (["Z", "C", "A"], 3)
    for split in ("train", "val"):
        expected = own.table(split).labels
        found = other.table(split).labels
        assert (found[:, 0] == -1).all()
        assert np.array_equal(found[:, 1:], expected[:, [2, 0]])
    one, two = own.val_set()[3], other.val_set()[3]
    assert one["mask"].any()
    assert not two["mask"][0].any()
    assert (two["mask"][1:] == one["mask"][[2, 0]]).all()


def test_a_class_that_reads_names_in_another_way_is_told_what_to_do(tree: Path) -> None:
    class Own(TableDataModule):
        class_names = ("a",)  # type: ignore[assignment]

    assert isinstance(Own(), MultiLabelDataModule)
    with pytest.raises(InputError, match="Own with `names` or `own_names`"):
        Own(label_space=["a"])


def test_a_checkpoint_is_tested_on_data_with_other_classes(run: Path, tree: Path, here: Path) -> None:
    """The figures of the classes that both have are those of the data under their own names."""
    for split in ("train", "val", "test"):
        data = rows(tree / f"{split}.csv")
        with (here / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            header = ["image", "patient", "sex", "age", "c", "other", "Finding_A"]
            picked = [[row[n] for n in ("image", "patient", "sex", "age", "C", "B", "A")] for row in data]
            csv.writer(file).writerows([header, *picked])
    csvs = {f"{split}_csv": str(here / f"{split}.csv") for split in ("train", "val", "test")}
    config = written(here / "other.yaml", experiment(tree, **csvs))
    checkpoint = run / "checkpoints/best.ckpt"
    command = ("test", "--config", config, "--ckpt_path", checkpoint, "--run_dir", "tested")
    refused = ibca(*command)
    assert refused.code == 2
    assert "--data.label_space CKPT" in refused.errors[0]
    aliased = (*command, "--data.label_space", checkpoint, "--data.label_aliases", json.dumps({"Finding_A": "A"}))
    assert "2 of 3 classes are in the data; under another name: A = Finding_A, C = c; unknown: B; of the data not " \
        "used: other" in done(*aliased).err  # fmt: skip
    mine, theirs = (json.loads((folder / "test_metrics.json").read_text()) for folder in (Path("tested"), run))
    assert mine["per_class"]["A"] == theirs["per_class"]["A"]
    assert mine["per_class"]["C"] == theirs["per_class"]["C"]
    assert mine["per_class"]["B"]["AP"] is None
