"""IDRiD: lesions of diabetic retinopathy in tiles of fundus photographs, 4 labels with masks."""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from ibca_lightning.data import storage
from ibca_lightning.data.options import check_classes, check_whole
from ibca_lightning.data.pictures.reading import decode_bytes, read_bytes, read_image
from ibca_lightning.data.tables.paths import check_root
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.csv_table import CSVDataModule
from ibca_lightning.datasets.layouts.copies import first_present
from ibca_lightning.datasets.layouts.fundus_tiles import Photograph, write_tiles
from ibca_lightning.system.errors import InputError

log = logging.getLogger(__name__)

# For each mask its folder; the bit of each is its place here.
_MASKS = {
    "MA": "1. Microaneurysms",
    "HE": "2. Haemorrhages",
    "EX": "3. Hard Exudates",
    "SE": "4. Soft Exudates",
    "OD": "5. Optic Disc",
}
# Folder and numbers of the photographs of each split.
_SPLITS = {"train": ("a. Training Set", range(1, 55)), "test": ("b. Testing Set", range(55, 82))}


class IDRiD(CSVDataModule):
    """IDRiD, the Indian Diabetic Retinopathy Image Dataset, part A (segmentation), cut into tiles.

    81 colour fundus photographs of 4288x2848 with masks of lesions, of one camera and one clinic. Nearly every
    photograph shows MA and EX, so the labels are those of tiles: a label is 1 where a pixel of the lesion lies in the
    tile. Official split: 54 training and 27 test photographs; validation is split off from the 54 by photograph. A mask
    that a photograph lacks (HE for one of the 54, SE for 41 of the 81) means that there is no such lesion.

    Labels: MA microaneurysms, HE haemorrhages, EX hard exudates, SE soft exudates; on request OD optic disc, which is
    no lesion. The tiles and their masks are written once below `tiles_dir`, for each size into a folder of its own that
    any other data module can read (`train.csv`, `test.csv`, `images/`, `masks/` with bits in the order above); this
    takes a minute or two. With the defaults they are cut as `fundus_tiles.cut` says at 512 pixels, shrunk to 384.

    Licence CC BY 4.0. Citation: Porwal et al., "Indian Diabetic Retinopathy Image Dataset (IDRiD): A Database for
    Diabetic Retinopathy Screening Research", Data 3(3), 25, 2018, doi 10.3390/data3030025. Data: IEEE DataPort.

    Expected tree (`A. Segmentation` may be the root itself, or lie in `A.%20Segmentation`, as in some copies)::

        root/A. Segmentation/1. Original Images/{a. Training Set,b. Testing Set}/IDRiD_{01..81}.jpg
        root/A. Segmentation/2. All Segmentation Groundtruths/{a. ...,b. ...}/1. Microaneurysms/IDRiD_01_MA.tif
        ... 2. Haemorrhages (_HE), 3. Hard Exudates (_EX), 4. Soft Exudates (_SE), 5. Optic Disc (_OD)

    Args:
        root: Folder of the data set.
        tile: Side of a tile in the photograph, in pixels; 356, 712 and 1424 use the height of 2848 in full.
        tile_pixels: Side of a tile as written, at most `tile`; None for `tile`, that is without shrinking.
        tiles_dir: Folder for the tiles; None for `root/tiles`.
        classes: The labels, some of MA, HE, EX, SE, OD; None for the first four.
        val_fraction: Share of the 54 photographs that becomes validation, in (0, 1).
        split_seed: Chooses the split; independent of `seed_everything`.
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    _tree = (
        "root/A. Segmentation/1. Original Images/{a. Training Set,b. Testing Set}/IDRiD_NN.jpg, "
        "root/A. Segmentation/2. All Segmentation Groundtruths/{a. Training Set,b. Testing Set}/"
        "1. Microaneurysms/IDRiD_NN_MA.tif and so on"
    )
    _help = f"get part A of IDRiD (IEEE DataPort, doi 10.3390/data3030025) and unpack it as {_tree}"

    def __init__(
        self,
        root: str,
        tile: int = 512,
        tile_pixels: int | None = 384,
        tiles_dir: str | None = None,
        classes: list[str] | None = None,
        val_fraction: float = 9 / 54,
        split_seed: int = 0,
        **common: Any,
    ) -> None:
        pixels = tile if tile_pixels is None else tile_pixels
        check_whole("tile", tile, 1, 2848)
        check_whole("tile_pixels", pixels, 1, tile)
        classes = list(_MASKS)[:4] if classes is None else classes
        check_classes(classes, _MASKS)
        root = os.fspath(root)
        below = os.path.join(root, "tiles") if tiles_dir is None else os.fspath(tiles_dir)
        super().__init__(
            root=os.path.join(below, f"{tile}_{pixels}"),
            test_csv="test.csv",
            val_fraction=val_fraction,
            split_seed=split_seed,
            group_column="source",
            image_dir="images",
            mask_dir="masks",
            mask_labels=list(_MASKS),
            label_columns=classes,
            **common,
        )
        self.source, self.tile, self.tile_pixels = root, tile, pixels

    def prepare_data(self) -> None:
        """Cut the tiles, on one process of each machine."""
        self._cut()

    def tables(self) -> Mapping[str, Table]:
        """Read the tables of the tiles, which are cut first if that was not done before."""
        self._cut()
        return super().tables()

    def _cut(self) -> None:
        if storage.is_folder(self.root):
            return
        check_root(self.source, self._help)
        name = "A. Segmentation/1. Original Images"
        places = (name, "1. Original Images", f"A.%20Segmentation/{name}")
        images = first_present(self.source, places, self._help)
        masks = os.path.join(os.path.dirname(images), "2. All Segmentation Groundtruths")
        for part, _ in _SPLITS.values():
            for folder in (os.path.join(images, part), *(os.path.join(masks, part, name) for name in _MASKS.values())):
                if not storage.is_folder(folder):
                    raise InputError(f"the folder {folder}", "nothing there", self._help)
        log.info("cutting the photographs of %s into tiles in %s", self.source, self.root)
        splits = {
            split: _photographs(os.path.join(images, part), os.path.join(masks, part), numbers)
            for split, (part, numbers) in _SPLITS.items()
        }
        write_tiles(self.root, splits, list(_MASKS), self.tile, self.tile_pixels)


def _photographs(images: str, masks: str, numbers: range) -> Iterator[Photograph]:
    for number in numbers:
        name = f"IDRiD_{number:02d}"
        image = read_image(os.path.join(images, f"{name}.jpg"))
        lesions = np.zeros((len(_MASKS), *image.shape[:2]), dtype=bool)
        for lesion, (short, folder) in zip(lesions, _MASKS.items(), strict=True):
            path = os.path.join(masks, folder, f"{name}_{short}.tif")
            if not storage.exists(path):
                continue
            mask = decode_bytes(read_bytes(path), path, cv2.IMREAD_GRAYSCALE)
            if mask.shape != lesion.shape:
                raise InputError(
                    f"a mask of the size of its photograph, {lesion.shape}, at {path}", mask.shape, "restore the file"
                )
            lesion[:] = mask > 0
        yield Photograph(name, image, lesions)
