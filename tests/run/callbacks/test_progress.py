import re

from ibca_lightning.run.callbacks.progress import EpochLines, ProgressBar
from tests.training import Pictures, loader, module, trainer


def test_a_line_an_epoch_with_loss_and_map(capsys):
    pictures, model = Pictures(8), module()
    run = trainer(max_epochs=2, callbacks=[EpochLines()])
    run.fit(model, loader(pictures), loader(pictures))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert [line.split(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    shown = re.search(r"loss (\S+), val loss (\S+), val mAP (\S+), \d+ s", lines[1])
    metrics = run.callback_metrics
    assert [f"{float(metrics[n]):.4f}" for n in ("train/loss_epoch", "val/loss", "val/mAP")] == list(shown.groups())


def test_the_bar_shows_loss_and_map_and_nothing_else():
    class Bar(ProgressBar):
        seen = None

        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            Bar.seen = self.get_metrics(trainer, pl_module)

    pictures = Pictures(8)
    run = trainer(enable_progress_bar=True, callbacks=[Bar()])
    run.fit(module(), loader(pictures), loader(pictures))
    assert set(Bar.seen) == {"loss", "val mAP"}
