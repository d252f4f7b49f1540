import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.pictures.drawing import Panel, share_on
from ibca_lightning.data.pictures.figure import explanation
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.metrics.calibration import calibrated
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.callbacks.attention_pictures import AttentionPictures
from tests.run.callbacks.fake_wandb import FakeWandb
from tests.training import Data, Pictures, best, loader, module, sgd, trainer


def names(folder):
    return sorted(path.name for path in (folder / "attention").iterdir())


def test_the_same_pictures_each_time_no_more_than_the_limit_and_every_class_among_them(tmp_path):
    pictures, chosen = Pictures(30, masks=True), []
    for turn, batch_size in enumerate((8, 5)):
        folder = tmp_path / str(turn)
        run = trainer(max_epochs=2, callbacks=[AttentionPictures(folder, per_class=2, limit=4)])
        run.fit(module(seed=turn), loader(pictures), loader(pictures, batch_size))
        chosen.append(names(folder))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) <= 4
    shown = torch.stack([pictures.label[int(name.split("_")[2].removesuffix(".png"))] for name in chosen[0]])
    assert (shown.sum(0) >= 1).all()
    assert chosen[0][0].startswith("val_p")


class Ranks(Callback):
    """Makes the validations good, then bad, by turning the pictures' probabilities round."""

    def on_validation_epoch_start(self, trainer, pl_module):
        with torch.no_grad():
            weight = pl_module.head.linear.weight
            weight.copy_(weight.abs() * (1 if trainer.current_epoch == 0 else -1))


def test_the_pictures_on_disk_belong_to_the_best_checkpoint(tmp_path):
    pictures = Pictures(16, masks=True)
    run = trainer(max_epochs=3, callbacks=[Ranks(), AttentionPictures(tmp_path), best(tmp_path)])
    model = module(feature_stride=8, optimizer=sgd(0.0), calibration="platt")
    run.fit(model, loader(pictures), loader(pictures))
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    model = module(feature_stride=8).eval()
    model.load_state_dict(checkpoint["state_dict"])
    for name in names(tmp_path):
        at = int(name.split("_")[2].removesuffix(".png"))
        present = (pictures.label[at] == 1).nonzero().flatten()
        with torch.no_grad():
            output = model(pictures.image[at : at + 1])
        record = checkpoint["ibca"]
        assert record["calibration"]["scale"] != [1, 1, 1]
        probabilities = calibrated(output.logits, record["calibration"])[0].tolist()
        panels = []
        for c in present:
            verdict = "found" if probabilities[c] > record["thresholds"][c] else "not found"
            title = [f"class {c}", f"{verdict}: p = {probabilities[c]:.2f}, threshold {record['thresholds'][c]:.2f}"]
            energy = share_on(output.attention[0, c], pictures.mask[at, c])
            panels.append(
                Panel(
                    output.attention[0, c].numpy(),
                    [*title, f"8 x 8 cells, {100 * energy:.0f} % on the lesion"],
                    pictures.mask[at, c].numpy(),
                )
            )
        found = [f"class {c}" for c in range(3) if probabilities[c] > record["thresholds"][c]]
        shown = ", ".join(f"class {c}" for c in present)
        title = [f"p{at // 2}/{at}.png", f"shows: {shown}", f"found: {', '.join(found) or 'none'}"]
        expected = explanation(pictures.image[at].permute(1, 2, 0).numpy(), [Panel(None, title), *panels])
        found = np.asarray(Image.open(tmp_path / "attention" / name))
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 2, name


def test_a_picture_is_drawn_in_its_own_proportions(tmp_path):
    """The model sees a square, into which a picture twice as wide as high is stretched, or padded."""
    names = encode([f"{at}.png" for at in range(3)])
    for name in names:
        cv2.imwrite(str(tmp_path / name.decode()), np.random.default_rng(0).integers(0, 255, (256, 512, 3), np.uint8))
    table = Table("t.csv", str(tmp_path), np.arange(3, dtype=np.int32), names, np.eye(3, dtype=np.int8), names)
    shapes = []
    for resize in ("stretch", "pad"):
        run = trainer(callbacks=[AttentionPictures(tmp_path / resize)])
        run.validate(module(), loader(PictureDataset(table, Transform(64, resize))), verbose=False)
        shapes.append(np.asarray(Image.open(tmp_path / resize / "attention" / "val_0.png")).shape)
    assert [shape[1] for shape in shapes] == [2 * 256 + 4] * 2
    assert shapes[1][0] - shapes[0][0] == 128


def test_a_resumed_run_keeps_the_better_pictures_of_before(tmp_path):
    pictures, callback = Pictures(16), AttentionPictures(tmp_path)
    trainer(callbacks=[callback, best(tmp_path)]).fit(module(), loader(pictures), loader(pictures))
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    later = AttentionPictures(tmp_path)
    later.load_state_dict(checkpoint["callbacks"]["AttentionPictures"])
    before = {name: (tmp_path / "attention" / name).stat().st_mtime_ns for name in names(tmp_path)}
    worse = module(seed=1)
    worse.head.linear.weight.data.neg_()
    trainer(callbacks=[later]).validate(worse, loader(_inverted(pictures)), verbose=False)
    assert {name: (tmp_path / "attention" / name).stat().st_mtime_ns for name in names(tmp_path)} == before


def _inverted(pictures):
    inverted = Pictures(len(pictures))
    inverted.label = 1 - inverted.label
    inverted.label[3:] = 0  # one class at most, ranked at random: no mAP to speak of
    return inverted


def test_sanity_checking_writes_nothing(tmp_path):
    class Stop(Callback):
        def on_train_start(self, trainer, pl_module):
            assert not (tmp_path / "attention").exists()
            raise KeyError("stopped here")

    pictures = Pictures(8)
    run = trainer(num_sanity_val_steps=2, callbacks=[AttentionPictures(tmp_path), Stop()])
    with pytest.raises(KeyError):
        run.fit(module(), loader(pictures), loader(pictures))


def test_of_several_test_sets_the_first_is_drawn_and_no_id_leaves_the_folder(tmp_path):
    class Odd(Pictures):
        def __getitem__(self, at):
            return super().__getitem__(at) | {"id": f"../{'眼底' * 120}/{at}.a.png"}

    run = trainer(callbacks=[AttentionPictures(tmp_path / "run", limit=3)])
    run.test(module(), datamodule=Data({"one": Odd(6), "two": Pictures(6, seed=1)}))
    found = names(tmp_path / "run")
    assert len(found) == 3
    assert all(name.startswith("test_") and name.endswith(".a.png") for name in found)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("offline", "log_images", "sent"),
    [(True, False, False), (True, True, True), (False, False, False), (False, True, True)],
)
def test_pictures_go_to_wandb_only_when_asked_for(offline, log_images, sent, tmp_path):
    logger = FakeWandb(offline)
    run = trainer(logger=logger, callbacks=[AttentionPictures(tmp_path, log_images=log_images)])
    run.test(module(), datamodule=Data({"test": Pictures(8)}))
    expected = [(f"attention/test_{number}", 1) for number in range(len(names(tmp_path)))]
    assert logger.sent == (expected if sent else [])
    assert expected


def test_no_name_stands_in_a_picture_that_is_sent(tmp_path):
    class Keeps(FakeWandb):
        def log_image(self, key, images, **kwargs):
            self.sent.append((key, images[0]))

    class Named(Pictures):
        def __getitem__(self, at):
            return super().__getitem__(at) | {"id": f"jane/{at}.png"}

    sent, drawn = [], []
    for number, kind in enumerate((Pictures, Named)):
        logger = Keeps(offline=True)
        run = trainer(logger=logger, callbacks=[AttentionPictures(tmp_path / str(number), limit=3, log_images=True)])
        run.test(module(), datamodule=Data({"test": kind(8)}))
        sent.append(dict(logger.sent))
        drawn.append([np.asarray(Image.open(tmp_path / str(number) / "attention" / name)) for name in
                      names(tmp_path / str(number))])  # fmt: skip
    assert sent[0].keys() == sent[1].keys()
    for key, picture in sent[0].items():
        # Two runs: a colour may be rounded apart.
        assert np.abs(np.asarray(picture, int) - sent[1][key]).max() <= 1, key
    assert not all(np.array_equal(*pair) for pair in zip(*drawn, strict=True)), "those on disk bear theirs"
