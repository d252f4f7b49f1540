import re

import pytest
import torch

from ibca_lightning.run.callbacks.progress import EpochLines, ProgressBar, _duration
from tests.model.test_checkpoint import small_ibca
from tests.training import Pictures, loader, module, trainer


def test_a_line_an_epoch_with_loss_and_map(capsys):
    pictures, model = Pictures(8), module()
    run = trainer(max_epochs=2, callbacks=[EpochLines()])
    run.fit(model, loader(pictures), loader(pictures))
    said = capsys.readouterr().err
    legend = "(loss: of the classes, as val loss is; mAP: the mean over classes of the average precision)\n"
    assert said.count(legend) == said.count("(loss") == 1
    lines = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert [line.split(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    shown = re.search(r"loss (\S+), val loss (\S+), val mAP (\S+) \(best (\S+)\), \d+ s$", lines[1])
    metrics = run.callback_metrics
    assert [f"{float(metrics[n]):.4f}" for n in ("train/classification", "val/loss", "val/mAP")] == list(
        shown.groups()[:3]
    )
    first = re.search(r"val mAP (\S+) \(best (\S+)\), \d+ s, about \d+ s left$", lines[0])
    assert first[1] == first[2]
    assert float(shown[4]) == max(float(first[1]), float(shown[3]))


def test_an_epoch_without_a_validation_shows_none_of_its_figures(capsys):
    pictures = Pictures(8)
    trainer(max_epochs=3, check_val_every_n_epoch=2, callbacks=[EpochLines()]).fit(
        module(), loader(pictures), loader(pictures)
    )
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("epoch", "("))]
    assert ["val" in line for line in said if line.startswith("epoch")] == [False, True, False]
    assert said[0] == "(loss: of the classes, as val loss is)"
    assert said[2] == "(mAP: the mean over classes of the average precision)", "said where it is first shown"


def test_the_best_survives_a_resumption(capsys, tmp_path):
    pictures, path = Pictures(8), tmp_path / "x.ckpt"
    run = trainer(max_epochs=1, callbacks=[EpochLines()])
    run.fit(module(), loader(pictures), loader(pictures))
    run.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    (state,) = (state for name, state in checkpoint["callbacks"].items() if "EpochLines" in name)
    state["best"] = 2.0  # as no later epoch reaches
    torch.save(checkpoint, path)
    trainer(max_epochs=2, callbacks=[EpochLines()]).fit(module(), loader(pictures), loader(pictures), ckpt_path=path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]  # warnings may follow
    assert "(best 2.0000)" in lines[-1]


def test_the_losses_of_the_head_stand_apart_from_the_one_that_validation_has(capsys):
    pictures = Pictures(8)
    run = trainer(max_epochs=1, callbacks=[EpochLines()])
    run.fit(module(head=small_ibca), loader(pictures), loader(pictures))
    shown = re.search(r"epoch 1/1, loss (\S+), head ([+-]\S+), val loss", capsys.readouterr().err)
    whole, own = (float(run.callback_metrics[name]) for name in ("train/loss_epoch", "train/classification"))
    assert [float(part) for part in shown.groups()] == pytest.approx([own, whole - own], abs=1e-4)


@pytest.mark.parametrize(
    ("seconds", "said"), [(8, "8 s"), (89, "89 s"), (95, "2 min"), (5000, "83 min"), (7200, "2 h")]
)
def test_what_is_left_is_said_in_a_unit_that_fits(seconds, said):
    assert _duration(seconds) == said


def test_the_bar_shows_loss_and_map_and_nothing_else():
    class Bar(ProgressBar):
        seen = None

        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            Bar.seen = self.get_metrics(trainer, pl_module)

    pictures = Pictures(8)
    run = trainer(enable_progress_bar=True, callbacks=[Bar()])
    run.fit(module(), loader(pictures), loader(pictures))
    assert set(Bar.seen) == {"whole loss", "val mAP"}


def test_the_bar_says_of_which_epoch_an_older_figure_is():
    seen = {}

    class Bar(ProgressBar):
        def on_train_batch_end(self, trainer, *arguments):
            super().on_train_batch_end(trainer, *arguments)
            seen[trainer.current_epoch + 1] = [*self.get_metrics(trainer, trainer.lightning_module)][1:]

    pictures = Pictures(8)
    run = trainer(max_epochs=6, check_val_every_n_epoch=3, enable_progress_bar=True, callbacks=[Bar()])
    run.fit(module(), loader(pictures), loader(pictures))
    old = ["val mAP of epoch 3"]
    assert seen == {1: [], 2: [], 3: [], 4: ["val mAP"], 5: old, 6: old}
