import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy, SingleDeviceStrategy
from torch import nn

from ibca_lightning.model.averaging import warmed_up_average
from ibca_lightning.model.optimisation import fuse, is_fused, parameter_groups, set_rates, warmup_cosine
from tests.training import module


def test_groups_hold_every_trainable_parameter_once_and_decay_no_vector():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    head = nn.Linear(4, 2)
    frozen = head.bias
    frozen.requires_grad_(False)
    groups = parameter_groups(backbone, head)
    members = [p for group in groups for p in group["params"]]
    assert {id(p) for p in members} == {id(p) for p in (*backbone.parameters(), head.weight)}
    assert len(members) == 5
    for group in groups:
        for parameter in group["params"]:
            assert ("weight_decay" in group and group["weight_decay"] == 0) == (parameter.ndim <= 1)
    assert {group["part"] for group in groups} == {"backbone", "head"}


def test_a_frozen_backbone_leaves_no_empty_group():
    backbone = nn.Linear(2, 2).requires_grad_(False)
    assert all(group["part"] == "head" for group in parameter_groups(backbone, nn.Linear(2, 2)))


@pytest.mark.parametrize(("rate", "head_rate"), [(None, 2.0), (0.5, 0.5)])
def test_every_group_of_the_backbone_has_its_own_rate_decayed_or_not(rate, head_rate):
    groups = parameter_groups(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = torch.optim.AdamW(groups, lr=2.0, weight_decay=0.05)
    set_rates(optimizer, rate, backbone_scale=0.1)
    rates = [(group["part"], group["weight_decay"], group["lr"]) for group in optimizer.param_groups]
    backbone = pytest.approx(0.1 * head_rate)
    assert rates == [
        ("backbone", 0.05, backbone), ("backbone", 0.0, backbone), ("head", 0.05, head_rate), ("head", 0.0, head_rate)
    ]  # fmt: skip


def test_warmup_cosine_by_hand():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_cosine(optimizer, total_steps=10, warmup_steps=3)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert rates[6] == pytest.approx(2.0 * 0.5 * (1 + math.cos(math.pi * 3 / 7)))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


def test_torchs_own_adam_takes_a_step_in_one_kernel_unless_it_was_told_how():
    def steps(fused, **options):
        torch.manual_seed(0)
        layer = torch.nn.Linear(5, 3)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, **options)
        if fused:
            fuse(optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            layer(torch.ones(2, 5)).square().sum().backward()
            optimizer.step()
        return layer.weight, is_fused(optimizer)

    (plain, no), (fast, yes), (told, never) = steps(False), steps(True), steps(True, foreach=True)
    assert (no, yes, never) == (False, True, False)
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(told, plain)
    assert not steps(True, foreach=False)[1]
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    fuse(other)
    assert not is_fused(other)


def test_the_average_of_what_stays_is_that_to_the_bit():
    average, weight = warmed_up_average(0.9), torch.rand(1000, generator=torch.Generator().manual_seed(0))
    averaged = weight
    for step in range(1, 50):
        averaged = average(averaged, weight, torch.tensor(step))
    assert torch.equal(averaged, weight), "a frozen backbone is still the one that made the maps"


def test_under_fsdp_no_step_is_of_one_kernel():
    for strategy, fused in ((SingleDeviceStrategy(), True), (FSDPStrategy(), False)):
        run = SimpleNamespace(
            strategy=strategy, estimated_stepping_batches=4, precision_plugin=None, gradient_clip_val=None
        )
        model = module(optimizer=torch.optim.AdamW)
        model.trainer = run  # which it refers to weakly
        assert is_fused(model.configure_optimizers()[0][0]) == fused
