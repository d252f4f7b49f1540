"""Noise of no kind: what is drawn, on which pictures of which split, and where its mask goes."""

from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ibca_lightning.data import JoinedDataModule, SCMDataModule
from ibca_lightning.data.pictures.transforms import training_transform
from ibca_lightning.marks.noise import draw_noise
from ibca_lightning.system.errors import InputError
from tests.marks.test_marked_data import data, items

GREY = (np.zeros((96, 96, 3)) + np.random.default_rng(0).integers(90, 170, (96, 96, 1))).astype(np.uint8)


def noisy(pixels: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    return draw_noise(pixels, np.random.default_rng(seed))


def test_the_mask_is_where_pixels_changed_whatever_the_size_and_the_channels() -> None:
    shares = []
    for seed in range(60):
        side, channels = (96, 3) if seed < 40 else ((5, 3), (16, 1), (97, 5), (224, 3))[seed % 4]
        before = np.ascontiguousarray(np.resize(GREY[:side, :side], (side, side, channels)))
        kept = before.copy()
        after, mask = noisy(before, seed)
        changed = (after != before).any(axis=2)
        assert np.array_equal(before, kept)
        assert not (changed & ~mask).any()
        assert mask.any()
        assert changed[mask].mean() > 0.5  # some shapes are as grey as what is below
        shares += [mask.mean()] * (side == 96)
    assert 0.005 < np.mean(shares) < 0.04
    assert max(shares) < 0.2


def test_every_form_and_place_comes_and_depends_on_the_numbers_alone() -> None:
    masks = np.array([noisy(GREY, seed)[1] for seed in range(300)])
    assert masks[:, :48].any(axis=0).mean() > 0.9
    assert masks[:, 48:].any(axis=0).mean() > 0.9
    assert all(map(np.array_equal, noisy(GREY, 7), noisy(GREY.copy(), 7)))
    assert not np.array_equal(masks[0], masks[1])


@pytest.mark.parametrize("augment", ["none", [A.HorizontalFlip(p=1.0)], [A.Transpose(p=1.0)]])
def test_a_share_of_training_pictures_is_drawn_on_and_the_mask_moves_with_them(augment: Any) -> None:
    transform, plain = (training_transform(48, augment, {"resize": "stretch"}, share) for share in (0.4, 0.0))
    assert plain.drawn_mask([]) == {}
    flat, masks = np.full((48, 48, 3), 120, np.uint8), []
    for seed in range(150):
        torch.manual_seed(seed)
        image, planes = transform(flat, [np.zeros((48, 48), np.uint8)])
        mask = transform.drawn_mask(planes)["drawn_mask"]
        assert (mask.shape, mask.dtype, len(planes)) == ((1, 48, 48), torch.bool, 2)
        changed = (image != 120).any(0)
        assert not (changed & ~mask[0]).any()
        masks.append(torch.stack([mask[0], changed]))
    assert torch.stack(masks)[:, 1].sum() > 0.9 * torch.stack(masks)[:, 0].sum()
    assert abs(sum(bool(mask.any()) for mask in masks) - 60) < 5 * (150 * 0.4 * 0.6) ** 0.5


def test_training_alone_has_it_behind_marks_masks_and_caches(tree: Path) -> None:
    every = {"drawn_noise": 1.0, "augment": "none"}
    plain, module = data(tree), data(tree, **every, cache="memory")
    cached = module.train_set()
    for _ in range(2):
        torch.manual_seed(0)
        found = items(cached)
    for item, before in zip(found, items(plain.train_set()), strict=True):
        where = item["drawn_mask"]
        assert where.any()
        assert all(torch.equal(item[key], before[key]) for key in ("mask", "spurious_mask", "label"))
        assert torch.equal(item["image"][:, ~where[0]], before["image"][:, ~where[0]])
        assert not torch.equal(item["image"], before["image"])
        assert before.keys() == item.keys() - {"drawn_mask"}
    for one, other in zip(
        [module.val_set(), *module.test_sets().values()], [plain.val_set(), *plain.test_sets().values()], strict=True
    ):
        for item, before in zip(items(one), items(other), strict=True):
            assert "drawn_mask" not in item
            assert torch.equal(item["image"], before["image"])


def drawn(module: Any, epochs: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    module.setup("fit")
    torch.manual_seed(3)
    loader = module.train_dataloader()
    return [(batch["image"], batch["drawn_mask"]) for _ in range(epochs) for batch in loader]


def test_epochs_differ_and_workers_do_not_matter(tree: Path) -> None:
    options = {"drawn_noise": 0.5, "augment": "default", "marks": None}
    one, other = drawn(data(tree, **options)), drawn(data(tree, **options, num_workers=2))
    assert all(torch.equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True))
    half = len(one) // 2
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(one[:half], one[half:], strict=True))


def test_none_is_what_it_was(tree: Path) -> None:
    torch.manual_seed(0)
    plain = items(data(tree, augment="default").train_set())
    torch.manual_seed(0)
    off = items(data(tree, augment="default", drawn_noise=0.0).train_set())
    for a, b in zip(plain, off, strict=True):
        assert "drawn_mask" not in a | b
        assert all(torch.equal(a[key], b[key]) for key in ("image", "mask", "spurious_mask"))


def test_every_data_module_of_pictures_takes_it(tree: Path) -> None:
    small = {"train_size": 4, "val_size": 1, "test_size": 1, "image_size": 48}
    scm = SCMDataModule(**small, drawn_noise=1.0, augment="none")
    still = SCMDataModule(**small, augment="none")
    for item, before in zip(items(scm.train_set()), items(still.train_set()), strict=True):
        where = item["drawn_mask"][0]
        assert where.any()
        assert torch.equal(item["noise_mask"], before["noise_mask"])
        assert torch.equal(item["image"][:, ~where], before["image"][:, ~where])
    assert "drawn_mask" not in scm.val_set()[0]
    sets = [data(tree, None, drawn_noise=0.3), data(tree, None)]
    joined = JoinedDataModule(sets, image_size=48, num_workers=0, drawn_noise=1.0)  # type: ignore[arg-type]
    assert all(item["drawn_mask"].any() for item in items(joined.train_set()))
    assert "drawn_mask" not in joined.val_set()[0]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_one_line(share: float, tree: Path) -> None:
    with pytest.raises(InputError, match=r"data.drawn_noise in \[0, 1\], got"):
        data(tree, drawn_noise=share)
