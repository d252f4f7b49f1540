"""A run that stops being finite says where: the layer or the parameter, and the pictures of the step."""

import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from ibca_lightning.heads import GAPHead
from ibca_lightning.losses import Loss
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.divergence import diverged, first_non_finite_layer, gradient_peaks
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.system.errors import NonFiniteError
from tests.training import Pictures, best, last, loader, module, sgd, trainer


class AtStep(Callback):
    """Does something to the model before the forward pass of a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            self.act(pl_module)


def stops(model, *callbacks, pictures=None, **options):
    """The message of a run on 16 pictures, 4 a batch, that must stop."""
    pictures = pictures or Pictures(16)
    run = trainer(max_epochs=3, callbacks=list(callbacks), **options)
    with pytest.raises(NonFiniteError) as stopped:
        run.fit(model, loader(pictures, 4), loader(pictures))
    return str(stopped.value)


def poison(name):
    def act(model):
        model.get_parameter(name).data[0] = math.nan

    return act


def adamw(groups):
    return torch.optim.AdamW(groups, lr=1e-3)


class Later(Callback):
    """Has steps read as on a GPU, when the next one is queued."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        pl_module._watch.at_once = False


@pytest.mark.parametrize(("compiled", "later"), [("none", []), ("all", []), ("none", [Later()])])
def test_the_layer_whose_weight_is_not_finite_is_named_and_the_pictures_of_the_step(compiled, later):
    name = "backbone.model.layer2.0.conv2"
    model = module(compile=compiled, compile_backend="eager", optimizer=adamw if later else sgd())
    said = stops(model, *later, AtStep(5, poison(f"{name}.weight")))
    assert f"first in layer {name}, whose weight is not finite, at epoch 1, step 5" in said
    assert "(pictures p2/4.png, p2/5.png, p3/6.png, p3/7.png)" in said
    assert "got classification nan" in said


class Overflows(GAPHead):
    """A layer with finite weights and a finite input whose output is not; behind it a sound one."""

    def __init__(self, channels, num_labels):
        super().__init__(channels, num_labels)
        self.scale = Grows()

    def forward(self, features, labels=None):
        return super().forward(self.scale(features) if self.training else features, labels)


class Grows(nn.Module):
    def forward(self, x):
        return (x + 1e20) * 1e20


def test_the_first_layer_is_named_and_not_those_behind_it():
    said = stops(module(head=Overflows))
    assert "first in layer head.scale, at epoch 0, step 0" in said


def test_what_no_layer_gave_is_said_to_be_of_the_loss_or_of_what_stands_between_layers():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert "in no layer when run again" in first_non_finite_layer(model, lambda: model(torch.ones(1, 2)))
    found = first_non_finite_layer(model, lambda: model(torch.full((1, 2), math.inf)))
    assert found == "first in layer 0, whose input is not finite already"
    assert not any(layer._forward_hooks for layer in model.modules())


class Infinite(Loss):
    def forward(self, logits, labels):
        return logits.sum() + math.inf


@pytest.mark.parametrize("scaler", [None, object()])
def test_an_infinite_loss_stops_the_run_also_where_float16_scales_the_gradients(scaler):
    """Its scaler would skip the step of such a loss, one step after the other: a run that learns nothing."""
    run = SimpleNamespace(
        estimated_stepping_batches=4, current_epoch=0, global_step=0, precision_plugin=SimpleNamespace(scaler=scaler)
    )
    model, pictures = module(loss=Infinite()), Pictures(2)
    model._trainer = run
    batch = {"image": pictures.image, "label": pictures.label, "id": ["a.png", "b.png"]}
    with pytest.raises(NonFiniteError, match=r"a finite training loss, got classification inf .*in the loss.*a\.png"):
        model.training_step(batch, 0)


class NoSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


class BadSlope(GAPHead):
    """A finite loss whose gradient is not, from a third of the training on."""

    def forward(self, features, labels=None):
        output = super().forward(features, labels)
        if not self.training or self.progress < 0.3:
            return output
        return output._replace(logits=output.logits + 0 * NoSlope.apply(self.linear.weight).sum())


@pytest.mark.parametrize(("clip", "later"), [(None, []), (1.0, []), (1.0, [Later()])])
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step_and_before_any_checkpoint(clip, later, tmp_path):
    pictures, model = Pictures(16), module(head=BadSlope, ema_decay=0.5, optimizer=adamw if later else sgd())
    saved = (best(tmp_path), last(tmp_path))
    said = stops(model, *later, *saved, pictures=pictures, accumulate_grad_batches=2, gradient_clip_val=clip)
    assert "got NaN or infinity in that of head.linear.weight at epoch 1, step 2" in said
    assert "pictures p0/0.png" in said
    assert "p3/7.png)" in said  # both accumulated batches, and none of an earlier step
    assert all(p.isfinite().all() for p in model.parameters())
    for name in ("best", "last"):
        checkpoint = read_checkpoint(tmp_path / f"{name}.ckpt")
        assert checkpoint["epoch"] == 0
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_statistics_that_are_not_finite_are_not_saved(tmp_path):
    def act(model):
        model.get_buffer("backbone.model.bn1.running_var").fill_(math.inf)

    pictures = Pictures(8)
    run = trainer(max_epochs=2, check_val_every_n_epoch=9, callbacks=[AtStep(3, act), last(tmp_path)])
    with pytest.raises(NonFiniteError, match=r"backbone\.model\.bn1\.running_var at epoch 1"):
        run.fit(module(), loader(pictures, 4), loader(pictures))
    assert read_checkpoint(tmp_path / "last.ckpt")["epoch"] == 0


def test_large_gradients_whose_norm_overflows_are_finite():
    layer = nn.Linear(2, 2)
    for p in layer.parameters():
        p.grad = torch.full_like(p, 3e38)
    assert gradient_peaks(layer.named_parameters())[1].isfinite().all()
    layer.bias.grad[1] = math.nan
    names, peaks = gradient_peaks(layer.named_parameters())
    assert (names, peaks.isfinite().tolist()) == (["weight", "bias"], [True, False])
    assert gradient_peaks([])[1].isfinite().all()


def test_gradients_that_overflow_in_float16_are_left_to_its_scaler():
    model = module()
    model.head.linear.bias.grad = torch.full_like(model.head.linear.bias, math.inf)
    model._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=object()))
    model.on_before_optimizer_step(None)
    model._trainer = SimpleNamespace(precision_plugin=SimpleNamespace(), current_epoch=0, global_step=1)
    with pytest.raises(NonFiniteError, match=r"head\.linear\.bias"):
        model.on_before_optimizer_step(None)


@pytest.mark.parametrize("validated", [True, False])
def test_what_is_read_later_is_read_before_a_validation_and_at_the_end_of_an_epoch(validated, monkeypatch):
    """The fault is in the last step of an epoch, and behind a validation the end of the epoch does not look."""
    if validated:
        monkeypatch.setattr(MultiLabelModule, "on_train_epoch_end", lambda self: None)
    run = trainer(
        max_epochs=3, check_val_every_n_epoch=1 if validated else 9,
        callbacks=[Later(), AtStep(3, poison("head.linear.weight"))],
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match="at epoch 0, step 3"):
        run.fit(module(optimizer=adamw), loader(Pictures(16), 4), loader(Pictures(16)))
    assert run.global_step == 4


def test_a_message_names_as_many_pictures_as_a_line_takes():
    said = [str(diverged("a loss", (0, 1), [str(i) for i in range(count)])) for count in (3, 64)]
    assert "(pictures 0, 1, 2)" in said[0]
    assert ", 15 and 48 more)" in said[1]
