"""`ibca maps --drawn`: views with noise drawn on them, and training on them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.data import FrozenMaps
from ibca_lightning.data.pictures.masks import unpack
from ibca_lightning.data.pictures.views import turned
from ibca_lightning.datasets.layouts.map_files import read_record
from ibca_lightning.marks.noise import draw_noise
from ibca_lightning.marks.painter import random_numbers
from ibca_lightning.system.errors import InputError
from tests import stored_maps
from tests.command_line import contents, written
from tests.datasets import fake_idrid_tiles
from tests.datasets.test_frozen_maps import HALF, backbone_of, items, pictures, ready


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pictures' folder and that of maps with 4 views and 8 drawn ones."""
    folder = tmp_path_factory.mktemp("drawn")
    fake_idrid_tiles.write(folder / "pictures", sources=1)
    config = written(folder / "e.yaml", stored_maps.configuration(folder / "pictures", drawn_noise=0.7))
    result = stored_maps.store(config, folder / "maps", "--views", 4, "--drawn", 8)
    assert result.code == 0, result.err
    return folder / "pictures", folder / "maps"


def test_each_drawn_view_is_the_backbone_on_the_picture_with_noise_turned(stored: tuple[Path, Path]) -> None:
    model, module = backbone_of(), ready(stored[1])
    for name in ("train", "val"):  # a fold may train on either
        split = module._split(name)
        assert (split.views, split.drawn) == (4, 8)
        for row, item in enumerate(items(pictures(stored[0])._set(name))[:1]):
            masks = unpack(list(split.planes(row, "drawn")), 8)
            for number in range(8):
                rng = random_numbers(number, "noise", item["id"])
                pixels, mask = draw_noise(item["image"].permute(1, 2, 0).numpy(), rng)
                with torch.no_grad():
                    seen = turned(torch.from_numpy(pixels).permute(2, 0, 1), number % 4)
                    expected = model.stages(seen[None])
                for ours, theirs in zip(split.maps(row, 4 + number), expected, strict=True):
                    torch.testing.assert_close(torch.from_numpy(ours).float(), theirs[0], **HALF)
                assert torch.equal(masks[number], turned(torch.from_numpy(mask), number % 4))
    assert module._split("test.test").drawn == 0
    assert module._split("test.test").maps(0, 0)[0].ndim == 3
    assert not list(stored[1].glob("test*drawn*"))


@pytest.mark.parametrize("augment", ["none", "default"])
def test_training_draws_from_them_and_masks_follow(augment: str, stored: tuple[Path, Path]) -> None:
    module = ready(stored[1], augment=augment, drawn_noise=0.5, train_masks=True)
    plain = items(ready(stored[1], augment="none", train_masks=True)._set("train"))
    training, seen = module._set("train"), []
    split = training.splits[0]  # type: ignore[attr-defined]
    for _ in range(12):
        for row, item in enumerate(items(training)):
            stages = torch.from_numpy(np.stack([split.maps(row, view)[0] for view in range(12)]))
            (view,) = (stages == item["features"][0]).flatten(1).all(1).nonzero()[:, 0].tolist()
            assert torch.equal(item["mask"], turned(plain[row]["mask"], view % 4))
            mask = unpack(list(split.planes(row, "drawn")), 8)
            assert (item["drawn_mask"].shape, item["drawn_mask"].dtype) == ((1, 64, 64), torch.bool)
            assert torch.equal(item["drawn_mask"][0], mask[view - 4] if view >= 4 else mask[0] & False)
            seen.append(view)
    assert set(seen) == (set(range(12)) if augment == "default" else {0, 4, 8})
    share = np.mean(np.array(seen) >= 4)
    assert abs(share - 0.5) < 5 * 0.5 / len(seen) ** 0.5
    batch = next(iter(module.train_dataloader()))
    assert batch["drawn_mask"].shape == (5, 1, 64, 64)
    assert not any("drawn_mask" in item for name in ("val", "test") for item in items(module._set(name)))
    for fold in range(2):
        assert all(
            x["drawn_mask"].any() for x in items(ready(stored[1], fold=fold, folds=2, drawn_noise=1.0)._set("train"))
        )


def test_masks_of_two_pictures_side_by_side_are_turned_each_by_itself(
    stored: tuple[Path, Path], tmp_path: Path
) -> None:
    maps = shutil.copytree(stored[1], tmp_path / "maps")
    record = json.loads((maps / "maps.json").read_text())
    (maps / "maps.json").write_text(json.dumps(record | {"preprocessing": record["preprocessing"] | {"pair": "yes"}}))
    training, plain = (ready(maps, augment=way, train_masks=True)._set("train") for way in ("default", "none"))
    split, differ = training.splits[0], 0  # type: ignore[attr-defined]
    for item, still in zip(items(training), items(plain), strict=True):
        row = int(item["index"])
        (view,) = (v for v in range(4) if np.array_equal(split.maps(row, v)[0], item["features"][0].numpy()))
        assert torch.equal(item["mask"], turned(still["mask"], view, pair=True))
        differ += not torch.equal(item["mask"], turned(still["mask"], view))
    assert differ


def test_without_the_option_training_draws_what_it_drew(stored: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    found = items(ready(stored[1])._set("train"))
    torch.manual_seed(0)
    views, split = [int(torch.randint(4, ())) for _ in found], ready(stored[1])._split("train")
    for row, (item, view) in enumerate(zip(found, views, strict=True)):
        assert "drawn_mask" not in item
        assert torch.equal(item["features"][0], torch.from_numpy(split.maps(row, view)[0]))


def test_maps_without_them_are_read_as_before_and_refuse_the_option(stored: tuple[Path, Path], tmp_path: Path) -> None:
    record = json.loads((stored[1] / "maps.json").read_text())
    old: dict[str, Any] = json.loads(json.dumps(record))
    for split in old["splits"].values():
        del split["drawn"]
    (tmp_path / "maps.json").write_text(json.dumps(old))
    assert {split.drawn for split in read_record(str(tmp_path)).splits.values()} == {0}
    with pytest.raises(InputError, match=r"maps with noise drawn .*, got none; write them with ibca maps --drawn 4"):
        FrozenMaps(str(tmp_path), drawn_noise=0.5)
    with pytest.raises(InputError, match=r"data.drawn_noise in \[0, 1\]"):
        FrozenMaps(str(stored[1]), drawn_noise=2.0)
    for wrong in (-1, 1.5, True, "4"):
        old["splits"]["train"]["drawn"] = wrong
        (tmp_path / "maps.json").write_text(json.dumps(old))
        with pytest.raises(InputError, match="as `ibca maps` wrote it"):
            read_record(str(tmp_path))


def test_the_option_of_pictures_does_not_matter_and_another_number_is_not_mixed_in(stored: tuple[Path, Path]) -> None:
    config, before = stored[1].parent / "e.yaml", contents(stored[1])
    said = stored_maps.store(config, stored[1], "--views", 4, "--drawn", 8, "--data.drawn_noise", 0)
    assert (said.code, "0 new pictures" in said.err) == (0, True), said.err
    said = stored_maps.store(config, stored[1], "--views", 4, "--drawn", 4)
    assert (said.code, len(said.errors)) == (2, 1)
    assert "to hold maps of splits" in said.errors[0]
    assert contents(stored[1]) == before
