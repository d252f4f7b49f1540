import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, IDRiD
from ibca_lightning.datasets.layouts import fundus_tiles as tiling
from ibca_lightning.datasets.layouts.fundus_tiles import Photograph, cut
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_idrid
from tests.datasets.contract import DataModuleContract


def module(root: Path, **options: Any) -> IDRiD:
    return IDRiD(str(root), **{"tile": 40, "tile_pixels": 30, **options})


class TestIDRiD(DataModuleContract):
    class_names: ClassVar = ["MA", "HE", "EX", "SE"]
    rows: ClassVar = {"train": 54 * 2, "test": 27 * 2}
    has_masks = True

    def write(self, root: Path) -> None:
        fake_idrid.write(root)

    def module(self, root: Path, **common: Any) -> IDRiD:
        return module(root, tile=60, **common)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idrid")
    fake_idrid.write(folder)
    return folder


def test_the_grid_of_a_real_size_is_that_of_512_pixels() -> None:
    """Rows from 144, columns from 192, the corners outside the disc: as IDRiD tiles are described elsewhere."""
    rows, columns = np.ogrid[:2848, :4288]
    image = np.zeros((2848, 4288, 3), np.uint8)
    image[..., 1] = np.where((rows - 1424) ** 2 + (columns - 1984) ** 2 < 1708**2, 90, 0)
    masks = np.zeros((2, 2848, 4288), bool)
    masks[0, 144 + 512, 192 + 512] = True  # the first pixel of r1c1
    masks[1, 144 + 511, 192 + 2 * 512 - 1] = True  # the last of r0c1
    tiles = {tile.name: tile for tile in cut(Photograph("P", image, masks), 512, 384)}
    assert {f"P_r{row}c{column}" for row in range(5) for column in range(7)} - set(tiles) == {
        *("P_r0c0", "P_r0c6", "P_r4c0", "P_r4c6"),
    }
    assert [name for name, tile in tiles.items() if tile.labels[0]] == ["P_r1c1"]
    assert [name for name, tile in tiles.items() if tile.labels[1]] == ["P_r0c1"]
    assert np.argwhere(tiles["P_r1c1"].bits).tolist() == [[0, 0]]
    assert np.argwhere(tiles["P_r0c1"].bits == 2).tolist() == [[383, 383]]
    assert tiles["P_r2c3"].image.shape == (384, 384, 3)
    assert np.unique(tiles["P_r2c3"].image.reshape(-1, 3), axis=0).tolist() == [[0, 90, 0]]
    masks[0, 0, 1984] = masks[0, 2847, 1984] = True
    tiles = {tile.name[-4:]: tile for tile in cut(Photograph("P", image, masks), 712, 50)}
    assert {"r0c2", "r3c2"} <= {name for name, tile in tiles.items() if tile.labels[0]}, "712 uses all of the height"


def test_tiles_hold_the_pixels_and_lesions_of_the_photograph(root: Path) -> None:
    data = module(root, tile_pixels=None)
    table = data.table("test")
    source = cv2.imread(str(root / "A. Segmentation/1. Original Images/b. Testing Set/IDRiD_60.jpg"))
    folder = root / "tiles/40_40"
    lesions = 0
    for row in range(len(table)):
        mask = cv2.imread(str(folder / "masks" / f"{table.name(row)[:-4]}.png"), cv2.IMREAD_UNCHANGED)
        assert [int((mask & 1 << bit).any()) for bit in range(4)] == table.labels[row].tolist()
        if table.groups[row] == b"IDRiD_60":
            r, c = (int(table.name(row)[at]) for at in (-7, -5))
            top, left = (89 - 80) // 2 + 40 * r, 2 + 40 * c
            tile = cv2.imread(str(folder / "images" / table.name(row)))
            assert np.abs(tile.astype(int) - source[top : top + 40, left : left + 40]).mean() < 8
            lesions += int((mask & 1 > 0).sum())
    whole = root / "A. Segmentation/2. All Segmentation Groundtruths/b. Testing Set/1. Microaneurysms/IDRiD_60_MA.tif"
    inside = cv2.imread(str(whole), cv2.IMREAD_GRAYSCALE)[4:84, 2:122] > 0
    assert lesions == inside.sum() > 0


def test_splits_are_official_and_by_photograph(root: Path) -> None:
    data = module(root)
    groups = {split: set(data.table(split).groups.tolist()) for split in ("train", "val", "test")}
    assert groups["test"] == {f"IDRiD_{number}".encode() for number in range(55, 82)}
    assert len(groups["val"]) == 9
    assert len(groups["train"]) == 45
    assert not groups["train"] & groups["val"]


def test_the_disc_is_a_class_on_request(root: Path) -> None:
    data = module(root, classes=["OD", "EX"], image_size=30, num_workers=0)
    data.setup()
    assert data.class_names == ["OD", "EX"]
    batch = next(iter(data.test_dataloader()))
    assert batch["mask"].flatten(2).any(2).int().tolist() == batch["label"].tolist()
    assert batch["label"].sum(0).min() > 0


def test_each_size_has_a_folder_that_others_read(root: Path) -> None:
    data = module(root, tile=29, tile_pixels=24)
    data.prepare_data()
    other = CSVDataModule(
        str(root / "tiles/29_24"),
        test_csv="test.csv",
        image_dir="images",
        mask_dir="masks",
        mask_labels=["MA", "HE", "EX", "SE", "OD"],
        group_column="source",
    )
    assert other.class_names == ["MA", "HE", "EX", "SE", "OD"]
    assert len(other.table("test")) == len(data.table("test")) > 27 * 6
    assert cv2.imread(str(root / "tiles/29_24/images" / data.table("test").name(0))).shape == (24, 24, 3)


def test_stopped_and_simultaneous_runs_leave_whole_tiles(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = module(root, tiles_dir=str(tmp_path))
    written = []

    def stopped(*given: Any) -> None:
        if len(written) == 20:
            raise KeyboardInterrupt
        written.append(given)

    with monkeypatch.context() as patch:
        patch.setattr(tiling, "write_picture", stopped)
        with pytest.raises(KeyboardInterrupt):
            data.prepare_data()
    assert list(tmp_path.iterdir()) == []
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: module(root, tiles_dir=str(tmp_path)).prepare_data(), range(3)))
    assert [path.name for path in tmp_path.iterdir()] == ["40_30"]
    assert len(list((tmp_path / "40_30/images").iterdir())) == 81 * 6


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root.*IEEE DataPort"):
        module(tmp_path / "none").setup()
    with pytest.raises(InputError, match=r"1\. Original Images .*IEEE DataPort.*1\. Microaneurysms/IDRiD_NN_MA\.tif"):
        module(tmp_path).setup()
    fake_idrid.write(tmp_path, below="")
    masks = tmp_path / "2. All Segmentation Groundtruths/a. Training Set/1. Microaneurysms"
    photographs = tmp_path / "1. Original Images/a. Training Set"
    shutil.move(masks, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"the folder .*1\. Microaneurysms"):
        module(tmp_path).setup()
    shutil.move(tmp_path / "elsewhere", masks)
    cv2.imwrite(str(masks / "IDRiD_02_MA.tif"), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(89, 134\), at .*IDRiD_02_MA\.tif, got \(10, 10\)"):
        module(tmp_path).setup()
    (masks / "IDRiD_02_MA.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"IDRiD_02_MA\.tif"):
        module(tmp_path).setup()
    (photographs / "IDRiD_02.jpg").unlink()
    with pytest.raises(InputError, match=r"a picture at .*IDRiD_02\.jpg, got nothing there"):
        module(tmp_path).setup()
    assert not list((tmp_path / "tiles").iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tile": 0}, r"data\.tile from 1 to 2848"),
        ({"tile": 30, "tile_pixels": 31}, r"data\.tile_pixels from 1 to 30"),
        ({"tile": 100}, "100 x 100 pixels or more.*lower data.tile"),
        ({"classes": ["MA", "XX"]}, "some of MA, HE, EX, SE, OD"),
        ({"classes": []}, "some of MA, HE, EX, SE, OD"),
    ],
)
def test_a_wrong_option_is_named(root: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        module(root, **options).setup()


def test_a_place_that_cannot_be_written_to_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"tiles can be written to at .*set data\.tiles_dir"):
        module(root, tiles_dir=str(tmp_path / "file")).setup()
