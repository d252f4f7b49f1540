"""Maps come back as they were made: every row, view, label and mask, by fold and share, and not by another backbone."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule, FrozenMaps
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.data.run_split import RunSplit
from ibca_lightning.data.tables.split_file import write_splits
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.system.errors import InputError
from tests import stored_maps
from tests.command_line import ibca

HALF = {"rtol": 1e-3, "atol": 1e-6}  # of float16: 11 bits


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pictures' folder and the maps' folder."""
    folder = tmp_path_factory.mktemp("stored")
    _, maps = stored_maps.write(folder)
    return folder / "pictures", maps


@pytest.fixture
def maps(stored: tuple[Path, Path]) -> Path:
    return stored[1]


def pictures(root: Path) -> CSVDataModule:
    config = stored_maps.configuration(root)["data"]["init_args"]
    module = CSVDataModule(**(config | {"augment": "none"}))
    module.setup()
    return module


def ready(root: Path, **options: Any) -> FrozenMaps:
    module = FrozenMaps(str(root), **({"batch_size": 5} | options))
    module.setup()
    return module


def items(dataset: Any) -> list[dict[str, Any]]:
    return [dataset[at] for at in range(len(dataset))]


def backbone_of() -> MultiLabelModule:
    """The model whose maps are stored: the command seeds with 0 before it builds it."""
    torch.manual_seed(0)
    options = {"pretrained": False, "feature_stride": stored_maps.STRIDE, "freeze_backbone": True}
    return MultiLabelModule(1, ["a"], stored_maps.SIZE, "test_resnet", **options).eval()  # type: ignore[arg-type]


def test_the_split_of_a_fold_is_told(maps: Path) -> None:
    module = ready(maps, fold=1)
    tables = module.split_files()[""]
    assert list(tables) == ["train", "val", "test"]
    sets = {"train": module.train_set(), "val": module.val_set(), "test": module.test_sets()["test"]}
    for split, table in tables.items():
        told = [(table.name(row), bytes(table.groups[row]).decode()) for row in range(len(table))]
        assert told == [(item["id"], item["group"]) for item in items(sets[split])]


def test_maps_are_no_validation_of_a_run_that_trained_on_their_pictures(maps: Path, tmp_path: Path) -> None:
    write_splits(tmp_path / "splits.csv", FrozenMaps(str(maps), fold=0).split_files()[""])
    module = FrozenMaps(str(maps), fold=1)
    module.run_split = RunSplit(str(tmp_path), ("val",), "keep")
    with pytest.raises(InputError, match="val pictures that the model has not seen"):
        module.setup("validate")
    module.fold = 0
    module._chosen = None
    module.setup("validate")


def test_everything_but_the_picture_is_that_of_the_pictures(stored: tuple[Path, Path]) -> None:
    ours, theirs = ready(stored[1], augment="none"), pictures(stored[0])
    assert (ours.class_names, ours.image_size, ours.preprocessing, ours.test_names) == (
        theirs.class_names, theirs.image_size, theirs.preprocessing, theirs.test_names,
    )  # fmt: skip
    for name in ("train", "val", "test"):
        left, right = items(ours._set(name)), items(theirs._set(name))
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert {key: a[key] for key in ("id", "group")} == {key: b[key] for key in ("id", "group")}
            assert torch.equal(a["label"], b["label"])
            assert torch.equal(a["index"], b["index"])
            assert ("mask" in a) == (name != "train"), "training needs none"
            assert name == "train" or torch.equal(a["mask"], b["mask"])
            assert "image" not in a


def test_the_tables_say_of_maps_what_they_say_of_pictures(stored: tuple[Path, Path]) -> None:
    said = ready(stored[1]).doubts()
    assert "few positives" in [doubt.kind for doubt in said]
    assert said == pictures(stored[0]).doubts()


def test_each_view_is_the_backbone_on_the_turned_picture(stored: tuple[Path, Path]) -> None:
    model, split = backbone_of(), ready(stored[1])._split("train")
    for row, item in enumerate(items(pictures(stored[0])._set("train"))[:3]):
        for view in range(8):
            with torch.no_grad():
                expected = model.stages(turned(item["image"], view)[None])
            for ours, theirs in zip(split.maps(row, view), expected, strict=True):
                torch.testing.assert_close(torch.from_numpy(ours).float(), theirs[0], **HALF)
                if view:
                    as_it_is = torch.from_numpy(split.maps(row, 0)[0])
                    assert not torch.allclose(torch.from_numpy(split.maps(row, view)[0]), as_it_is)


def test_a_batch_is_what_the_contract_says(maps: Path) -> None:
    module = ready(maps)
    for loader, masks in ((module.train_dataloader(), False), (module.val_dataloader(), True)):
        batch = next(iter(loader))
        assert [(x.dtype, x.shape) for x in batch["features"]] == [
            (torch.float16, (5, *stage)) for stage in module.record.stages
        ]
        assert (batch["label"].dtype, batch["label"].shape) == (torch.int8, (5, 4))
        assert (batch["index"].dtype, type(batch["id"][0]), type(batch["group"][0])) == (torch.int64, str, str)
        assert ("mask" in batch) == masks
        assert not masks or (batch["mask"].dtype, batch["mask"].shape) == (torch.bool, (5, 4, 64, 64))
    assert "mask" not in next(iter(ready(maps, val_masks=False).val_dataloader()))
    assert "mask" in next(iter(ready(maps, val_masks=False).test_dataloader()))


def drawn(maps: Path, seed: int, workers: int = 0, epochs: int = 1) -> dict[tuple[int, str], int]:
    """The view that each training picture was given, by epoch and id."""
    module = FrozenMaps(str(maps), batch_size=5, num_workers=workers)
    module.setup("fit")
    split, names = module._split("train"), [name.decode() for name in module._split("train").table.names]
    torch.manual_seed(seed)
    loader, views = module.train_dataloader(), {}
    for epoch in range(epochs):
        for batch in loader:
            for name, features in zip(batch["id"], batch["features"][0], strict=True):
                row = names.index(name)
                found = [torch.equal(features, torch.from_numpy(split.maps(row, view)[0])) for view in range(8)]
                assert sum(found) == 1
                views[epoch, name] = found.index(True)
    return views


@pytest.mark.parametrize("workers", [0, 2])
def test_training_draws_all_views_anew_each_epoch_and_a_seed_repeats_them(maps: Path, workers: int) -> None:
    views = drawn(maps, 0, workers=workers, epochs=3)
    assert set(views.values()) == set(range(8))
    epochs = [{name: view for (at, name), view in views.items() if at == epoch} for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert drawn(maps, 0, workers=workers, epochs=3) == views
    assert drawn(maps, 1, workers=workers, epochs=3) != views


def test_folds_go_through_the_photographs_of_train_and_val(maps: Path) -> None:
    modules = [ready(maps, fold=fold, folds=4) for fold in range(4)]
    parts = [[{item["group"] for item in items(module._set(name))} for name in ("train", "val")] for module in modules]
    stored = [{item["group"] for item in items(ready(maps)._set(name))} for name in ("train", "val")]
    assert all(train | val == stored[0] | stored[1] and not train & val for train, val in parts)
    validated = [group for _, val in parts for group in val]
    assert sorted(validated) == sorted(stored[0] | stored[1]), "every group once"
    for module in modules:
        for name in ("train", "val"):
            assert [int(item["index"]) for item in items(module._set(name))] == list(range(len(module._set(name))))
    assert len(items(ready(maps, fold=0)._set("test"))) == len(items(ready(maps)._set("test")))
    # Rows of either split find their own labels and masks, whichever set they are in now.
    plain = {item["id"]: item for name in ("train", "val") for item in items(ready(maps)._set(name))}
    assert any("mask" not in plain[item["id"]] for item in items(modules[0]._set("val"))), "some came from training"
    for module in modules:
        for item in items(module._set("val")):
            assert torch.equal(item["label"], plain[item["id"]]["label"])
            assert torch.equal(item["mask"].flatten(1).any(1), item["label"] == 1), "the fake lesions are in the masks"


def test_a_share_of_the_training_groups(maps: Path) -> None:
    few, every = ready(maps, train_fraction=0.4), ready(maps)
    groups = [{item["group"] for item in items(module._set("train"))} for module in (few, every)]
    assert groups[0] < groups[1]
    assert len(groups[0]) == 2
    assert len(few._set("train")) == 16, "eight tiles each"  # type: ignore[arg-type]
    assert len(few._set("val")) == len(every._set("val"))  # type: ignore[arg-type]


def test_a_worker_gets_no_copy_of_the_maps(maps: Path) -> None:
    module = ready(maps)
    items(module._set("train"))  # the memory maps are open
    assert len(pickle.dumps(module._set("train"))) < 20_000


def test_the_files_are_never_written_to(maps: Path) -> None:
    module = ready(maps, augment="none")
    before = module._set("train")[0]["features"][0].clone()
    module._set("train")[0]["features"][0].zero_()  # what a careless consumer may do
    assert torch.equal(ready(maps, augment="none")._set("train")[0]["features"][0], before)


def test_another_backbone_is_refused(maps: Path) -> None:
    module, model = ready(maps), backbone_of()
    scale = (list(model.backbone.mean), list(model.backbone.std))
    own = (model.backbone_name, model.feature_stride, model.backbone.fingerprint(), scale, 0)
    module.require_backbone(*own)
    for at, other, message in (
        (0, "resnet18", "backbone test_resnet"), (1, 32, "feature_stride"), (2, "0", "backbone weights"),
        (3, ([0.5] * 3, [0.2] * 3), "mean and std of pictures"),
        (4, 2, "feature_blocks 0"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rf"the {message}.* of the maps in"):
            module.require_backbone(*(other if at == place else value for place, value in enumerate(own)))


def test_what_is_not_there_or_does_not_fit_is_said(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stored maps at .*, got no maps.json there; write the maps with `ibca maps"):
        FrozenMaps(str(tmp_path))
    with pytest.raises(InputError, match=r"data.image_size 64, that of the maps in .*, got 128"):
        FrozenMaps(str(maps), image_size=128)
    with pytest.raises(InputError, match=r"data.fold from 0 to 4, got 5"):
        ready(maps, fold=5)
    with pytest.raises(InputError, match=r"data.train_fraction above 0"):
        ready(maps, train_fraction=0.0)
    broken = shutil.copytree(maps, tmp_path / "broken")
    lines = (broken / "val.rows.jsonl").read_text().splitlines(keepends=True)
    (broken / "val.rows.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=r"40 maps of val at .*, got 39; run the same `ibca maps` again"):
        ready(broken)
    half = json.loads(lines[0]) | {"id": "\ud800"}
    (broken / "val.rows.jsonl").write_text("".join([f"{json.dumps(half)}\n", *lines[1:]]))
    with pytest.raises(InputError, match=r"id, group and subgroup of a picture in .*val\.rows\.jsonl, line 1"):
        ready(broken)
    (broken / "val.stage0.npy").unlink()
    with pytest.raises(InputError, match=r"an array \(40, 8, .*, got none; write the maps again"):
        ready(broken)
    record = json.loads((broken / "maps.json").read_text())
    (broken / "maps.json").write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(InputError, match=r"in format 1, got 99"):
        FrozenMaps(str(broken))
    result = ibca("fit", "--data", "FrozenMaps", "--data.root", tmp_path, "--run_dir", tmp_path / "run")
    assert (result.code, len(result.errors)) == (2, 1)


def test_maps_that_were_stored_before_a_key_was_known_are_read(maps: Path, tmp_path: Path) -> None:
    content = json.loads((maps / "maps.json").read_text())
    for name in ("feature_blocks", "version", "data"):
        content.pop(name)
    old = shutil.copytree(maps, tmp_path / "old")
    (old / "maps.json").write_text(json.dumps(content))
    assert FrozenMaps(str(old)).record.feature_blocks == 0
    del content["mean"]
    (old / "maps.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="got no mean"):
        FrozenMaps(str(old))


def test_training_masks_are_turned_as_their_maps_are(maps: Path) -> None:
    plain = ready(maps, augment="none", train_masks=True)._set("train")
    drawn = ready(maps, train_masks=True)._set("train")
    split, seen = drawn.splits[0], set()
    for row in range(len(drawn)):
        item = drawn[row]
        views = [
            v for v in range(split.views) if torch.equal(torch.from_numpy(split.maps(row, v)[0]), item["features"][0])
        ]
        assert any(torch.equal(item["mask"], turned(plain[row]["mask"], view)) for view in views)
        seen |= set(views)
    assert len(seen) > 1
    assert "mask" not in ready(maps)._set("train")[0]


def test_labels_made_wrong_on_purpose_are_those_of_training_alone(maps: Path) -> None:
    clean, noisy = ready(maps), ready(maps, label_noise=LabelNoise(flip=0.4))
    changed = clean.training_labels() != noisy.training_labels()
    assert changed.any()
    assert len(noisy.label_changes()[""]) == changed.sum()
    items_of = (module._set("train") for module in (clean, noisy))
    for row, (one, two) in enumerate(zip(*map(items, items_of), strict=True)):
        assert ((one["label"] != two["label"]).numpy() == changed[row]).all()
    for name in ("val", "test"):
        assert all(
            torch.equal(a["label"], b["label"])
            for a, b in zip(items(clean._set(name)), items(noisy._set(name)), strict=True)
        )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("test_names", ["test", "test"], "test_names"),
        ("test_names", ["/../../../x"], "splits"),
        ("test_names", ["test", "same"], "splits"),
        ("class_names", ["A", "A"], "class_names"),
        ("splits", {"train": {"rows": 6, "views": 2, "masks": {"mask": 2}, "drawn": 1}}, "splits"),
        ("data", {"class_path": "CSVDataModule", "init_args": 7}, "data"),
        ("masks", {"label": 2}, "splits"),
        ("masks", {"../mask": 2}, "splits"),
    ],
)
def test_a_record_that_names_other_splits_or_files(key: str, value: Any, words: str, tmp_path: Path) -> None:
    stored_maps.small(tmp_path / "maps")
    assert len(FrozenMaps(str(tmp_path / "maps")).test_sets()["test"]) == 2
    path = tmp_path / "maps/maps.json"
    content = json.loads(path.read_text())
    if key == "masks":
        content["splits"]["train"]["masks"] = value
    else:
        content[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"maps\.json as `ibca maps` wrote it, got {words} "):
        FrozenMaps(str(tmp_path / "maps"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("workers", [0, 1])
def test_stored_maps_are_finite(value: float, workers: int, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    stored_maps.small(maps)
    array = np.load(maps / "train.stage1.npy")
    array[2, :, 1, 0, 0] = value
    np.save(maps / "train.stage1.npy", array)
    data = FrozenMaps(str(maps), batch_size=6, num_workers=workers)
    data.setup("fit")
    name = data.train_set().table.name(2)
    words = rf"finite maps of '{name}' at .*train.stage1.npy, got NaN or infinity in row 2"
    with pytest.raises(InputError, match=words):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize("label", [2, -3, 127])
def test_stored_labels_are_0_1_or_unknown(label: int, tmp_path: Path) -> None:
    stored_maps.small(tmp_path / "maps")
    path = tmp_path / "maps/train.label.npy"
    labels = np.load(path)
    labels[1, 0] = label
    np.save(path, labels)
    with pytest.raises(InputError, match=r"labels of 0, 1 and -1 at .*train\.label\.npy"):
        FrozenMaps(str(tmp_path / "maps")).train_set()
