import random

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data.loader import make_loader
from ibca_lightning.data.pictures.default_augmentation import DefaultAugmenter, _movement
from ibca_lightning.data.pictures.masks import pack, resize_bits, unpack
from ibca_lightning.data.pictures.transforms import evaluation_transform, training_transform
from ibca_lightning.data.sampling import EpochSampler
from ibca_lightning.system.errors import InputError

STRETCH = {"resize": "stretch"}


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (32, 32), (31, 90), (500, 77), (64, 65)])
@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_any_picture_becomes_a_square_of_bytes(shape: tuple[int, int], resize: str) -> None:
    image = np.full((*shape, 3), (10, 20, 30), np.uint8)
    mask = np.full(shape, 3, np.uint8)
    tensor, (bits,) = evaluation_transform(32, {"resize": resize})(image, [mask])
    assert tensor.shape == (3, 32, 32)
    assert tensor.dtype == torch.uint8
    inside = torch.from_numpy(bits == 3)
    assert torch.equal(tensor[:, inside].unique(dim=1), torch.tensor([[10], [20], [30]], dtype=torch.uint8))
    if resize == "pad":
        assert (tensor[:, ~inside] == 0).all()
        longest = max(shape)
        assert inside.sum() == max(1, round(shape[0] * 32 / longest)) * max(1, round(shape[1] * 32 / longest))
        assert inside.any(0).sum() == 32 or inside.any(1).sum() == 32
    else:
        assert inside.all()


def test_padding_by_hand() -> None:
    image = np.full((2, 4, 3), 9, np.uint8)
    tensor, _ = evaluation_transform(4, {"resize": "pad"})(image)
    assert tensor[0].tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]


@pytest.mark.parametrize("seed", range(5))
def test_no_lesion_is_lost_when_a_mask_shrinks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 300, 2)
    row, column, bit = rng.integers(height), rng.integers(width), rng.integers(8)
    mask = np.zeros((height, width), np.uint8)
    mask[row, column] = 1 << bit
    small = resize_bits(mask, 20, 20)
    ((found_row, found_column),) = np.argwhere(small)
    assert small[found_row, found_column] == 1 << bit
    # The cell that holds it covers the pixel, within one pixel of the file.
    assert found_row * height / 20 - 1 <= row <= (found_row + 1) * height / 20
    assert found_column * width / 20 - 1 <= column <= (found_column + 1) * width / 20


def test_masks_grow_by_the_nearest_pixel() -> None:
    mask = np.array([[1, 2], [4, 8]], np.uint8)
    assert np.array_equal(resize_bits(mask, 4, 6), np.kron(mask, np.ones((2, 3), np.uint8)))


def test_packing_is_undone_by_unpacking() -> None:
    masks = np.random.default_rng(0).random((11, 5, 6)) > 0.5
    planes = pack(masks)
    assert [plane.dtype for plane in planes] == [np.uint8] * 2
    assert np.array_equal(unpack(planes, 11).numpy(), masks)
    with pytest.raises(ValueError, match="expected 2 planes"):
        unpack(planes[:1], 11)


def test_large_pictures_shrink_without_aliasing() -> None:
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    tensor, _ = evaluation_transform(20, STRETCH)(image)
    assert (tensor.float() - 127.5).abs().max() < 3


def test_the_default_augmentation_moves_masks_with_pictures() -> None:
    torch.manual_seed(0)
    transform = training_transform(64, "default", STRETCH)
    image = np.zeros((64, 64, 3), np.uint8)
    image[5:25, 30:60] = 255
    plain = 0
    for _ in range(30):
        tensor, (bits,) = transform(image, [(image[..., 0] > 0).astype(np.uint8)])
        # Contrast may darken the square, and never brings it below the background.
        square = tensor[0].float() > (tensor[0].float().max() + tensor[0].float().min()) / 2
        both = (square & torch.from_numpy(bits > 0)).sum() / (square | torch.from_numpy(bits > 0)).sum()
        assert both > 0.9
        plain += bool(np.array_equal(tensor[0].numpy(), image[..., 0]))
    assert plain < 10


def test_the_default_augmentation_is_flips_then_a_movement_then_light_and_leaves_its_input_alone() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8), (0, 0), 2)
    mask = cv2.resize(rng.integers(0, 4, (12, 12), dtype=np.uint8), (48, 48), interpolation=cv2.INTER_NEAREST)
    kept = image.copy(), mask.copy()
    for seed in range(40):
        torch.manual_seed(seed)
        draw = random.Random(int(torch.randint(2**31 - 1, ())))
        pixels, plane = image, mask
        for code in (1, 0):
            if draw.random() < 0.5:
                pixels, plane = cv2.flip(pixels, code), cv2.flip(plane, code)
        if draw.random() < 0.5:
            matrix = _movement(draw, 48, 48)
            pixels = cv2.warpAffine(pixels, matrix, (48, 48))
            plane = cv2.warpAffine(plane, matrix, (48, 48), flags=cv2.INTER_NEAREST)
        expected = pixels.astype(float)
        if draw.random() < 0.5:
            contrast, brightness = (1 + draw.uniform(-0.2, 0.2) for _ in range(2))
            expected = (expected - 127.5) * contrast + 127.5 + 255 * (brightness - 1)
        torch.manual_seed(seed)
        found, (bits,) = DefaultAugmenter()(image, [mask])
        # Two matrices or their product: sums are rounded differently.
        assert np.abs(found - expected.clip(0, 255)).max() < 2.6
        assert (bits != plane).mean() < 0.01
    assert np.array_equal(image, kept[0])
    assert np.array_equal(mask, kept[1])


@pytest.mark.parametrize("augment", ["default", [A.HorizontalFlip(), A.Affine(rotate=30), A.GaussNoise()]])
def test_the_pictures_of_a_pair_are_augmented_alike_each_on_its_side(augment: str | list[A.BasicTransform]) -> None:
    """A flip of the whole would swap them, a turn or shift would bring parts of one to the other."""
    own = np.zeros((64, 32, 3), np.uint8)
    own[8:30, 4:14] = 200
    pair = np.hstack([own, own])
    only_left = np.hstack([own, np.zeros_like(own)])
    transform = training_transform(64, augment, STRETCH | {"pair": "yes"})
    moved = 0
    for seed in range(30):
        torch.manual_seed(seed)
        image, (bits,) = transform(pair, [pair[..., 0]])
        assert torch.equal(image[..., :32], image[..., 32:])
        assert (bits[:, :32] == bits[:, 32:]).all()
        torch.manual_seed(seed)
        _, (bits,) = transform(only_left, [only_left[..., 0]])
        assert not bits[:, 32:].any()
        assert bits[:, :32].any()
        moved += int((bits != only_left[..., 0]).any())
    assert moved > 10


def test_transforms_of_one_list_draw_independently() -> None:
    torch.manual_seed(0)
    image = np.zeros((8, 8, 3), np.uint8)
    image[0, 1] = 255
    transform = training_transform(8, [A.HorizontalFlip(p=0.5), A.OneOf([A.VerticalFlip(p=1.0)], p=0.5)], STRETCH)
    ends = [tuple(torch.nonzero(transform(image)[0][0])[0].tolist()) for _ in range(400)]
    counts = {end: ends.count(end) for end in ends}
    assert counts.keys() == {(0, 1), (0, 6), (7, 1), (7, 6)}
    assert min(counts.values()) > 70  # 100 expected


def test_none_is_evaluation() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    one, _ = training_transform(32, "none", STRETCH)(image)
    two, _ = evaluation_transform(32, STRETCH)(image)
    assert torch.equal(one, two)


@pytest.mark.parametrize(
    "augment", [[A.Normalize()], [A.CenterCrop(16, 16)], [A.ToTensorV2()]], ids=["float", "smaller", "tensor"]
)
def test_augmentations_that_change_size_or_type_are_refused(augment: list[A.BasicTransform]) -> None:
    transform = training_transform(32, augment, STRETCH)
    with pytest.raises(InputError, match=r"shape \(32, 32, 3\) and type uint8, got"):
        transform(np.zeros((40, 40, 3), np.uint8))


def test_wrong_augment_and_preprocessing_are_refused() -> None:
    with pytest.raises(InputError, match="list of albumentations"):
        training_transform(32, ["flip"], STRETCH)  # type: ignore[list-item]
    for wrong in ({}, {"resize": "crop"}, {"resize": "pad", "crop": 3}, {"resize": "pad", "pair": "no"}):
        with pytest.raises(InputError, match="preprocessing"):
            evaluation_transform(32, wrong)


class Same(torch.utils.data.Dataset[torch.Tensor]):
    """One picture over and over, so that equal draws show as equal items."""

    def __init__(self) -> None:
        self.transform = training_transform(8, [A.OneOf([A.GaussNoise(p=1.0)], p=1.0)], STRETCH)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, at: int) -> torch.Tensor:
        return self.transform(np.full((8, 8, 3), 128, np.uint8))[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_two_draws_are_alike_in_any_worker_epoch_or_rank(workers: int) -> None:
    def epochs(rank: int) -> list[bytes]:
        dataset = Same()
        loader = make_loader(dataset, 4, workers, sampler=EpochSampler(dataset, 0, 2, rank), rank=rank)
        return [item.numpy().tobytes() for _ in range(2) for batch in loader for item in batch]

    drawn = epochs(0), epochs(1)
    assert len({*drawn[0], *drawn[1]}) == 2 * 24
    assert epochs(0) == drawn[0]


@pytest.mark.parametrize("shape", [(20, 31), (40, 50), (63, 40), (64, 40), (40, 64), (100, 70)])
def test_pictures_are_resized_by_opencv_linearly_and_from_a_factor_of_2_by_area(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    tensor, _ = evaluation_transform(32, STRETCH)(image)
    by_method = {
        method: np.array_equal(tensor.permute(1, 2, 0).numpy(), cv2.resize(image, (32, 32), interpolation=method))
        for method in (cv2.INTER_LINEAR, cv2.INTER_AREA)
    }
    assert by_method == {cv2.INTER_LINEAR: max(shape) < 64, cv2.INTER_AREA: max(shape) >= 64}
