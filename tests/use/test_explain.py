"""`ibca explain`: the map in its place on the original picture, and nothing lost on the way."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ibca_lightning.data.pictures import header, reading
from ibca_lightning.data.pictures.drawing import Panel, share_on
from ibca_lightning.data.pictures.figure import explanation
from ibca_lightning.metrics.localisation import pair_figures
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.system.hashed_names import HashedNames
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from ibca_lightning.use import explain
from ibca_lightning.use.predictor import Predictor, load
from tests.command_line import contents, done, ibca, rows
from tests.training import checkpoint

NAMES = ["MA", "EX"]
HEIGHT, WIDTH, GAP = 300, 600, 4  # of the picture: 32 of the square's 64 rows, 16 of padding above
STRIP, LINE = 100, 32  # three lines of letters of double size, and one


def chosen(path: Path, thresholds: list[float]) -> Path:
    """The same model, deciding otherwise."""
    record = read_checkpoint(path)
    record[CHECKPOINT_KEY]["thresholds"] = thresholds
    torch.save(record, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that pads, which finds EX everywhere and MA nowhere, and two wide pictures with masks."""
    root = tmp_path_factory.mktemp("explain")
    chosen(checkpoint(root / "x.ckpt", 0, preprocessing={"resize": "pad"}), [1.0, 0.0])
    for name in ("a", "deep/b"):
        for kind in ("images", "masks"):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (10, 20, 3), dtype=np.uint8)
        cv2.imwrite(
            str(root / "images" / f"{name}.png"), cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        )
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[120:180, 200:320] = 2
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)
    return root


def explained(folder: Path, output: Path, *options: object) -> str:
    images = () if "--images" in options else ("--images", folder / "images")
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--device", "cpu", *images, "--output", output)
    return done(*given, *options).out


LISTS = {"explained.csv", "explain.json"}


def written(folder: Path) -> list[str]:
    """What was made of the pictures."""
    assert contents(folder).keys() >= LISTS
    return sorted(contents(folder).keys() - LISTS)


def rows_of_text(figure: np.ndarray, below: int) -> float:
    return float((len(figure) - below - 4) / LINE)


def picture_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_map_lies_on_the_original_picture_where_the_model_looked(folder: Path, tmp_path: Path) -> None:
    out = explained(folder, tmp_path, "--classes", "EX", "MA")
    assert "explained 2 of 2" in out
    assert written(tmp_path) == ["a.npz", "a.png", "deep/b.npz", "deep/b.png"]
    assert rows(tmp_path / "explained.csv") == [{"id": f"{at}.png", "figure": f"{at}.png"} for at in ("a", "deep/b")]
    for name in ("a", "deep/b"):
        figure, original = picture_of(tmp_path / f"{name}.png"), picture_of(folder / "images" / f"{name}.png")
        assert rows_of_text(figure, STRIP + HEIGHT) == 1, "how to read it"
        assert figure.shape[1] == 3 * WIDTH + 2 * GAP
        assert np.array_equal(figure[STRIP : STRIP + HEIGHT, :WIDTH], original), "its own resolution"
        raw = np.load(tmp_path / f"{name}.npz")
        for column, label in ((1, 1), (2, 0)):
            left = column * (WIDTH + GAP)
            shown = figure[STRIP : STRIP + HEIGHT, left : left + WIDTH]
            inside = raw["attention"][label][2:6]  # 16 of 64 rows above and below are padding
            row, middle = np.unravel_index(inside.argmax(), inside.shape)
            assert inside.max() > 2 * np.sort(inside.ravel())[-2], "or this test sees nothing"
            # A cell of 8 x 8 of 64 is 75 x 75 pixels of the original.
            at = 75 * row, 75 * middle
            changed = np.abs(shown - original).sum(-1).astype(np.float32)
            lit = changed[at[0] : at[0] + 75, at[1] : at[1] + 75].mean()
            others = cv2.resize(changed, (8, 4), interpolation=cv2.INTER_AREA)
            assert lit == pytest.approx(others.max(), abs=0.5)
            assert lit > 3 * changed.mean(), "the picture in its own colours"
            assert (changed > 0)[at[0] : at[0] + 75, at[1] : at[1] + 75].mean() > 0.95


def test_the_numbers_are_those_of_predict(folder: Path, tmp_path: Path) -> None:
    explained(folder, tmp_path, "--images", folder / "images/a.png")
    raw, expected = np.load(tmp_path / "a.npz"), load(folder / "x.ckpt", "cpu").predict(folder / "images/a.png")
    assert raw["class_names"].tolist() == NAMES
    assert raw["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert np.array_equal(raw["decisions"], expected.decisions)
    assert raw["attention"] == pytest.approx(expected.attention, abs=1e-6)
    assert raw["thresholds"].tolist() == [1.0, 0.0]
    assert raw["box"].tolist() == pytest.approx([-150, 0, 450, 600])
    assert raw["size"].tolist() == [HEIGHT, WIDTH]


def test_only_found_classes_are_drawn_and_lesions_outlined(folder: Path, tmp_path: Path) -> None:
    explained(folder, tmp_path / "plain")
    explained(folder, tmp_path / "masked", "--mask_dir", folder / "masks")
    plain, masked = (picture_of(tmp_path / name / "a.png") for name in ("plain", "masked"))
    assert plain.shape[1] == 2 * WIDTH + GAP
    assert rows_of_text(plain, STRIP + HEIGHT) == rows_of_text(masked, STRIP + HEIGHT) == 2
    assert (plain[:STRIP] != masked[:STRIP]).any(), "the share on the lesion"
    assert (plain[STRIP + HEIGHT :] != masked[STRIP + HEIGHT :]).any(), "what the white line is"
    changed = np.argwhere((plain != masked).any(-1)[STRIP : STRIP + HEIGHT, WIDTH + GAP :])
    assert changed.min(0) == pytest.approx([120, 200], abs=3.01)  # a line of two pixels and its dark edge
    assert changed.max(0) == pytest.approx([179, 319], abs=3.01)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.png").write_bytes((folder / "masks/a.png").read_bytes())
    result = ibca(
        "explain", "--ckpt_path", folder / "x.ckpt", "--images", folder / "images", "--output", tmp_path / "part",
        "--mask_dir", tmp_path / "one",
    )  # fmt: skip
    assert (result.code, "no mask of 1 pictures, deep/b.png first" in result.err) == (0, True), result.err
    for path, same in (("a.png", "masked"), ("deep/b.png", "plain")):
        one, two = (picture_of(tmp_path / name / path) for name in ("part", same))
        assert np.abs(one - two).max() <= 1, "a colour may be rounded the other way where the batch is another"
    none = chosen(checkpoint(tmp_path / "none.ckpt", 0), [1.0, 1.0])
    done("explain", "--ckpt_path", none, "--images", folder / "images/a.png", "--output", tmp_path / "none")
    assert picture_of(tmp_path / "none/a.png").shape == (STRIP - LINE + HEIGHT, WIDTH, 3)


def test_several_models_stand_side_by_side_and_classes_are_matched_by_name(folder: Path, tmp_path: Path) -> None:
    """The second model has the classes in another order and one more, and stretches where the first pads."""
    runs = [tmp_path / name / "checkpoints" for name in ("one", "two")]
    for run in runs:
        run.mkdir(parents=True)
    (runs[0] / "best.ckpt").write_bytes((folder / "x.ckpt").read_bytes())
    checkpoint(runs[1] / "best.ckpt", 1, ["HE", "EX", "MA"])
    images, sheet, out = folder / "images", tmp_path / "sheet.png", tmp_path / "out"
    given = ("explain", "--ckpt_path", *(run / "best.ckpt" for run in runs), "--device", "cpu", "--output", out)
    masks = ("--mask_dir", folder / "masks", "--images", images / "a.png")
    result = done(*given, *masks, "--classes", "EX", "MA", "--sheet", sheet)
    assert "these classes, which are not drawn: HE" in result.err
    figure, original = picture_of(out / "a.png"), picture_of(images / "a.png")
    strip, tile = STRIP, STRIP + HEIGHT
    assert rows_of_text(figure, 2 * tile + GAP) == 2
    assert figure.shape[1] == 3 * WIDTH + 2 * GAP
    raw = np.load(out / "a.npz")
    for row, name in enumerate(("EX", "MA")):
        top = row * (tile + GAP) + strip
        first = figure[top : top + HEIGHT, :WIDTH]
        changed = np.argwhere((first != original).any(-1))
        assert (len(changed) > 0) == (name == "EX"), "the lesion alone"
        assert name == "MA" or changed.min(0) == pytest.approx([120, 200], abs=3.01)
        for column, model in ((1, "one"), (2, "two")):
            at = raw[f"{model}/class_names"].tolist().index(name)
            attention = raw[f"{model}/attention"][at]
            attention = attention[2:6] if model == "one" else attention  # without the padding
            left = column * (WIDTH + GAP)
            shown = figure[top : top + HEIGHT, left : left + WIDTH]
            change = np.abs(shown - first).sum(-1).astype(np.float32)
            cells = cv2.resize(change, attention.shape[::-1], interpolation=cv2.INTER_AREA)
            assert cells[np.unravel_index(attention.argmax(), cells.shape)] > 0.5 * cells.max()
    expected = load(runs[1] / "best.ckpt", "cpu").predict(images / "a.png")
    assert raw["two/probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert raw["two/box"].tolist() == [0, 0, HEIGHT, WIDTH]
    assert picture_of(sheet).shape == figure.shape
    assert (picture_of(sheet) == figure).all(), "in its own colours"
    at = given.index("--ckpt_path")
    swapped = ibca(*given[: at + 1], given[at + 2], given[at + 1], *given[at + 3 :], *masks, "--names", "two", "one")
    assert (swapped.code, "explanations of the same checkpoints" in swapped.errors[0]) == (2, True), swapped.err
    checkpoint(runs[1] / "best.ckpt", 1, ["A"])
    for more, words in (((), "a class in common"), (("--names", "x", "x"), "2 different --names")):
        result = ibca(*given, *masks, "--overwrite", *more)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]


def test_a_picture_is_decoded_once_and_a_batch_says_what_single_pictures_say(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, decoded, forwarded = tmp_path / "images", Counter[str](), list[int]()
    images.mkdir()
    for at in range(5):
        pixels = np.random.default_rng(at).integers(0, 256, (10, 20, 3), dtype=np.uint8)
        large = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(images / f"{at}.{'png' if at else 'jpg'}"), large)
    checkpoint(tmp_path / "y.ckpt", 1)
    decode, forward = reading.decode_bytes, Predictor.forward

    def counted(data: np.ndarray, path: str, flag: int) -> np.ndarray:
        decoded[Path(path).name] += 1
        return decode(data, path, flag)

    def watched(self: Predictor, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        forwarded.append(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(reading, "decode_bytes", counted)
    monkeypatch.setattr(Predictor, "forward", watched)
    given = ("explain", "--ckpt_path", folder / "x.ckpt", tmp_path / "y.ckpt", "--images", images, "--device", "cpu")
    for size, batches in ((3, [3, 3, 2, 2]), (1, [1] * 10)):
        done(*given, "--output", tmp_path / str(size), "--batch_size", size, "--names", "x", "y")
        # A JPEG much larger than the model's square is decoded small for the model, as training did, and whole.
        assert decoded == {"0.jpg": 2} | {f"{at}.png": 1 for at in range(1, 5)}
        assert forwarded == batches
        decoded.clear(), forwarded.clear()
    for at in range(5):
        one, other = (np.load(tmp_path / str(size) / f"{at}.npz") for size in (3, 1))
        assert set(one.files) == set(other.files)
        for name in (name for name in one.files if "class_names" not in name):
            assert one[name] == pytest.approx(other[name], abs=1e-5), name


def test_several_processes_explain_what_one_does_whoever_is_killed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, drawn = tmp_path / "images", list[str]()
    images.mkdir()
    for at in range(6):
        (images / f"{at}.png").write_bytes((folder / f"images/{'deep/b' if at % 2 else 'a'}.png").read_bytes())
    (images / "4.png").write_bytes(b"junk")
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--images", images, "--device", "cpu", "--batch_size", 1)
    given = (*given, "--max_side", 64)
    one = ibca(*given, "--output", tmp_path / "one", "--sheet", tmp_path / "one.png")
    monkeypatch.setenv("WORLD_SIZE", "2")
    png = explain.write_png

    def killed(path: Path, pixels: np.ndarray) -> None:
        drawn.append(Path(path).name)
        if drawn == ["0.png", "1.png"]:
            raise KeyboardInterrupt
        png(path, pixels)

    monkeypatch.setattr(explain, "write_png", killed)
    two = (*given, "--output", tmp_path / "two", "--sheet", tmp_path / "two.png")
    found = []
    for rank in (0, 1, 0):
        monkeypatch.setenv("RANK", str(rank))
        found.append(ibca(*two))
    assert [result.code for result in found] == [130, 0, 2]
    assert drawn == ["0.png", "1.png", "3.png", "5.png", "1.png", "2.png", "two.png"], "nothing twice that was done"
    assert found[1].err == "process 2 of 2: 2 pictures\n"
    assert found[2].errors[0].replace("two/failed", "one/failed") == one.errors[0]
    assert contents(tmp_path / "two").keys() == contents(tmp_path / "one").keys()
    for name in ("explained.csv", "failed.csv"):
        assert sorted((tmp_path / "two" / name).read_text().split()) == sorted(
            (tmp_path / "one" / name).read_text().split()
        )
    for name in ("0", "1", "2", "3", "5"):
        assert np.abs(picture_of(tmp_path / f"one/{name}.png") - picture_of(tmp_path / f"two/{name}.png")).max() <= 1
    assert np.abs(picture_of(tmp_path / "one.png") - picture_of(tmp_path / "two.png")).max() <= 1
    refused = ibca(*two, "--overwrite")
    assert (refused.code, "one process for --overwrite, got 2" in refused.errors[0]) == (2, True)


def test_a_process_that_begins_late_does_not_stumble_over_the_others_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--device", "cpu", "--images", folder / "images")
    given, outputs = (*given, "--max_side", 64, "--output", tmp_path / "out"), explain._outputs

    def late(*arguments: object) -> dict[str, Path]:
        monkeypatch.setattr(explain, "_outputs", outputs)
        monkeypatch.setenv("RANK", "0")
        done(*given)
        return outputs(*arguments)

    monkeypatch.setattr(explain, "_outputs", late)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert "explained 2 of 2" in done(*given).out


def test_only_figures_of_these_pictures_are_replaced_and_all_are_there_at_the_end(folder: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name in ("a.bmp", "a.png", "b.png"):
        (images / name).write_bytes((folder / "images/a.png").read_bytes())
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--device", "cpu", "--output", output, "--max_side", 64)
    first = (*given, "--images", images / "a.bmp")
    done(*first)
    (output / "b.npz").write_bytes(b"of others")
    (tmp_path / "c.png").write_bytes(b"of others")
    before = contents(tmp_path)
    for refused, words in (
        ((*given, "--images", images / "a.png"), "the figure of a.bmp"),
        ((*given, "--images", images / "a.bmp", images / "a.png"), "one at a.png"),
        ((*given, "--images", images / "b.png"), "a file of others"),
        ((*first, "--sheet", tmp_path / "c.png"), "of the same sheet"),
        ((*first, "--sheet", output / "a.npz"), "none of the pictures"),
    ):
        result = ibca(*refused)
        assert (result.code, len(result.errors), words in result.err) == (2, 1, True), result.err
        assert contents(tmp_path) == before
    for name in ("a.png", "a.npz"):
        (output / name).unlink()
        assert "explained 1 of 1" in done(*first).out
        assert contents(tmp_path).keys() == before.keys()
    assert len(rows(output / "explained.csv")) == 1
    figure = picture_of(output / "a.png")
    (output / "a.png").write_bytes(b"spoilt")
    done(*first, "--overwrite")
    assert (picture_of(output / "a.png") == figure).all()


def test_a_figure_may_be_larger_than_a_picture_of_strangers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "MAX_PIXELS", HEIGHT * WIDTH)
    sheet = tmp_path / "sheet.png"
    for _ in range(2):  # the second call takes it for its own
        explained(folder, tmp_path / "out", "--images", folder / "images/a.png", "--sheet", sheet)
        assert (picture_of(sheet) == picture_of(tmp_path / "out/a.png")).all()


def test_bf16_is_near(folder: Path, tmp_path: Path) -> None:
    for precision in ("32", "bf16"):
        explained(folder, tmp_path / precision, "--precision", precision)
    full, half = (np.load(tmp_path / precision / "a.npz") for precision in ("32", "bf16"))
    assert (full["attention"] != half["attention"]).any()
    assert half["probabilities"] == pytest.approx(full["probabilities"], abs=0.05)
    moved = np.abs(half["attention"] - full["attention"]).sum((1, 2)) / 2
    assert moved.max() < 0.2, "of an attention that sums to 1"


def test_the_share_on_the_lesion_is_the_energy_of_the_test() -> None:
    generator = torch.Generator().manual_seed(0)
    attention = torch.rand(1, 1, 5, 7, generator=generator)
    attention /= attention.sum()
    mask = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    mask[..., 20:31, 9:40] = True
    expected = pair_figures(attention, mask, torch.ones(1, 1, dtype=torch.int8))["energy"]
    assert share_on(attention[0, 0], mask[0, 0]) == pytest.approx(float(expected), abs=1e-6)


def test_what_the_model_did_not_see_has_no_colour() -> None:
    picture = np.full((400, 400, 3), 90, np.uint8)
    panel = Panel(np.full((2, 2), 0.25, np.float32), ["a", ""], box=(0.25, 0.5, 0.75, 1.0))
    figure = explanation(picture, [Panel(None, ["t"]), panel])[34:434, 404:]
    gray, edge = (figure == 90).all(-1), 4  # of a line
    assert gray[: 100 - edge].all()
    assert gray[300 + edge :].all()
    assert gray[:, : 200 - edge].all()
    assert not gray[100:300, 200:].any()


@pytest.mark.parametrize(
    ("size", "shown"), [((20, 10), (256, 192)), ((3000, 1000), (500, 192)), ((400, 300), (400, 300))]
)
def test_large_pictures_are_shrunk_to_the_cap_and_small_ones_enlarged(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    figure = explanation(np.zeros((*size, 3), np.uint8), [Panel(None, ["a name", ""])], max_side=500)
    assert figure.shape[:2] == (34 + shown[0], shown[1])


@pytest.mark.parametrize(("classes", "columns", "rows"), [(4, 5, 1), (5, 3, 2), (8, 5, 2), (40, 7, 6)])
def test_many_classes_stand_in_even_rows(classes: int, columns: int, rows: int) -> None:
    panels = [Panel(np.full((2, 2), 0.25, np.float32), ["a"])] * classes
    figure = explanation(np.zeros((256, 256, 3), np.uint8), [Panel(None, ["t"]), *panels])
    tile = 18 + 256
    panels, words = np.split(figure, [rows * (tile + GAP) - GAP])
    assert panels.shape[1] == columns * (256 + GAP) - GAP
    assert len(words) in (18, 34)
    assert (panels[-200:, -256:] == 255).all() == (columns * rows > classes + 1)


def test_a_picture_that_cannot_be_read_is_listed_and_the_rest_is_done(folder: Path, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    good = (folder / "images/a.png").read_bytes()
    (images / "1.png").write_bytes(good)
    (images / "2.png").write_bytes(good[:99])
    (images / "3.png").write_bytes(good)
    (images / "3.bmp").write_bytes(good)  # of one stem: named with its ending
    (images / "notes.txt").write_text("none")
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--images", images, "--output", output)
    result = ibca(*given)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "2.png" in result.errors[0]
    assert written(output) == sorted(
        ["1.npz", "1.png", "3.bmp.npz", "3.bmp.png", "3.png.npz", "3.png.png", "failed.csv"]
    )
    assert [(row["id"], "truncated" in row["reason"]) for row in rows(output / "failed.csv")] == [("2.png", True)]
    before = contents(output)
    again = ibca(*given)
    assert (again.code, again.errors) == (2, result.errors), "tried again"
    assert contents(output) == before
    for forgotten in ("explain.json", "explained.csv"):
        (output / forgotten).unlink()
    refused = ibca(*given)
    assert (refused.code, "--overwrite" in refused.errors[0]) == (2, True), "somebody's files"
    (images / "2.png").unlink()
    note = f"note: 1 files are no pictures and are passed over: {str(images / 'notes.txt')!r}"
    assert note in done(*given, "--overwrite").err.splitlines()
    assert not (output / "failed.csv").exists()
    other = ibca(*given, "--max_side", 100)
    assert (other.code, "explanations of the same max_side" in other.errors[0]) == (2, True)
    (output / "1.png").write_bytes(b"spoilt")
    assert "explained 3 of 3" in done(*given, "--max_side", 100, "--overwrite").out
    assert picture_of(output / "1.png").shape[2] == 3, "made again"


def test_a_pattern_is_expanded_and_pictures_are_never_written_over(folder: Path, tmp_path: Path) -> None:
    explained(folder, tmp_path, "--images", folder / "images" / "**" / "[b]*.png")
    assert written(tmp_path) == ["deep/b.npz", "deep/b.png"]
    before = contents(folder)
    for options in ((), ("--overwrite",)):
        result = ibca(
            "explain", "--ckpt_path", folder / "x.ckpt", "--images", folder / "images", "--output", folder / "images",
            *options,
        )  # fmt: skip
        assert (result.code, len(result.errors)) == (2, 1), result.err
    assert contents(folder) == before


def test_a_table_of_paths_is_explained_and_none_leaves_the_output(folder: Path, tmp_path: Path) -> None:
    """With the masks found by the same path, which may be absolute or lead upwards."""
    table, output = tmp_path / "list.csv", tmp_path / "out"
    table.write_text(f"file\n{folder}/images/a.png\n../images/deep/b.png\n")
    options = ("--image_column", "file", "--image_dir", folder / "masks", "--classes", "EX")
    explained(folder, output, "--images", table, *options)
    names = [f"{str(folder).lstrip('/')}/images/a", "images/deep/b"]
    assert written(output) == sorted(f"{name}.{kind}" for name in names for kind in ("npz", "png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "out"]
    masks = tmp_path / "masks"
    for name in names:
        (masks / name).parent.mkdir(parents=True)
        (masks / f"{name}.png").write_bytes((folder / "masks/a.png").read_bytes())
    explained(folder, output, "--images", table, *options, "--mask_dir", masks, "--overwrite")
    assert picture_of(output / f"{names[0]}.png").shape[0] > STRIP + HEIGHT
    table.write_text(f"file\n../images/a.png\n{folder}/images/a.png\nimages/a.png\n")
    result = ibca(
        "explain", "--ckpt_path", folder / "x.ckpt", "--images", table, *options[:4], "--output", output, "--overwrite"
    )
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "one picture for" in result.errors[0]


def test_wrong_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--output", tmp_path / "out", "--images")
    for arguments, words in (
        ((folder / "images", "--classes", "XX"), "--classes among MA, EX"),
        ((tmp_path / "*.png",), "that fits"),
        ((tmp_path / "none",), "nothing there"),
        ((folder / "images/a.png", folder / "masks/a.png"), "names that differ"),
        ((folder / "images", "--max_side", 3), "--max_side"),
        ((folder / "images", "--batch_size", 0), "--batch_size"),
        ((folder / "images", "--names", "A", "B"), "1 different --names"),
        ((folder / "images", "--sheet", folder / "images/a.png"), "none of the pictures"),
        ((folder / "images/a.png", "--mask_dir", tmp_path), "masks with the names of these pictures"),
    ):
        result = ibca(*given, *arguments)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]
    assert not list(tmp_path.iterdir())


def test_names_are_hashed_where_asked(folder: Path, tmp_path: Path) -> None:
    images, key, output = tmp_path / "images", tmp_path / "key", tmp_path / "out"
    (images / "jane").mkdir(parents=True)
    (images / "jane/1.png").write_bytes((folder / "images/a.png").read_bytes())
    (images / "jane/2.png").write_bytes(b"junk")
    key.write_bytes(b"0123456789abcdef")
    given = ("explain", "--ckpt_path", folder / "x.ckpt", "--images", images, "--output", output, "--device", "cpu")
    result = ibca(*given, "--hash_names", "--hash_key", key)
    good, bad = (HashedNames(b"0123456789abcdef")(f"jane/{at}.png") for at in (1, 2))
    assert written(output) == sorted([f"{good}.png", f"{good}.npz", "failed.csv"])
    (row,) = rows(output / "failed.csv")
    assert row["id"] == bad
    assert bad in row["reason"]
    assert "jane" not in result.err + "".join((output / name).read_text() for name in ("failed.csv", *LISTS))
    assert str(images) not in (output / "explain.json").read_text()
