import copy
import itertools
import json
import math
import warnings
from functools import partial
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from ibca_lightning.heads import GAPHead, HeadOutput, IBCAHead
from ibca_lightning.losses import FocalLoss
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.thresholds import choose_thresholds
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.callbacks.results import WriteResults
from ibca_lightning.system.errors import InputError, NonFiniteError
from tests.training import Data, Pictures, best, last, loader, module, probabilities, sgd, trainer


class Rates(Callback):
    """The learning rate of every group, and the head's progress, at every step."""

    def __init__(self):
        self.rates, self.progress = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append({group["part"]: group["lr"] for group in optimizer.param_groups})
        self.progress.append(float(pl_module.head.progress))


class Biases(Callback):
    """Sets the head's bias before each validation: the loss changes, the order of the pictures does not."""

    def __init__(self, *values):
        self.values, self.losses = values, []

    def on_validation_epoch_start(self, trainer, pl_module):
        with torch.no_grad():
            pl_module.head.linear.bias.fill_(self.values[trainer.current_epoch])

    def on_validation_end(self, trainer, pl_module):
        self.losses.append(float(trainer.callback_metrics["val/loss"]))


# --- one step -----------------------------------------------------------------------------------------------------


def test_uint8_pictures_are_normalised_with_the_backbones_own_statistics():
    pictures, model = Pictures(4), module(backbone="mobilenetv3_small_050").eval()
    assert torch.allclose(model(pictures.image).logits.sigmoid(), probabilities(model, pictures), atol=1e-6)
    assert len(set(model.backbone.mean)) == 3  # else a mixed-up channel would not show


@pytest.mark.parametrize("head", [GAPHead, IBCAHead])
def test_logged_loss_is_the_classification_loss_plus_the_heads_own(head):
    pictures, model = Pictures(8, known=False), module(head=head)
    twin = copy.deepcopy(model).train().requires_grad_(False)
    run = trainer()
    run.fit(model, loader(pictures), loader(pictures))
    logged = {name: float(value) for name, value in run.callback_metrics.items() if name.startswith("train/")}
    parts = [v for name, v in logged.items() if not name.startswith("train/loss")]
    assert len(parts) == (1 if head is GAPHead else 3)
    assert logged["train/loss_epoch"] == pytest.approx(sum(parts), rel=1e-5)
    if head is GAPHead:  # deterministic: the loss once more from its definition
        p, y = twin(pictures.image).logits.sigmoid(), pictures.label
        known = [-math.log(float(p[i, c] if y[i, c] else 1 - p[i, c])) for i, c in (y >= 0).nonzero().tolist()]
        assert logged["train/classification"] == pytest.approx(sum(known) / len(known), rel=1e-4)


def test_the_loss_of_a_step_is_asked_of_other_processes_only_where_it_is_logged(monkeypatch: pytest.MonkeyPatch):
    class Seen(Callback):
        def on_train_batch_end(self, trainer, *_):
            losses.append(float(trainer.callback_metrics["train/loss_step"]))

    def reduce(value, *_, reduce_op=None, **__):
        if reduce_op != "mean":  # Lightning's own questions before the first step
            return value
        asked.append(run.global_step)
        return value + 100

    losses, asked = [], []
    run = trainer(log_every_n_steps=2, callbacks=[Seen()])
    monkeypatch.setattr(run.strategy, "reduce", reduce)
    run.fit(module(), loader(Pictures(8), 2))
    assert asked == [1, 3]
    assert [loss > 100 for loss in losses] == [False, True, False, True]
    assert float(run.callback_metrics["train/loss_epoch"]) < 100
    assert not run.progress_bar_metrics, "which waits for the device whenever it is looked at"


def test_validation_loss_counts_every_picture_once_however_the_batches_are_cut():
    pictures, model = Pictures(8, known=False), module()
    repeated = torch.utils.data.Subset(pictures, [*range(8), 2, 2, 5])  # as a stand-in or a padded share repeats rows
    losses = []
    for rows, size in ((pictures, 8), (pictures, 3), (repeated, 4)):
        run = trainer()
        run.validate(model, loader(rows, size), verbose=False)
        losses.append(float(run.callback_metrics["val/loss"]))
    probability = probabilities(model, pictures)
    assert losses[0] == pytest.approx(float(model.loss(probability.logit(), pictures.label)), rel=1e-4)
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)


def test_a_head_loss_with_the_name_of_ours_is_added_and_not_lost():
    model, pictures = module(head=Namesake), Pictures(8)
    run = trainer()
    run.fit(model, loader(pictures), loader(pictures))
    metrics = run.callback_metrics
    assert float(metrics["train/head_classification"]) == 5
    assert float(metrics["train/loss_epoch"]) == pytest.approx(5 + float(metrics["train/classification"]), rel=1e-6)


class Namesake(GAPHead):
    def forward(self, features, labels=None):
        output = super().forward(features, labels)
        return output._replace(losses={"classification": torch.tensor(5.0)} if labels is not None else {})


@pytest.mark.parametrize("head", [GAPHead, IBCAHead])
def test_changing_the_prediction_of_an_unknown_label_changes_no_loss(head):
    """The gradient at the logits of unknown labels is 0, and only there."""
    model, pictures = module(head=head, loss=FocalLoss()), Pictures(8, known=False)
    output = model(pictures.image, pictures.label)
    output.logits.retain_grad()
    (model.loss(output.logits, pictures.label) + sum(output.losses.values())).backward()
    assert torch.equal(output.logits.grad != 0, pictures.label >= 0)


def test_a_class_that_is_unknown_everywhere_keeps_its_weights():
    model, pictures = module(), Pictures(8)
    pictures.label[:, 1] = -1
    before = model.head.linear.weight.clone()
    trainer(max_epochs=2).fit(model, loader(pictures, 4), loader(pictures))
    assert torch.equal(model.head.linear.weight[1], before[1])
    assert not torch.equal(model.head.linear.weight[0], before[0])


def test_nothing_known_at_all_trains_nothing_and_stops_nothing():
    model, pictures = module(), Pictures(8)
    pictures.label[:] = -1
    before = model.head.linear.weight.clone()
    run = trainer()
    run.fit(model, loader(pictures), loader(pictures))
    assert torch.equal(model.head.linear.weight, before)
    assert float(run.callback_metrics["val/monitor"]) == 0


def test_a_step_draws_by_seed_process_epoch_and_batch_and_the_same_again():
    model = module()

    def drawn(seed, rank, epoch, batch):
        model._seed, model._trainer = (
            seed,
            SimpleNamespace(global_rank=rank, current_epoch=epoch, accumulate_grad_batches=1),
        )
        model.on_train_batch_start({}, batch)
        return torch.rand(4).tolist()

    places = list(itertools.product(range(2), repeat=4))
    draws = [drawn(*place) for place in places]
    assert len({tuple(draw) for draw in draws}) == len(places)
    assert [drawn(*place) for place in places] == draws


def test_two_accumulated_batches_take_the_step_of_one_of_both():
    pictures, models = Pictures(16), []
    for size, batches in ((16, 1), (8, 2)):
        models.append(module(backbone="test_vit"))  # no BatchNorm, which would see smaller batches
        trainer(accumulate_grad_batches=batches).fit(models[-1], loader(pictures, size), loader(pictures))
    for one, two in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)


class Seen(GAPHead):
    """Keeps the maps that it is given."""

    def forward(self, features, labels=None):
        self.features = features.detach()
        return super().forward(features, labels)


def test_normalised_features_have_mean_0_and_deviation_1_in_training():
    pictures = Pictures(16)
    raw, normalised = (module(head=Seen, normalise_features=on, freeze_backbone=True) for on in (False, True))
    for model in (raw, normalised):
        model.train()(pictures.image, pictures.label)
    maps = raw.head.features
    mean, variance = maps.mean((0, 2, 3), keepdim=True), maps.var((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(normalised.head.features, (maps - mean) / (variance + 1e-5).sqrt())
    assert not list(normalised.feature_norm.parameters())
    assert {name for name, _ in normalised.named_parameters()} == {name for name, _ in raw.named_parameters()}


def test_one_picture_with_a_map_of_one_cell_can_be_trained_on_normalised_features() -> None:
    """Its channels have one value and no variance, which torch refuses; the running statistics stand in."""
    model = module(normalise_features=True).train()
    x = torch.randn(1, model.backbone.channels, 1, 1)
    torch.testing.assert_close(model.feature_norm(x), x, rtol=1e-4, atol=1e-4)  # still mean 0 and deviation 1


def test_statistics_of_the_features_are_learnt_in_training_and_fixed_in_evaluation():
    pictures, model = Pictures(16), module(head=Seen, normalise_features=True, freeze_backbone=True)
    maps = module(head=Seen, freeze_backbone=True).eval()
    trainer(max_epochs=30).fit(model, loader(pictures), loader(pictures))
    batches = [maps(pictures.image[at]) and maps.head.features for at in (slice(8), slice(8, 16))]
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variance = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(model.feature_norm.running_mean, mean, rtol=0.05, atol=0.01)
    torch.testing.assert_close(model.feature_norm.running_var, variance, rtol=0.05, atol=0.01)

    learnt = copy.deepcopy(model.feature_norm.state_dict())
    trainer().test(model, loader(pictures), verbose=False)
    assert all(torch.equal(value, learnt[name]) for name, value in model.feature_norm.state_dict().items())
    whole, alone = model.eval()(pictures.image).logits, model(pictures.image[:1]).logits
    torch.testing.assert_close(alone, whole[:1])  # no picture sees the others


# --- figures ------------------------------------------------------------------------------------------------------


def test_validation_figures_are_those_of_predictions_collected_by_hand():
    pictures, model = Pictures(21, known=False, masks=True), module()
    run = trainer(max_epochs=2)
    run.fit(model, loader(pictures), loader(pictures))
    expected = figures(probabilities(model, pictures), pictures.label, model.class_names)
    for name, value in expected["metrics"].items():
        assert float(run.callback_metrics[f"val/{name}"]) == pytest.approx(value, abs=1e-6), name
    for name, values in expected["per_class"].items():
        assert float(run.callback_metrics[f"val_AP/{name}"]) == pytest.approx(values["AP"], abs=1e-6)
    assert run.callback_metrics["val/monitor"] == run.callback_metrics["val/mAP"]
    assert 0 < float(run.callback_metrics["val/attention_energy"]) <= 1
    assert model.thresholds == pytest.approx(choose_thresholds(probabilities(model, pictures), pictures.label, "f1"))


def test_test_figures_use_the_thresholds_of_validation():
    pictures, model = Pictures(21), module()
    model.thresholds = [0.3, 0.6, 0.45]
    run = trainer()
    run.test(model, datamodule=Data({"test": pictures}))
    expected = figures(probabilities(model, pictures), pictures.label, model.class_names, [0.3, 0.6, 0.45])
    result = model.evaluations["test"].figures
    assert result["tuned"] == pytest.approx(expected["tuned"])
    assert result["tuned"] != {k: result["metrics"][k] for k in result["tuned"]}
    assert model.thresholds == [0.3, 0.6, 0.45]


def test_twelve_test_sets_keep_their_names_and_an_earlier_test_is_forgotten():
    model = module()
    run = trainer()
    run.test(model, datamodule=Data({"earlier": Pictures(3)}))
    sets = {f"set {i}": Pictures(3 + i, seed=i) for i in range(12)}
    run = trainer()
    run.test(model, datamodule=Data(sets))
    assert {name: e.figures["samples"] for name, e in model.evaluations.items()} == {n: len(s) for n, s in sets.items()}


def test_spurious_and_noise_regions_are_measured_on_their_own_masks():
    class Regions(Pictures):
        def __getitem__(self, at):
            item = super().__getitem__(at)
            everywhere = torch.ones(1, *item["mask"].shape[1:], dtype=torch.bool)
            return item | {"spurious_mask": ~item["mask"], "noise_mask": everywhere}

    model = module(feature_stride=8)
    trainer().test(model, datamodule=Data({"test": Regions(6, masks=True)}))
    measured = model.evaluations["test"].figures["metrics"]
    assert measured["noise_energy"] == pytest.approx(1)
    assert measured["attention_energy"] < measured["spurious_energy"] < 1
    assert measured["contribution_noise_energy"] == pytest.approx(1)
    assert 0 < measured["contribution_energy"] != measured["attention_energy"]


def test_samples_with_one_index_are_no_repetitions():
    twice = torch.utils.data.ConcatDataset([Pictures(3), Renamed(3, seed=1)])
    with pytest.raises(InputError, match=r"an index of its own .* 0 for p0/0.png and for other/0.png"):
        trainer().test(module(), datamodule=Data({"test": twice}))


class Renamed(Pictures):
    def __getitem__(self, at):
        return super().__getitem__(at) | {"id": f"other/{at}.png"}


@pytest.mark.parametrize("case", ["one picture", "all unknown", "one label"])
def test_figures_that_are_undefined_are_null_and_no_failure(case, tmp_path):
    pictures = Pictures(1 if case == "one picture" else 6, labels=1 if case == "one label" else 3, masks=True)
    if case == "all unknown":
        pictures.label[:] = -1
    model = module(labels=pictures.label.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        trainer(callbacks=[WriteResults(tmp_path)]).test(model, datamodule=Data({"test": pictures}))
    text = (tmp_path / "test_metrics.json").read_text()
    assert "NaN" not in text
    written = json.loads(text)["metrics"]
    assert (written["mAP"] is None) == (case != "one label")
    assert all(value is None or math.isfinite(value) for value in written.values())


def test_bf16_is_near_float32_and_gives_float32_probabilities():
    pictures, model = Pictures(12), module(head=IBCAHead)
    results = []
    for precision in ("32-true", "bf16-mixed"):
        trainer(precision=precision).test(model, datamodule=Data({"test": pictures}))
        results.append(model.evaluations["test"].probabilities)
    assert results[1].dtype == torch.float32
    assert torch.allclose(*results, atol=0.03)
    assert not torch.equal(*results)
    run = trainer(precision="bf16-mixed")
    run.fit(model, loader(pictures), loader(pictures))
    assert math.isfinite(float(run.callback_metrics["train/loss_epoch"]))


# --- which checkpoint is best, and what stops a run ---------------------------------------------------------------


def test_without_a_defined_class_the_loss_decides_the_best_checkpoint(tmp_path):
    train, val = Pictures(8), Pictures(8, seed=1)
    val.label[:] = 0
    biases, model = Biases(3.0, -5.0, 0.0), module(optimizer=sgd(0.0))
    trainer(max_epochs=3, callbacks=[biases, best(tmp_path)]).fit(model, loader(train), loader(val))
    assert biases.losses.index(min(biases.losses)) == 1
    assert read_checkpoint(tmp_path / "best.ckpt")["epoch"] == 1


class Breaks(GAPHead):
    """NaN from a given call on, in training or in evaluation."""

    def __init__(self, channels, num_labels, calls=3, when="train"):
        super().__init__(channels, num_labels)
        self.calls, self.when = calls, when

    def forward(self, features, labels=None):
        output = super().forward(features, labels)
        self.calls -= self.training == (self.when == "train")
        broken = self.calls < 0 and self.training == (self.when == "train")
        return HeadOutput(output.logits * math.nan, *output[1:]) if broken else output


@pytest.mark.parametrize("when", ["train", "eval"])
def test_a_run_that_diverges_stops_before_its_epoch_is_saved(when, tmp_path):
    pictures = Pictures(16)
    model = module(head=lambda c, n: Breaks(c, n, calls=3, when=when))
    run = trainer(max_epochs=4, callbacks=[best(tmp_path), last(tmp_path)])
    with pytest.raises(NonFiniteError, match=r"finite .*, got .*NaN|finite .*, got .*nan"):
        run.fit(model, loader(pictures), loader(pictures))
    assert run.current_epoch == 1
    for name in ("best", "last"):
        checkpoint = read_checkpoint(tmp_path / f"{name}.ckpt")
        assert checkpoint["epoch"] == 0
        assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


class Corrupts(Callback):
    """Infinite weights after a finite loss, as a gradient that overflows leaves them."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 2:
            pl_module.head.linear.weight.data[0, 0] = math.inf


def test_weights_that_were_not_validated_are_not_saved_when_they_diverge(tmp_path):
    pictures = Pictures(8)
    run = trainer(max_epochs=2, check_val_every_n_epoch=9, callbacks=[Corrupts(), last(tmp_path)])
    with pytest.raises(NonFiniteError, match=r"head\.linear\.weight at epoch 1"):
        run.fit(module(), loader(pictures), loader(pictures))
    assert read_checkpoint(tmp_path / "last.ckpt")["epoch"] == 0


def test_early_stopping_counts_validations_without_a_better_map():
    pictures = Pictures(8)
    run = trainer(max_epochs=10)
    run.fit(module(early_stopping_patience=2, optimizer=sgd(0.0)), loader(pictures), loader(pictures))
    assert run.current_epoch == 3


# --- learning rates and schedules ---------------------------------------------------------------------------------


def test_default_schedule_warms_up_and_ends_near_zero_with_its_own_rate_for_the_backbone():
    rates, pictures = Rates(), Pictures(40)
    model = module(optimizer=sgd(0.2), backbone_lr_scale=0.1, warmup_fraction=0.2)
    trainer(max_epochs=4, callbacks=[rates]).fit(model, loader(pictures, 8), loader(pictures))
    head = [rate["head"] for rate in rates.rates]
    assert len(head) == 20  # steps, of which 4 warm up
    assert head[:5] == pytest.approx([0.04, 0.08, 0.12, 0.16, 0.2])
    assert head[12] == pytest.approx(0.1)  # half of the cosine
    assert 0 < head[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * 15 / 16)))
    assert [rate["backbone"] for rate in rates.rates] == pytest.approx([0.1 * rate for rate in head])
    assert rates.progress == pytest.approx([step / 19 for step in range(20)])


def test_schedules_count_optimiser_steps_when_gradients_are_accumulated():
    rates, pictures = Rates(), Pictures(40)
    run = trainer(max_epochs=2, callbacks=[rates], accumulate_grad_batches=2)
    run.fit(module(warmup_fraction=0.0), loader(pictures, 8), loader(pictures))
    expected = [0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert [rate["head"] for rate in rates.rates] == pytest.approx(expected)
    assert rates.progress == pytest.approx([step / 5 for step in range(6)])


def test_a_run_without_an_end_keeps_its_rate():
    rates, pictures = Rates(), Pictures(8)
    run = trainer(max_epochs=-1, callbacks=[rates, StopAfter(3)])
    run.fit(module(), loader(pictures), loader(pictures))
    assert [rate["head"] for rate in rates.rates] == pytest.approx([0.1] * 3)
    assert rates.progress == [0.0] * 3


class StopAfter(Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_a_scheduler_of_ones_own_is_stepped_once_an_epoch():
    rates, pictures = Rates(), Pictures(16)
    model = module(scheduler=lambda optimizer: StepLR(optimizer, 1, gamma=0.5))
    trainer(max_epochs=3, callbacks=[rates]).fit(model, loader(pictures), loader(pictures))
    assert [rate["head"] for rate in rates.rates] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


@pytest.mark.parametrize(("mode", "drops"), [("max", True), ("min", False)])
def test_plateau_of_mode_max_watches_the_map_and_of_mode_min_the_loss(mode, drops):
    # The mAP stands still while the loss falls.
    train, val = Pictures(8), Pictures(8, seed=1)
    val.label[1:] = 0
    val.label[0] = 1
    rates, biases = Rates(), Biases(3.0, 1.0, -1.0)
    plateau = partial(ReduceLROnPlateau, mode=mode, factor=0.5, patience=0)
    model = module(optimizer=sgd(1e-6), scheduler=plateau, freeze_backbone=True)
    trainer(max_epochs=3, callbacks=[rates, biases]).fit(model, loader(train), loader(val))
    assert biases.losses == sorted(biases.losses, reverse=True)
    assert (rates.rates[-1]["head"] < 1e-6) == drops


def test_a_frozen_backbone_stays_as_it_was_to_the_bit():
    pictures, model = Pictures(16), module(freeze_backbone=True)
    before = copy.deepcopy(model.state_dict())
    trainer().fit(model, loader(pictures), loader(pictures))
    for name, value in model.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(value, before[name]), name
    assert any("running_mean" in name for name in before)
    assert not torch.equal(model.head.linear.weight, before["head.linear.weight"])


# --- average of the weights ---------------------------------------------------------------------------------------


class Snapshots(Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append({name: p.detach().clone() for name, p in pl_module.named_parameters()})


def test_ema_is_what_is_validated_and_saved(tmp_path):
    decay, pictures, snapshots = 0.7, Pictures(24), Snapshots()
    model = module(ema_decay=decay)
    run = trainer(max_epochs=2, callbacks=[snapshots, last(tmp_path), best(tmp_path)])
    run.fit(model, loader(pictures), loader(pictures))
    average = dict(snapshots.steps[0])
    for n, step in enumerate(snapshots.steps[1:], start=1):
        kept = min(decay, (1 + n) / (10 + n))
        average = {name: kept * value + (1 - kept) * step[name] for name, value in average.items()}
    saved = read_checkpoint(tmp_path / "last.ckpt")
    for name, value in average.items():
        assert torch.allclose(saved["state_dict"][name], value, atol=1e-6), name
        assert torch.equal(saved["current_model_state"][name], snapshots.steps[-1][name])
    assert float(saved["state_dict"]["head.progress"]) == 1  # not averaged
    twin = module()
    twin.load_state_dict(saved["state_dict"])
    validated = model.evaluations["val"].probabilities
    assert torch.allclose(probabilities(twin, pictures), validated, atol=1e-5)
    twin.load_state_dict(saved["current_model_state"])
    assert not torch.allclose(probabilities(twin, pictures), validated, atol=1e-4)


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_thresholds_in_the_best_checkpoint_fit_its_weights(ema_decay, tmp_path):
    train, val = Pictures(24), Pictures(30, seed=1)
    model = module(ema_decay=ema_decay, optimizer=sgd(0.3))
    trainer(max_epochs=3, callbacks=[best(tmp_path)]).fit(model, loader(train), loader(val))
    saved, twin = read_checkpoint(tmp_path / "best.ckpt"), module()
    twin.load_state_dict(saved["state_dict"])
    found = probabilities(twin, val)
    assert saved["ibca"]["thresholds"] == pytest.approx(choose_thresholds(found, val.label, "f1"), abs=1e-5)
    top = figures(found, val.label, model.class_names)["metrics"]["mAP"]
    scores = [state["best_model_score"] for state in saved["callbacks"].values() if "best_model_score" in state]
    assert float(scores[0]) == pytest.approx(top, abs=1e-5)


def test_evaluating_other_weights_after_training_neither_brings_the_average_back_nor_undoes_it(tmp_path):
    pictures, model = Pictures(16), module(ema_decay=0.5)
    run = trainer(max_epochs=1, callbacks=[best(tmp_path)])
    run.fit(model, loader(pictures), loader(pictures))
    checkpoint = read_checkpoint(tmp_path / "best.ckpt")
    checkpoint["state_dict"]["head.linear.weight"].neg_()
    torch.save(checkpoint, tmp_path / "other.ckpt")
    twin = module()
    twin.load_state_dict(checkpoint["state_dict"])
    for kind, evaluate in (("val", run.validate), ("test", run.test)):
        evaluate(model, loader(pictures), ckpt_path=tmp_path / "other.ckpt", verbose=False, weights_only=True)
        assert torch.allclose(model.evaluations[kind].probabilities, probabilities(twin, pictures), atol=1e-5)


# --- wrong input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"backbone_lr_scale": 0.0}, "backbone_lr_scale"),
        ({"early_stopping_patience": 0}, "early_stopping_patience"),
        ({"class_names": ["a", "a"]}, "names"),
    ],
)
def test_options_out_of_range_are_named(options, names):
    with pytest.raises(InputError, match=names):
        module(**options)


class Gadget:
    pass


class Fancy(GAPHead):
    def __init__(self, channels, num_labels, gadget=None):
        super().__init__(channels, num_labels)


def test_a_head_option_that_no_checkpoint_can_hold_stops_the_run_at_its_start():
    import numpy as np

    pictures, rates = Pictures(8), Rates()
    for gadget in (Gadget(), np.float64(0.5), {"a": [Gadget]}):
        with pytest.raises(InputError, match=r"gadget.* plain data"):
            trainer(callbacks=[rates]).fit(
                module(head=lambda c, n, gadget=gadget: Fancy(c, n, gadget=gadget)), loader(pictures), loader(pictures)
            )
    assert not rates.rates


def test_a_checkpoint_is_plain_data_whatever_text_the_data_module_gave():
    import numpy as np

    model = module(class_names=list(np.array(["a", "b"])), feature_stride=(16, 32))
    assert [type(name) for name in model.spec.class_names] == [str, str]
    assert model.spec.feature_stride == [16, 32]
    assert isinstance(model, pl.LightningModule)
