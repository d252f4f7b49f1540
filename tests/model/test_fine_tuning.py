"""How a backbone learns: from an epoch on, and which layer how fast."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

import ibca_lightning
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.fine_tuning.layer_decay import layer_scales
from ibca_lightning.model.fine_tuning.lora import adapt, merged
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.model.optimisation import parameter_groups, set_rates
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.deployable import Deployed
from tests.training import Pictures, loader, module, save, sgd, trainer

State = dict[str, Tensor]


class Seen(Callback):
    """What the backbone was at the end of each epoch: weights and statistics; at each step, whether it learnt."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.modes: list[tuple[bool, bool]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        learns = any(parameter.requires_grad for parameter in pl_module.backbone.parameters())
        self.modes.append((learns, pl_module.backbone.model.training))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.states.append({name: value.clone() for name, value in pl_module.backbone.state_dict().items()})


class Saves(Callback):
    """A checkpoint at the end of an epoch."""

    def __init__(self, epoch: int, path: Path) -> None:
        self.epoch, self.path = epoch, path

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)


def learner(**options: Any) -> MultiLabelModule:
    return module(**({"optimizer": lambda groups: torch.optim.AdamW(groups, lr=1e-2)} | options))


def fitted(model: MultiLabelModule, epochs: int, *callbacks: Callback, path: Path | None = None) -> MultiLabelModule:
    data = loader(Pictures(16)), loader(Pictures(8, seed=1))
    trainer(max_epochs=epochs, callbacks=list(callbacks)).fit(model, *data, ckpt_path=path, weights_only=True)
    return model


def differing(one: State, two: State) -> set[str]:
    return {name for name, value in one.items() if not torch.equal(value, two[name])}


def test_a_backbone_is_frozen_with_its_statistics_until_its_epoch_and_learns_from_it_on() -> None:
    model, seen = learner(unfreeze_at_epoch=1), Seen()
    start = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    learns = {name for name, parameter in learner().backbone.named_parameters() if parameter.requires_grad}
    fitted(model, 3, seen)
    assert seen.modes == [(False, False)] * 2 + [(True, True)] * 4
    assert not differing(seen.states[0], start)
    changed = differing(seen.states[1], start)
    assert learns <= changed
    assert any("running_mean" in name for name in changed), "statistics too"
    groups = model.optimizers().param_groups  # type: ignore[union-attr]
    assert [group["part"] for group in groups] == ["backbone", "backbone", "head", "head"]
    fitted(model, 2, again := Seen())
    assert again.modes == [(False, False)] * 2 + [(True, True)] * 2, "a second run begins frozen, too"


@pytest.mark.parametrize("saved_in", [0, 2])
def test_a_run_taken_up_before_or_after_that_epoch_ends_as_if_it_had_not_been(saved_in: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"unfreeze_at_epoch": 2, "layer_decay": 0.5, "ema_decay": 0.5}
    whole = fitted(learner(**options), 4, Saves(saved_in, tmp_path / "part.ckpt"))
    seen = Seen()
    part = fitted(learner(**options), 4, seen, path=tmp_path / "part.ckpt")
    assert [learns for learns, _ in seen.modes] == [epoch >= 2 for epoch in range(saved_in + 1, 4) for _ in range(2)]
    assert not differing(whole.state_dict(), part.state_dict())
    one, two = (model.optimizers().optimizer.state_dict() for model in (whole, part))  # type: ignore[union-attr]
    assert one["param_groups"] == two["param_groups"]
    assert all(not differing(values, two["state"][at]) for at, values in one["state"].items())


def test_each_layer_learns_at_a_share_of_the_rate_of_the_layer_above_it() -> None:
    model = learner(backbone="test_vit", layer_decay=0.5, backbone_lr_scale=0.1)
    groups = parameter_groups(model.backbone, model.head, scales=model._scales)
    optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=0.05)
    set_rates(optimizer, 2.0, 0.1)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    decays = {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    blocks = len(model.backbone.model.blocks)
    expected = {f"model.blocks.{block}.": blocks - block for block in range(blocks)} | {"model.norm.": 1}
    for name, parameter in model.backbone.named_parameters():
        below = next((power for prefix, power in expected.items() if name.startswith(prefix)), blocks + 1)
        assert rates[id(parameter)] == pytest.approx(2.0 * 0.1 * 0.5**below), name
    assert all(rates[id(parameter)] == 2.0 for parameter in model.head.parameters())
    every = [*model.backbone.parameters(), *model.head.parameters()]
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(every)
    assert all((decays[id(parameter)] == 0) == (parameter.ndim <= 1) for parameter in every)


def test_convolutional_networks_have_layers_too_and_what_has_none_is_refused() -> None:
    scales = layer_scales(learner().backbone.model, "test_resnet", 0.5)
    assert scales["conv1.0.weight"] < scales["layer1.0.conv1.weight"] < scales["layer4.0.conv1.weight"] == 0.5
    with pytest.raises(InputError, match=r"layers timm tells apart .* for model.layer_decay, got mine; leave it out"):
        layer_scales(torch.nn.Linear(2, 2), "mine", 0.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer_decay": 1.0}, r"model.layer_decay in \(0, 1\), got 1.0; try 0.75, or null"),
        ({"layer_decay": 0.0}, r"model.layer_decay in \(0, 1\)"),
        ({"unfreeze_at_epoch": 0}, "model.unfreeze_at_epoch of at least 1, got 0"),
        ({"lora_rank": 0, "backbone": "test_vit"}, "model.lora_rank of at least 1, got 0"),
        ({"lora_rank": 64, "backbone": "test_vit"}, r"model.lora_rank below 64, a side of a layer of test_vit, got 64"),
        ({"lora_rank": 300}, "model.lora_rank below [0-9]+, a side of a layer of test_resnet, got 300"),
        ({"lora_rank": 8, "freeze_backbone": True}, "that learns for model.lora_rank 8, got a frozen one"),
        ({"layer_decay": 0.7, "freeze_backbone": True}, "that learns for model.layer_decay 0.7, got a frozen one"),
        ({"unfreeze_at_epoch": 3, "freeze_backbone": True}, "for model.unfreeze_at_epoch 3, got a frozen one"),
    ],
)
def test_what_has_no_effect_is_refused_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        module(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "options", "said"),
    [
        ({}, {"layer_decay": 0.5}, "over .* of backbone at .* of its rate, .* got [0-9]+ parameters of backbone, 2 "),
        (
            {"layer_decay": 0.5},
            {"layer_decay": 0.7},
            "of backbone at 0.7 of its .* of backbone at 0.5 of its",
        ),
        ({"freeze_backbone": True}, {}, "parameters of backbone, .*got 2 parameters of head; give optimizer"),
        ({}, {"unfreeze_at_epoch": 1}, ""),
        ({}, {"optimizer": sgd()}, "optimiser of SGD over .* got AdamW"),
        ({"optimizer": sgd()}, {}, "optimiser of AdamW over .* got SGD"),
        ({}, {"optimizer": lambda groups: torch.optim.Adam(groups, lr=1e-2)}, "of Adam over .* got AdamW"),
    ],
)
def test_a_run_is_not_taken_up_with_another_optimiser(
    before: dict[str, Any], options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    fitted(learner(**before), 1, Saves(0, tmp_path / "a.ckpt"))
    if not said:
        fitted(learner(**options), 2, path=tmp_path / "a.ckpt")
        return
    with pytest.raises(InputError, match=said) as caught:
        fitted(learner(**options), 2, path=tmp_path / "a.ckpt")
    assert "\n" not in str(caught.value)


def test_an_epoch_that_does_not_come_is_refused_before_training() -> None:
    with pytest.raises(InputError, match=r"unfreeze_at_epoch below trainer.max_epochs 2, got 2; lower it"):
        fitted(module(unfreeze_at_epoch=2), 2)


# --- LoRA ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[MultiLabelModule, Path]:
    """A ViT that has learnt by LoRA from its second epoch on, and the checkpoint of its second epoch's end."""
    path = tmp_path_factory.mktemp("lora") / "a.ckpt"
    options = {"backbone": "test_vit", "lora_rank": 4, "unfreeze_at_epoch": 1, "layer_decay": 0.8}
    return fitted(learner(**options), 2, Saves(1, path)).eval(), path


@pytest.mark.parametrize(("backbone", "kind"), [("test_vit", torch.nn.Linear), ("test_resnet", torch.nn.Conv2d)])
def test_lora_starts_as_the_backbone_it_is_of_and_learns_nothing_but_its_sums(
    backbone: str, kind: type[torch.nn.Module]
) -> None:
    images = Pictures(4).image
    plain, model = learner(backbone=backbone), learner(backbone=backbone, lora_rank=4)
    for norm in (m for each in (plain, model) for m in each.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.ones_(norm.weight)  # timm begins at 0 where a block ends, as no trained net does
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images).logits, plain.eval()(images).logits)
    start = {name: value.clone() for name, value in model.train().state_dict().items()}
    fitted(model, 2)
    changed = {name for name in differing(start, model.state_dict()) if name.startswith("backbone.")}
    statistics = {name for name in changed if "running_" in name or "num_batches" in name}
    assert bool(statistics) == (backbone == "test_resnet"), "of BatchNorm, which the page says"
    layers = [layer for layer in plain.backbone.modules() if isinstance(layer, kind)]
    assert len(changed - statistics) == 2 * len(layers) > 0
    assert {name.rpartition(".parametrizations.weight.0.")[2] for name in changed - statistics} == {"up", "down"}
    again = module(backbone=backbone).eval()
    again.load_state_dict(merged(model.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(again(images).logits, model.eval()(images).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["eva02_tiny_patch14_224", "swinv2_tiny_window8_256"])
def test_every_sum_learns_where_attention_reads_a_weight_without_calling_its_layer(backbone: str) -> None:
    model = timm.create_model(backbone, num_classes=0, img_size=56 if "14" in backbone else 64)
    adapt(model, backbone, 4)
    model(torch.rand(1, 3, *model.patch_embed.img_size)).sum().backward()
    low = [parameter for name, parameter in model.named_parameters() if name.endswith((".0.up", ".0.down"))]
    assert len(low) >= 24
    assert all(parameter.grad is not None for parameter in low), "of peft's layers twelve have none"


def test_a_model_of_lora_is_pickled_and_copied_whole(adapted: tuple[MultiLabelModule, Path]) -> None:
    backbone, images = adapted[0].backbone, Pictures(4).image.float()
    with torch.no_grad():
        expected = backbone(images)
    whole = MultiLabelModule(2, ["a", "b"], 64, "test_vit", pretrained=False, lora_rank=2)
    assert list(pickle.loads(pickle.dumps(whole)).state_dict()) == list(whole.state_dict())
    for again in (pickle.loads(pickle.dumps(backbone)), copy.deepcopy(backbone)):
        again = pickle.loads(pickle.dumps(again))
        assert list(again.state_dict()) == list(backbone.state_dict())
        learns = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
        assert [name for name, parameter in again.named_parameters() if parameter.requires_grad] == learns
        assert not {*again.parameters()} & {*backbone.parameters()}
        with torch.no_grad():
            torch.testing.assert_close(again(images), expected)
            next(p for name, p in again.named_parameters() if name.endswith(".up")).add_(1)
            assert not torch.equal(again(images), expected), "still a sum"


def test_a_checkpoint_of_lora_is_used_as_one_of_the_plain_backbone(adapted: tuple[MultiLabelModule, Path]) -> None:
    model, path = adapted
    images = Pictures(4).image
    plain = set(learner(backbone="test_vit").state_dict())
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert any(name.endswith(".0.up") and bool(value.any()) for name, value in saved.items()), "it has learnt"
    assert set(read_checkpoint(path)["state_dict"]) == plain
    predictor = ibca_lightning.load(path, "cpu")
    again = MultiLabelModule.load_from_checkpoint(path).eval()
    started = module(backbone="test_vit", init_from=str(path)).eval()
    tested = module(backbone="test_vit")
    trainer().test(tested, loader(Pictures(4)), ckpt_path=path, weights_only=True, verbose=False)
    with torch.no_grad():
        expected = model(images).logits
        for network in (again, started, tested.eval()):
            assert set(network.state_dict()) == plain
            torch.testing.assert_close(network(images).logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(Deployed(predictor)(images)[0], expected.sigmoid(), rtol=1e-5, atol=1e-5)
        onward = module(backbone="test_vit", init_from=str(path), lora_rank=2).eval()
        torch.testing.assert_close(onward(images).logits, expected, rtol=1e-5, atol=1e-5)


def test_a_run_of_lora_goes_on_to_the_bit(tmp_path: Path) -> None:
    options: dict[str, Any] = {"backbone": "test_vit", "lora_rank": 4, "unfreeze_at_epoch": 1, "ema_decay": 0.5}
    whole = fitted(learner(**options), 3, Saves(1, tmp_path / "part.ckpt"))
    part = fitted(learner(**options), 3, path=tmp_path / "part.ckpt")
    assert not differing(whole.state_dict(), part.state_dict())
    other = torch.load(save(learner(backbone="test_vit"), tmp_path / "b.ckpt"), weights_only=True)
    with pytest.raises(InputError, match=r"with a weight backbone\.model\.\S+original of shape"):
        learner(backbone="test_vit", lora_rank=4).on_load_checkpoint(other)


def test_what_only_looks_like_a_part_of_lora_is_left_as_it_is() -> None:
    one = torch.ones(2, 2)
    weights = {
        "head.parametrizations.weight.original0": one,
        "backbone.a.parametrizations.weight.original": one,
        "b": 1,
    }
    assert merged(weights) == weights
