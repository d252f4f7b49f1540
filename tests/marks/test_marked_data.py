"""Marks in the batches of data modules, in stored maps, and in what commands say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ibca_lightning.data import CSVDataModule, FrozenMaps, JoinedDataModule
from ibca_lightning.data.label_noise import LabelNoise
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import DataWarning, InputError
from tests import stored_maps
from tests.command_line import done, experiment, refused, rows, written
from tests.datasets import fake_idrid_tiles

MARKS = Marks(0.95, kinds=["pen_ring", "ruler", "text"])


def data(tree: Path, marks: Marks | None = MARKS, **options: Any) -> CSVDataModule:
    given = {"image_dir": "images", "mask_dir": "masks", "group_column": "patient", "exclude_columns": ["sex", "age"]}
    sizes = {"image_size": 48, "batch_size": 4, "num_workers": 0, "augment": "none"}
    return CSVDataModule(str(tree), val_csv="val.csv", test_csv="test.csv", marks=marks, **(given | sizes | options))


def items(dataset: Any) -> list[dict[str, Any]]:
    return [dataset[row] for row in range(len(dataset))]


def test_three_test_sets_differ_in_marks_alone(tree: Path) -> None:
    module = data(tree)
    assert module.test_names == ["same", "independent", "reversed"]
    sets = {name: items(each) for name, each in module.test_sets().items()}
    clean = items(data(tree, None).test_sets()["test"])
    for name, marked in sets.items():
        for item, plain in zip(marked, clean, strict=True):
            assert all(torch.equal(item[key], plain[key]) for key in ("label", "index", "mask"))
            assert (item["id"], item["group"]) == (plain["id"], plain["group"])
            anywhere = item["spurious_mask"].any(0)
            assert torch.equal(item["image"][:, ~anywhere], plain["image"][:, ~anywhere])
            assert not (anywhere & item["mask"].any(0)).any()
            known = item["label"] >= 0
            expected = {"same": item["label"] == 1, "reversed": item["label"] == 0}.get(name)
            if expected is not None:  # of so few pictures none is a twentieth
                assert torch.equal(item["spurious_mask"].flatten(1).any(1)[known], expected[known])
    assert [len(each) for each in sets.values()] == 3 * [len(clean)]


def test_without_marks_pictures_are_what_is_in_the_files(tree: Path) -> None:
    module = data(tree, None)
    (first, *_) = items(module.val_set())
    pixels, _ = module.evaluation_transform()(read_image(str(tree / "images" / first["id"]), 48))
    assert torch.equal(first["image"], pixels)
    assert "spurious_mask" not in first
    assert (module.test_names, module.instruments()) == (["test"], [])


def test_order_workers_caches_and_label_noise_do_not_matter(tree: Path, tmp_path: Path) -> None:
    wanted = items(data(tree).train_set())
    disk = {"cache": "disk", "cache_dir": str(tmp_path)}
    others = [data(tree, Marks(1.0, seed=5), **disk), data(tree, None, **disk), data(tree, **disk), data(tree, **disk)]
    sets = [
        module.train_set() for module in [*others, data(tree, cache="memory"), data(tree, label_noise=LabelNoise(0.5))]
    ]
    read = [[items(each) for _ in range(2)][1] for each in sets]
    for found in read[2:]:
        for a, b in zip(found, wanted, strict=True):
            assert all(torch.equal(a[key], b[key]) for key in ("image", "mask", "spurious_mask"))
    plain = items(data(tree, None).train_set())
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(read[1], plain, strict=True))
    assert any(not torch.equal(a["image"], b["image"]) for a, b in zip(read[0], wanted, strict=True))
    batches = list(data(tree, num_workers=2).val_dataloader())
    again = items(data(tree).val_set())
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), torch.stack([item["image"] for item in again]))


def test_augmentation_moves_picture_and_mark_alike(tree: Path) -> None:
    white = Marks(1.0, kinds=["pen_ring", "glare", "hair"])
    module = data(tree, white, augment="default")
    torch.manual_seed(0)
    moved, still = items(module.train_set()), items(data(tree, white).train_set())
    areas = [[float(item["spurious_mask"].float().mean()) for item in each] for each in (moved, still)]
    assert areas[0] == pytest.approx(areas[1], rel=0.6, abs=0.01)
    assert any(not torch.equal(a["spurious_mask"], b["spurious_mask"]) for a, b in zip(moved, still, strict=True))


def test_joined_sets_have_the_same_kinds_and_three_tests_each(tree: Path) -> None:
    def sets(**first: Any) -> list[Any]:
        return [data(tree, None, **first), data(tree, None, label_columns=["B", "C"])]

    module = JoinedDataModule(sets(), image_size=48, num_workers=0, augment="none", marks=MARKS)
    names = [f"{each}.{test}" for each in ("CSVDataModule", "CSVDataModule_2") for test in MARKS.test_shares]
    assert module.test_names == list(module.test_sets()) == names
    first, second = (module.test_sets()[f"{name}.same"] for name in module.sets)
    for one, other in zip(items(first), items(second), strict=True):
        assert one["spurious_mask"].shape == other["spurious_mask"].shape == (3, 48, 48)
        assert not other["spurious_mask"][0].any()  # not known there
    with pytest.raises(InputError, match="set it once, for all"):
        JoinedDataModule([data(tree), data(tree, None)])


def test_stored_maps_know_the_test_sets_and_the_masks_of_marks(tmp_path: Path) -> None:
    fake_idrid_tiles.write(tmp_path / "pictures", sources=1)
    marks = {"rho": 0.9, "kinds": ["hair", "ruler", "text", "stain"], "at_least": 1}
    config = written(tmp_path / "e.yaml", stored_maps.configuration(tmp_path / "pictures", marks=marks))
    assert stored_maps.store(config, tmp_path / "maps", "--views", 1).code == 0
    maps = FrozenMaps(str(tmp_path / "maps"), augment="none", train_masks=True)
    assert maps.marks == Marks(**marks)
    assert maps.test_names == ["same", "independent", "reversed"]
    assert "MA with hair" in maps.instruments()[0]
    init = stored_maps.configuration(tmp_path / "pictures", marks=Marks(**marks), augment="none")["data"]["init_args"]
    pictures = CSVDataModule(**init)
    pairs = {"train": (maps.train_set(), pictures.train_set()), "val": (maps.val_set(), pictures.val_set())}
    pairs |= {name: (each, pictures.test_sets()[name]) for name, each in maps.test_sets().items()}
    for ours, theirs in pairs.values():
        for a, b in zip(items(ours), items(theirs), strict=True):
            assert all(torch.equal(a[key], b[key]) for key in ("label", "mask", "spurious_mask"))
    said = stored_maps.store(
        written(tmp_path / "f.yaml", stored_maps.configuration(tmp_path / "pictures")), tmp_path / "maps"
    )
    assert said.code == 2
    with pytest.raises(InputError, match="for stored maps"):
        FrozenMaps(str(tmp_path / "maps"), marks=Marks())


def test_commands_say_that_marks_are_drawn_and_predict_draws_none(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree, marks={"rho": 0.6, "kinds": ["hair", "ruler", "text"]}))
    line = (
        "data.marks draws artefacts on these pictures on purpose (rho 0.6, seed 0): A with hair, B with ruler, C with"
    )
    with pytest.warns(DataWarning, match=line[:40]):
        assert line in done("fit", "--config", "e.yaml", "--run_dir", "run").err
    trained = ("--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    assert line in done("test", *trained).err
    figures = [
        json.loads((here / "run" / f"test_metrics{end}.json").read_text()) for end in ("", ".independent", ".reversed")
    ]
    assert all(0 <= each["metrics"]["spurious_energy"] <= 1 for each in figures)  # without masks of lesions too
    refused("predict", *trained, names=("data.marks",))
    done("predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--images", tree / "images", "--output", "out")
    checked = done("check", "--config", "e.yaml", "--output", "check")
    assert f"warning: marks: {line}" in checked.out
    assert {row["split"] for row in rows(here / "run/splits.csv")} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--data.marks.rho", "1.5"], ("data.marks.rho in [0, 1]",)),
        (["--data.marks.kinds", "[crayon]"], ("ink_dots", "crayon")),
        (["--data.marks.kinds", "[hair]"], ("each of 3 classes", "got 1")),
        (["--data.marks", "{at_least: -1}"], ("at_least of 0 or more",)),
    ],
)
def test_wrong_input_is_one_line(options: list[str], names: tuple[str, ...], tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    refused("fit", "--config", "e.yaml", "--run_dir", "new", *options, names=names)


def test_scm_draws_its_own(here: Path) -> None:
    names = ("no data.marks for SCM", "data.rho")
    refused("fit", "--config", "scm", "--data.marks.rho", 0.9, "--run_dir", "new", names=names)
