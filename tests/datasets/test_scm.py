"""The synthetic pictures: what the structural causal model promises must hold in what is drawn."""

import dataclasses
import functools
import itertools
import math
import multiprocessing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from ibca_lightning.data.sampling import BalancedSampler
from ibca_lightning.datasets.scm.datamodule import SCMDataModule
from ibca_lightning.datasets.scm.pictures import CLASS_NAMES, FREQUENCY, draw_picture, plan_picture
from ibca_lightning.system.errors import InputError
from tests.datasets.contract import DataModuleContract

SIZE, COUNT = 96, 150


@functools.cache
def plans(rho: float, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Labels and marks (count, L) of many plans; no pixel is drawn."""
    labels, marks = np.zeros((2, count, len(CLASS_NAMES)), bool)
    for i in range(count):
        plan = plan_picture((7, 0, i), rho, SIZE)
        labels[i] = plan.labels
        marks[i, [item.index for item in plan.items if item.kind == "mark"]] = True
    return labels, marks


class TestSCMContract(DataModuleContract):
    class_names: ClassVar = list(CLASS_NAMES)
    rows: ClassVar = {"train": 20, "val": 6, "same": 5, "independent": 5, "reversed": 5}
    has_masks = True
    has_files = False

    def write(self, root: Path) -> None:
        """Nothing: pictures are drawn."""

    def module(self, root: Path, **common: Any) -> SCMDataModule:
        return SCMDataModule(train_size=20, val_size=6, test_size=5, **common)


def within(count: int, trials: int, probability: float) -> bool:
    """Five standard deviations of the binomial: a right draw fails once in a million."""
    return abs(count - trials * probability) <= 5 * math.sqrt(trials * probability * (1 - probability)) + 1e-9


@pytest.fixture(scope="module")
def data() -> SCMDataModule:
    module = SCMDataModule(train_size=40, val_size=40, test_size=COUNT, augment="none")
    module.setup()
    return module


@pytest.fixture(scope="module")
def sets(data: SCMDataModule) -> dict[str, list[dict]]:
    loaders = dict(zip(data.test_names, data.test_dataloader(), strict=True))
    return {name: [loader.dataset[i] for i in range(COUNT)] for name, loader in loaders.items()}


def _picture_in_another_process(index: int) -> bytes:
    return draw_picture(plan_picture((0, 0, index), 0.95, SIZE), SIZE).image.tobytes()


def test_a_picture_is_the_same_in_any_order_and_process():
    wanted = [_picture_in_another_process(i) for i in range(4)]
    assert len(set(wanted)) == 4
    with multiprocessing.get_context("fork").Pool(1) as pool:  # another process, without another import of torch
        assert pool.map(_picture_in_another_process, [3, 1, 2, 0]) == [wanted[i] for i in (3, 1, 2, 0)]


def test_a_picture_does_not_depend_on_how_many_there_are_nor_on_torch_seeds(data):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  the global state must not matter
    other = SCMDataModule(train_size=3, val_size=1, test_size=1, augment="none")
    few, many = other.train_set(), data.train_dataloader().dataset
    for i in range(3):
        assert torch.equal(few[i]["image"], many[i]["image"])
        assert few[i]["id"] == many[i]["id"] == f"train/{i:06d}.png"


def test_another_seed_gives_other_pictures_and_labels():
    one, two = (SCMDataModule(train_size=20, seed=seed, augment="none").train_set() for seed in (0, 1))
    assert not any(torch.equal(one[i]["image"], two[i]["image"]) for i in range(20))
    assert not np.array_equal(one.labels, two.labels)


def test_splits_hold_different_pictures(data):
    train, val = data.train_dataloader().dataset, data.val_dataloader().dataset
    test = data.test_dataloader()[0].dataset
    for a, b in itertools.combinations((train, val, test), 2):
        assert not any(torch.equal(a[i]["image"], b[j]["image"]) for i in range(20) for j in range(20))


@pytest.mark.parametrize("rho", [0.95, 0.5, 0.05])
def test_frequencies_of_labels_and_marks(rho):
    labels, marks = plans(rho)
    for label, mark in zip(labels.T, marks.T, strict=True):
        assert within(int(label.sum()), len(label), FREQUENCY)
        assert within(int((mark & label).sum()), int(label.sum()), rho)
        assert within(int((mark & ~label).sum()), int((~label).sum()), 1 - rho)


def test_marks_depend_on_their_own_label_alone():
    labels, marks = plans(0.5)
    for mark, label in itertools.product(marks.T, labels.T):
        assert within(int((mark & label).sum()), int(label.sum()), 0.5)


def test_labels_come_in_pairs():
    # P(both over the threshold) of a bivariate normal: 1/4 + asin(r)/2pi holds at threshold 0 only, so by quadrature.
    labels, _ = plans(0.95)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    threshold = 0.524400512708041
    x = threshold + (nodes + 1) / 2 * (8 - threshold)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    expected = dict.fromkeys(itertools.combinations(range(6), 2), 0.09)
    for pair, r in {(0, 1): 0.6, (2, 3): 0.6, (4, 5): 0.4}.items():
        tail = [0.5 * math.erfc((threshold - r * v) / math.sqrt(2 * (1 - r * r))) for v in x]
        expected[pair] = float((weights * density * tail).sum() * (8 - threshold) / 2)
    assert expected[0, 1] == pytest.approx(0.17, abs=0.005)  # what the docstring says
    assert expected[4, 5] == pytest.approx(0.14, abs=0.005)
    for (i, j), probability in expected.items():
        assert within(int((labels[:, i] & labels[:, j]).sum()), len(labels), probability), (i, j)


def test_test_sets_are_one_set_under_three_mechanisms(sets):
    for same, independent, reverse in zip(*sets.values(), strict=True):
        for other in (independent, reverse):
            assert torch.equal(same["label"], other["label"])
            assert torch.equal(same["mask"], other["mask"])
            assert torch.equal(same["noise_mask"], other["noise_mask"])
            touched = (same["spurious_mask"] ^ other["spurious_mask"]).any(0)
            assert torch.equal(same["image"][:, ~touched], other["image"][:, ~touched])


@pytest.mark.parametrize(("name", "rho"), [("same", 0.95), ("independent", 0.5), ("reversed", 0.05)])
def test_masks_of_a_set_follow_labels_and_rho(sets, name, rho):
    labels = torch.stack([item["label"] for item in sets[name]]).bool()
    causes = torch.stack([item["mask"].flatten(1).any(1) for item in sets[name]])
    marks = torch.stack([item["spurious_mask"].flatten(1).any(1) for item in sets[name]])
    assert torch.equal(causes, labels)
    assert within(int(marks[labels].sum()), int(labels.sum()), rho)
    assert within(int(marks[~labels].sum()), int((~labels).sum()), 1 - rho)


@pytest.mark.parametrize("kind", ["cause", "mark", "noise"])
def test_leaving_a_thing_out_changes_its_mask_and_nothing_else(kind):
    changed = painted = seen = 0
    for i in range(25):
        plan = plan_picture((3, 0, i), 0.5, SIZE)
        whole = draw_picture(plan, SIZE)
        for item in plan.items:
            if item.kind != kind:
                continue
            less = draw_picture(
                dataclasses.replace(plan, items=tuple(other for other in plan.items if other is not item)), SIZE
            )
            alone = draw_picture(dataclasses.replace(plan, items=(item,)), SIZE)
            mask = getattr(alone, kind).any(0)
            difference = (whole.image != less.image).any(-1)
            assert not (difference & ~mask).any()
            if kind != "noise":
                assert np.array_equal(getattr(whole, kind)[item.index], mask)
            changed, painted, seen = changed + int(difference.sum()), painted + int(mask.sum()), seen + 1
    assert seen > 20
    assert changed > 0.8 * painted  # the rest lies under another thing, in the dark, or is too faint for 8 bits


def test_a_mark_lies_apart_from_the_lesion_of_its_class(sets):
    cells = torch.nn.MaxPool2d(8)  # a map of 12 x 12
    shared = pairs = 0
    for item in sets["same"]:
        cause, mark = (cells(item[key].float()) > 0 for key in ("mask", "spurious_mask"))
        both = cause.flatten(1).any(1) & mark.flatten(1).any(1)
        shared += int((cause & mark).flatten(1).any(1).sum())
        pairs += int(both.sum())
    assert pairs > COUNT
    assert shared < 0.01 * pairs


def test_pictures_are_light_and_dark_smooth_and_alive(sets):
    images = torch.stack([item["image"] for item in sets["same"]]).float()
    brightness = images.mean((1, 2, 3))
    assert brightness.min() < 60 < 110 < brightness.max()
    assert (images[:, 0].mean((1, 2)) > images[:, 2].mean((1, 2))).all()  # tissue is red
    neighbours = (images[..., 1:] - images[..., :-1]).abs().mean()
    shuffled = (images[..., torch.randperm(SIZE)[1:]] - images[..., torch.randperm(SIZE)[1:]]).abs().mean()
    assert neighbours < 0.35 * shuffled


def test_a_lesion_has_one_size_relative_to_the_picture():
    small, large = (draw_picture(plan_picture((0, 0, 1), 0.95, size), size) for size in (96, 192))
    assert small.cause.any()
    for a, b in zip(small.cause, large.cause, strict=True):
        assert b.mean() == pytest.approx(a.mean(), rel=0.15)


def test_augmented_masks_stay_on_their_lesions():
    # Turned by 90 degrees, which needs no interpolation, picture and masks must agree with a turn of both.
    import albumentations as A

    plain = SCMDataModule(train_size=8, augment="none").train_set()
    turned = SCMDataModule(train_size=8, augment=[A.Transpose(p=1.0)]).train_set()
    for i in range(8):
        for key in ("image", "mask", "spurious_mask", "noise_mask"):
            assert torch.equal(turned[i][key], plain[i][key].transpose(-1, -2)), key


@pytest.mark.parametrize(
    "wrong", [{"rho": 1.5}, {"rho": -0.1}, {"train_size": 0}, {"seed": -1}, {"image_size": 31}, {"test_size": 2.5}]
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        SCMDataModule(**wrong)


def test_training_pictures_can_be_drawn_by_class() -> None:
    data = SCMDataModule(image_size=32, train_size=8, val_size=1, test_size=1, balanced_sampling=True)
    assert isinstance(data.train_dataloader().sampler, BalancedSampler)
