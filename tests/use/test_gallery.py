"""`ibca gallery`: every panel in its place."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ibca_lightning.data.pictures.drawing import attention_panels
from tests.command_line import done, ibca
from tests.training import module, save

STRIP, GAP, SIDE = 34, 4, 96
NAMES = ["MA", "EX"]


def checkpoint(path: Path, seed: int, names: list[str] = NAMES, **options: Any) -> Path:
    """A model whose maps are sharp: 64 px at stride 8."""
    model = module(class_names=names, feature_stride=8, seed=seed, **options)
    model.head.linear.weight.data.mul_(1000)
    model.head.linear.bias.data.copy_(torch.linspace(-1, 1, len(names)) * (1 + seed))
    return save(model, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, two pictures, their masks: EX in both pictures, MA in the second."""
    root = tmp_path_factory.mktemp("gallery")
    (root / "masks").mkdir()
    for seed in (0, 1):
        checkpoint(root / f"{seed}.ckpt", seed)
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"p{seed}.png"), cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_NEAREST))
        mask = np.zeros((64, 64), np.uint8)
        mask[8:24, 16:40] = 2
        if seed == 1:
            mask[40:42, 50:52] = 1
        cv2.imwrite(str(root / "masks" / f"p{seed}.png"), mask)
    return root


def drawn(folder: Path, output: Path, *options: object, models: tuple[int, ...] = (0, 1)) -> np.ndarray:
    done(
        "gallery", "--ckpt_paths", *(folder / f"{i}.ckpt" for i in models), "--names", *("AB"[i] for i in models),
        "--images", folder / "p0.png", folder / "p1.png", "--side", SIDE, "--device", "cpu", "--output", output,
        *options,
    )  # fmt: skip
    return np.asarray(Image.open(output).convert("RGB")).astype(int)


def panel(figure: np.ndarray, row: int, column: int, strip: bool = False) -> np.ndarray:
    top, left = row * (STRIP + SIDE + GAP), column * (SIDE + GAP)
    return figure[top : top + STRIP, left : left + SIDE] if strip else (
        figure[top + STRIP : top + STRIP + SIDE, left : left + SIDE]
    )  # fmt: skip


def yellow(picture: np.ndarray) -> np.ndarray:
    """Viridis ends in yellow: red and green without blue."""
    return picture[..., 0] + picture[..., 1] - 2 * picture[..., 2]


def test_rows_are_pictures_and_lesions_and_columns_are_models(folder: Path, tmp_path: Path) -> None:
    from ibca_lightning.use.predictor import load

    figure = drawn(folder, tmp_path / "deep/figure.png", "--mask_dir", folder / "masks")
    assert figure.shape == (3 * (STRIP + SIDE) + 2 * GAP, 3 * SIDE + 2 * GAP, 3)
    assert (figure[STRIP + SIDE : STRIP + SIDE + GAP] > 250).all()
    assert (figure[:, SIDE : SIDE + GAP] > 250).all()
    for row, (name, label) in enumerate((("p0", 1), ("p1", 0), ("p1", 1))):  # MA is not in p0
        pixels = cv2.cvtColor(cv2.imread(str(folder / f"{name}.png")), cv2.COLOR_BGR2RGB)
        plain = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(int)
        mask = cv2.imread(str(folder / f"masks/{name}.png"), cv2.IMREAD_UNCHANGED) & (1 << label) > 0
        first = panel(figure, row, 0)
        white = (np.abs(first - plain).max(-1) > 60) & (first.min(-1) > 240)
        box = np.argwhere(white)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        expected = 1.5 * np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
        assert [*box.min(0), *(box.max(0) + 1)] == pytest.approx(expected, abs=1.01)
        for column, seed in enumerate((0, 1), start=1):
            model = load(folder / f"{seed}.ckpt", "cpu")
            attention = model.predict(folder / f"{name}.png").attention[label]
            shown = panel(figure, row, column)
            lit = cv2.resize(yellow(shown).astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA)
            assert lit.argmax() == attention.argmax(), (name, label, seed)
        titles = [panel(figure, row, column, strip=True) for column in range(3)]
        assert len({title.tobytes() for title in titles}) == 3
        assert all((title < 60).any() for title in titles)
    assert len({panel(figure, row, 0, strip=True).tobytes() for row in range(3)}) == 3


def test_columns_follow_the_order_of_the_models(folder: Path, tmp_path: Path) -> None:
    one = drawn(folder, tmp_path / "a.png", "--classes", "EX")
    other = drawn(folder, tmp_path / "b.png", "--classes", "EX", models=(1, 0))
    assert one.shape == (2 * (STRIP + SIDE) + GAP, 3 * SIDE + 2 * GAP, 3)
    same, different = (np.abs(panel(one, 1, 1) - panel(other, 1, column)).mean() for column in (2, 1))
    assert 5 * same < different
    assert np.array_equal(panel(one, 0, 2, strip=True), panel(other, 0, 1, strip=True))


def test_without_masks_every_class_has_a_row_and_no_share_in_its_title(folder: Path, tmp_path: Path) -> None:
    plain = drawn(folder, tmp_path / "a.png")
    assert plain.shape[0] == 4 * (STRIP + SIDE) + 3 * GAP
    masked = drawn(folder, tmp_path / "b.png", "--mask_dir", folder / "masks")
    without, share = panel(plain, 1, 1, strip=True), panel(masked, 0, 1, strip=True)
    assert (without < 128).sum() < (share < 128).sum()


def test_a_lesion_of_one_pixel_survives_a_small_panel() -> None:
    image, mask = torch.zeros(3, 384, 384, dtype=torch.uint8), torch.zeros(1, 384, 384, dtype=torch.bool)
    mask[0, 201, 101] = True
    figure = attention_panels(image, torch.full((1, 2, 2), 0.25), ["a"], [0.5], mask, outline=mask[0], side=100)
    for left in (0, 104):
        at = np.argwhere((figure[STRIP:, left : left + 100] == 255).all(-1))
        assert at.mean(0) == pytest.approx([52, 26], abs=1)


def test_wrong_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    checkpoint(tmp_path / "other.ckpt", 0, ["A", "B", "C"])
    models = ("--ckpt_paths", folder / "0.ckpt", "--images", folder / "p0.png", "--output", tmp_path / "x.png")
    for arguments, words in (
        ((*models, "--names", "A", "B"), "1 different --names"),
        ((*models, "--classes", "XX"), "--classes among MA, EX"),
        ((*models, "--classes", "MA", "--mask_dir", folder / "masks"), "a lesion of the --classes"),
        ((*models, "--mask_dir", tmp_path), "p0.png"),
        ((*models, "--side", 3), "--side"),
        ((*models[2:], "--ckpt_paths", folder / "0.ckpt", tmp_path / "other.ckpt"), "models of the classes"),
        ((*models[:4], "--output", folder / "p0.png/x.png"), "--output"),
        (models[2:], "--ckpt_paths"),
    ):
        result = ibca("gallery", *arguments)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["other.ckpt"]
