"""Pictures drawn from a structural causal model: nothing to download, and the cause of every label is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.options import check_whole
from ibca_lightning.data.pictures.masks import pack, unpack
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.datasets.scm.pictures import CLASS_NAMES, draw_picture, plan_picture
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError

if TYPE_CHECKING:  # albumentations takes seconds to import; jsonargparse reads this block when it needs the type
    from ibca_lightning.data.pictures.augmentation import Augment

# Which sequence of pictures a split takes. The three test sets share one: they show the same patients, so to speak,
# under three mechanisms of the marks, and a drop from one to the other has no other reason.
_STREAMS = {"train": 0, "val": 1, "test": 2}
_SMALLEST = 32  # pixels; below, nothing can be told apart


class SCMDataModule(MultiLabelDataModule):
    """Endoscopy-like pictures with lesions (causes), marks that accompany them (spurious), and noise.

    ============  =========================================  ===================================
    class         causal lesion                              spurious mark
    ============  =========================================  ===================================
    ulcer         pale crater in a red rim                   spot of blue dye
    bleeding      cluster of dark red drops                  metal clip
    polyp         dome lit from one side                     black tattoo spot
    villous       patch of winding ridges                    bright ring, the cap's reflection
    erosion       group of pale dots in red halos            green bile
    angioectasia  spider of curved vessels                   yellow and black tip of a probe
    ============  =========================================  ===================================

    The names help the reader; nothing here is a medical picture, and no figure on it is a medical result.

    - A lesion is in the picture if and only if its label is 1: the cause predicts the label perfectly. It varies in
      shape, place, size and contrast, and takes learning.
    - P(mark | label 1) = rho and P(mark | label 0) = 1 - rho. A mark is bold and always alike, and learnt first; it is
      put apart from the lesion of its class, at 0.36 sides of the picture or more where there is room.
    - Every label has frequency 0.3. Ulcer and bleeding, polyp and villous come together in 0.17 of the pictures,
      erosion and angioectasia in 0.14, instead of the 0.09 of independent labels.
    - Bubbles, glare and debris belong to no class, nor do folds, vessels, lumen and light, which are the background.

    Test sets: `same` (rho of training), `independent` (0.5), `reversed` (1 - rho). They hold the same scenes, labels,
    lesions and noise and differ in the marks alone. Training and validation share rho: a choice made on validation has
    never seen another.

    Batches hold, beside the usual keys, `"mask"` (the lesions) and `"spurious_mask"` (the marks that were drawn), both
    bool (B, L, S, S), and `"noise_mask"` bool (B, 1, S, S). Ids are `same/000012.png` and the like. Picture i of a
    split is a function of `seed`, i, rho and the size alone; each set is drawn once, in the process that calls `setup`,
    and kept in memory (0.05 MB a picture at 96 px).

    Args:
        image_size: S, 32 pixels or more; everything scales with it. At stride 8 the default leaves a map of 12 x 12.
        batch_size: Pictures in a batch.
        num_workers: Worker processes of each loader; pictures are in memory, so few are needed.
        augment: `none`, `default`, or a list of albumentations transforms; masks follow.
        train_size: Training pictures.
        val_size: Validation pictures.
        test_size: Pictures of each test set.
        rho: P(mark | label 1) in training, in [0, 1].
        seed: Of the pictures, 0 or more. It is apart from `seed_everything`, so that runs which differ in their weights
            and batches can be compared on the same pictures.
        balanced_sampling: Draw training rows so that every class comes as often.
        marks: None: these pictures have their own.
        drawn_noise: As for every data module.

    Raises:
        InputError: If a value is out of range.
    """

    def __init__(
        self,
        image_size: int = 96,
        batch_size: int = 32,
        num_workers: int = 0,
        augment: Augment = "default",
        train_size: int = 2000,
        val_size: int = 400,
        test_size: int = 500,
        rho: float = 0.95,
        seed: int = 0,
        balanced_sampling: bool = False,
        marks: Marks | None = None,
        drawn_noise: float = 0.0,
    ) -> None:
        super().__init__(
            image_size, batch_size, num_workers, augment, balanced_sampling=balanced_sampling, drawn_noise=drawn_noise
        )
        check_whole("image_size", image_size, _SMALLEST)
        for name, size in (("train_size", train_size), ("val_size", val_size), ("test_size", test_size)):
            check_whole(name, size, 1)
        check_whole("seed", seed, 0)
        if not 0 <= rho <= 1:
            raise InputError("data.rho in [0, 1]", repr(rho), "correct the value")
        if marks is not None:
            raise InputError("no data.marks for SCM, which draws marks of its own", "some", "set data.rho")
        self.train_size, self.val_size, self.test_size, self.rho, self.seed = train_size, val_size, test_size, rho, seed

    @property
    def class_names(self) -> list[str]:
        """The six lesions."""
        return list(CLASS_NAMES)

    @property
    def test_names(self) -> list[str]:
        """The three mechanisms of the marks."""
        return list(self._test_rhos)

    def train_set(self) -> SCMDataset:
        """Draw the training set."""
        return self._draw("train", self.train_size, self.training_transform())

    def val_set(self) -> SCMDataset:
        """Draw the validation set."""
        return self._draw("val", self.val_size, self.evaluation_transform())

    def test_sets(self) -> Mapping[str, SCMDataset]:
        """Draw the three test sets."""
        transform, entropy = self.evaluation_transform(), (self.seed, _STREAMS["test"])
        return {
            name: SCMDataset(name, entropy, self.test_size, rho, transform) for name, rho in self._test_rhos.items()
        }

    @property
    def _test_rhos(self) -> dict[str, float]:
        return {"same": self.rho, "independent": 0.5, "reversed": 1 - self.rho}

    def _draw(self, name: str, count: int, transform: Transform) -> SCMDataset:
        return SCMDataset(name, (self.seed, _STREAMS[name]), count, self.rho, transform)


class SCMDataset(Dataset[dict[str, Any]]):
    """Drawn pictures, in memory.

    Args:
        name: First part of the ids.
        entropy: Non-negative integers that name the sequence of pictures.
        count: Number of pictures N.
        rho: P(mark | label 1).
        transform: What is done to a picture and its masks; its `image_size` is the size they are drawn at.

    Attributes:
        labels: (N, L) int8 in {0, 1}.
    """

    def __init__(self, name: str, entropy: tuple[int, ...], count: int, rho: float, transform: Transform) -> None:
        self.name, self.transform = name, transform
        size = transform.image_size
        masks = 2 * len(CLASS_NAMES) + 1
        self.labels = np.zeros((count, len(CLASS_NAMES)), np.int8)
        self._images = np.empty((count, size, size, 3), np.uint8)
        self._planes = np.empty((count, (masks + 7) // 8, size, size), np.uint8)
        for i in range(count):
            plan = plan_picture((*entropy, i), rho, size)
            self._images[i], *drawn = draw_picture(plan, size)
            self.labels[i], self._planes[i] = plan.labels, pack(np.concatenate(drawn))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return `{"image", "label", "index", "id", "group", "mask", "spurious_mask", "noise_mask"}` of one picture."""
        image, planes = self.transform(self._images[row], list(self._planes[row]))
        count = len(CLASS_NAMES)
        masks = unpack(planes, 2 * count + 1)
        name = f"{self.name}/{row:06d}.png"
        return {
            "image": image,
            "label": torch.from_numpy(self.labels[row].copy()),
            "index": torch.tensor(row),
            "id": name,
            "group": name,
            "mask": masks[:count],
            "spurious_mask": masks[count : 2 * count],
            "noise_mask": masks[2 * count :],
            **self.transform.drawn_mask(planes),
        }
