"""What waits for a figure of the validation, where a validation does not come every epoch, or not at all."""

from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau as Watching
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ibca_lightning.run.callbacks.last_checkpoint import LastCheckpoint
from ibca_lightning.system.errors import InputError
from tests.training import Pictures, loader, module, sgd, trainer

PLATEAU = partial(ReduceLROnPlateau, mode="max", factor=0.5, patience=0)


class Rates(Callback):
    """The learning rate that each epoch begins with; ends the run at a step, where one is given."""

    def __init__(self, end=None):
        self.rates, self.end = {}, end

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates[trainer.current_epoch + 1] = trainer.optimizers[0].param_groups[0]["lr"]

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.end:
            raise KeyError("the end")


def frozen(**options):
    """A model whose order of the pictures, so its mAP, does not move."""
    return module(optimizer=sgd(1.0), freeze_backbone=True, learning_rate=1e-6, **options)


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"check_val_every_n_epoch": 2}, [4, 4, 4, 4, 2, 2, 1]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 3}, [4, 4, 4, 2, 2, 1, 0.5]),  # of 2 batches an epoch
        ({"val_check_interval": 1}, [4, 4, 2, 1, 0.5, 0.25, 0.125]),
    ],
)
def test_a_scheduler_of_plateaus_sees_each_validation_once(options, rates):
    pictures, seen = Pictures(8), Rates()
    run = trainer(max_epochs=7, callbacks=[seen], **options)
    run.fit(frozen(scheduler=PLATEAU), loader(pictures, 4), loader(pictures, 4))
    assert [round(rate * 4e6, 6) for rate in seen.rates.values()] == rates


def test_a_run_that_stops_between_a_validation_and_the_end_of_its_epoch_loses_no_figure(tmp_path):
    pictures, whole = Pictures(10), Rates()
    given = {"max_epochs": 3, "val_check_interval": 3, "enable_checkpointing": True}  # of 5 batches an epoch

    def fit(*callbacks, **more):
        run = trainer(**given, callbacks=[LastCheckpoint(str(tmp_path), 1), *callbacks])
        run.fit(frozen(scheduler=PLATEAU), loader(pictures, 2), loader(pictures, 2), **more)

    fit(whole)
    with pytest.raises(KeyError, match="the end"):
        fit(Rates(end=9))  # before the last step of the second epoch
    again = Rates()
    fit(again, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert again.rates == {3: whole.rates[3]}
    assert whole.rates[3] == pytest.approx(whole.rates[2] / 2)


def test_what_is_saved_as_soon_as_a_validation_ends_holds_its_figure(tmp_path):
    """As `best.ckpt` is: callbacks hear of the end of a validation before the module does."""

    class Saving(Callback):
        def on_validation_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "best.ckpt")

    pictures = Pictures(10)
    run = trainer(max_epochs=2, check_val_every_n_epoch=2, enable_checkpointing=True, callbacks=[Saving()])
    run.fit(frozen(scheduler=PLATEAU), loader(pictures, 2), loader(pictures, 2))
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)["ibca_training"]["score"]
    assert saved is not None
    assert saved in (
        run.callback_metrics["val/mAP"],
        run.callback_metrics["val/monitor"],
        run.callback_metrics["val/loss"],
    )


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"limit_val_batches": 0}, "limit_val_batches 0"),
        ({"check_val_every_n_epoch": 5}, "every_n_epoch 5 in 1 epochs"),
    ],
)
@pytest.mark.parametrize(
    ("options", "callbacks", "what"),
    [
        ({"early_stopping_patience": 3}, [], "early stopping"),
        ({}, [EarlyStopping("val/mAP")], "early stopping"),
        ({}, [EarlyStopping("val_tuned/CF1")], "early stopping"),
        ({"scheduler": PLATEAU}, [], "ReduceLROnPlateau"),
        ({}, [ModelCheckpoint(monitor="val/mAP", mode="max", dirpath="nowhere")], "ModelCheckpoint"),
    ],
    ids=["patience", "callback", "at thresholds", "plateau", "checkpoint"],
)
def test_without_a_validation_nothing_waits_for_one(options, callbacks, what, limit, why):
    run = trainer(callbacks=callbacks, **limit)
    with pytest.raises(InputError, match=f"a validation for {what} to wait for, got trainer.*{why}; let it validate"):
        run.fit(module(**options), loader(Pictures(8)), loader(Pictures(8)))
    assert run.global_step == 0


def test_a_checkpoint_that_needs_no_validation_is_saved_without_one(tmp_path):
    for name, given in {"loss": {"monitor": "train/loss_epoch"}, "each": {}}.items():
        own = ModelCheckpoint(tmp_path, filename=name, save_weights_only=True, **given)
        run = trainer(callbacks=[own], enable_checkpointing=True, limit_val_batches=0)
        run.fit(module(), loader(Pictures(8)), loader(Pictures(8)))
        assert (tmp_path / f"{name}.ckpt").is_file()


def test_what_watches_training_needs_no_validation():
    seen = Rates()
    run = trainer(max_epochs=3, callbacks=[seen, EarlyStopping("train/loss_epoch")], limit_val_batches=0)
    rises = partial(Watching, monitor="train/loss_epoch", threshold=10.0, factor=0.5, patience=0)  # never enough
    run.fit(frozen(scheduler=rises), loader(Pictures(8)), loader(Pictures(8)))
    assert seen.rates[3] == pytest.approx(seen.rates[1] / 4)
