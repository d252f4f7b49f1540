"""What marks look like on a picture: where they may lie, what they leave alone, the same in another process."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.option import Marks
from ibca_lightning.marks.painter import Painter, draw_mark
from ibca_lightning.marks.placing import Ground, pooled

CLASSES = list(map(str, range(len(KINDS))))


def picture(side: int = 96, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(90, 170, (side, side, channels)).astype(np.uint8)


def drawn(
    kind: str, pixels: NDArray[np.uint8], lesion: NDArray[np.bool_] | None = None, seed: int = 0
) -> NDArray[np.bool_]:
    mask = np.zeros(pixels.shape[:2], bool)
    ground = Ground.of(pixels, np.zeros(pixels.shape[:2], bool) if lesion is None else lesion)
    draw_mark(kind, np.random.default_rng(seed), pixels, ground, mask)
    return mask


def painter(shown: NDArray[np.bool_], seed: int = 0) -> Painter:
    every = Marks(1.0, seed=seed).painter(["x.png"], np.ones((1, len(KINDS)), np.int8), CLASSES)
    return Painter(every.kinds, every.numbers, shown[None])


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_is_seen_varies_and_changes_nothing_outside_of_its_mask(kind: str) -> None:
    masks = []
    for seed, (side, channels) in enumerate([(96, 3), (96, 3), (64, 1), (97, 5), (224, 3)]):
        before = picture(side, channels)
        after = before.copy()
        mask = drawn(kind, after, seed=seed)
        changed = (after != before).any(axis=2)
        assert not (changed & ~mask).any()
        assert changed.sum() > 0.5 * mask.sum() > 0
        assert mask.mean() < 0.2
        masks.append(mask)
    assert not np.array_equal(masks[0], masks[1])


def test_no_mark_lies_on_a_lesion_however_little_room_there_is() -> None:
    missing = 0
    for seed, share in enumerate([0.02, 0.1, 0.3, 0.5, 0.8, 0.95] * 3):
        rng = np.random.default_rng(seed)
        lesion = np.kron(rng.random((6, 6)) < share, np.ones((16, 16), bool))
        lesion |= rng.random((96, 96)) < 0.001  # single pixels
        for kind in list(KINDS)[seed % 3 :: 3]:
            mask = drawn(kind, picture(seed=seed), lesion, seed)
            assert not (mask & lesion).any()
            missing += not mask.any()
    assert missing < 0.25 * 18 * len(KINDS) / 3
    assert not drawn("hair", picture(), np.ones((96, 96), bool)).any()


def test_which_marks_are_drawn_moves_no_other() -> None:
    every, some = np.ones(len(KINDS), bool), np.arange(len(KINDS)) % 3 == 0
    before = picture(192)
    (all_pixels, all_masks), (pixels, masks) = (painter(shown).paint(0, "x.png", before) for shown in (every, some))
    assert np.array_equal(masks[some], all_masks[some])
    assert not masks[~some].any()
    assert np.array_equal(before, picture(192))
    others = all_masks[~some].any(axis=0)
    assert np.array_equal(pixels[~others], all_pixels[~others])
    again, none = painter(some).paint(0, "x.png", before), painter(~every).paint(0, "x.png", before)
    assert np.array_equal(again[0], pixels)
    assert np.array_equal(none[0], before)
    assert not np.array_equal(painter(some).paint(0, "y.png", before)[0], pixels)
    assert not np.array_equal(painter(some, seed=1).paint(0, "x.png", before)[0], pixels)


def test_what_the_scope_does_not_light_has_no_ink() -> None:
    dark = picture(128)
    dark[:, :64] = 0
    for kind in ("ink_dots", "stain", "hair", "glare", "instrument"):
        mask = np.mean([drawn(kind, dark.copy(), seed=seed)[:, :64].mean() for seed in range(6)])
        assert mask < 0.003, kind


def test_marks_are_the_same_in_another_process() -> None:
    code = "from tests.marks.test_drawing import digest; print(digest())"
    given = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert given.stdout.strip() == digest()


def digest() -> str:
    pixels, masks = painter(np.ones(len(KINDS), bool)).paint(0, "x.png", picture(128))
    return hashlib.sha256(pixels.tobytes() + masks.tobytes()).hexdigest()


def test_cells_are_whole_pixels_whatever_the_side() -> None:
    for side in (32, 97, 100, 224, 299, 384):
        cell = Ground.of(picture(side), np.zeros((side, side), bool)).cell
        assert side % cell == 0
        assert side // cell >= 32
    mask = np.zeros((4, 4), bool)
    mask[3, 0] = True
    assert pooled(mask, 2).tolist() == [[False, False], [True, False]]
