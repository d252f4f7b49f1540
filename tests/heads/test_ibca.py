"""What IBCAHead makes of its parts: reductions, switches, schedule, unknown labels."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.errors import InputError
from ibca_lightning.heads import CSRAHead, GAPHead, HeadOutput, IBCAHead, MILAttentionHead
from ibca_lightning.losses import masked_bce
from tests.heads.contract import BATCH, CHANNELS, HEIGHT, LABEL_BATCHES, LABELS, WIDTH, features, labels

# The parts, each with the argument that turns it off or on.
SWITCHES: dict[str, list[Any]] = {
    "bottleneck": [0.0, 1e-3],
    "mixture_attention": [False, True],
    "num_heads": [0, 4],
    "alignment": [0.0, 1.0],
    "contrast": [0.0, 0.1],
    "intervention": [0.0, 0.1],
}
COMBINATIONS = [dict(zip(SWITCHES, values, strict=True)) for values in itertools.product(*SWITCHES.values())]
EVERYTHING = {"contrast": 0.1, "intervention": 0.1, "alignment_loss": 0.1, "mean_weight": 0.5}
NO_PARTS = {
    "width": 0,
    "bottleneck": 0.0,
    "mixture_attention": False,
    "num_heads": 0,
    "contrast": 0.0,
    "intervention": 0.0,
}


def build(progress: float = 1.0, seed: int = 0, **options: Any) -> IBCAHead:
    torch.manual_seed(seed)
    head = IBCAHead(CHANNELS, LABELS, **{"width": 16, "latent": 6, "background": 3, **options})
    head.set_progress(progress)
    return head


def total(output: HeadOutput, y: Tensor) -> Tensor:
    return masked_bce(output.logits, y) + sum(output.losses.values())


def assert_same(a: HeadOutput, b: HeadOutput) -> None:
    torch.testing.assert_close(a.logits, b.logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(a.attention, b.attention, rtol=0, atol=1e-6)


# --- reductions to simpler heads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_no_parts_is_csra(progress: float) -> None:
    csra, head = CSRAHead(CHANNELS, LABELS), build(progress, mean_weight=1.0, **NO_PARTS)
    csra.weight.data.copy_(head.weight)
    assert_same(head(features()), csra(features()))
    assert {name for name, _ in head.named_parameters()} == {"weight", "bias"}


def test_no_parts_and_no_mean_is_mil_attention() -> None:
    mil, head = MILAttentionHead(CHANNELS, LABELS), build(mean_weight=0.0, **NO_PARTS)
    head.bias.data.normal_()
    mil.weight.data.copy_(F.normalize(head.weight, dim=-1))
    mil.bias.data.copy_(head.bias)
    assert_same(head(features()), mil(features()))


@pytest.mark.parametrize("mean_weight", [0.0, 0.5])
def test_mixture_alone_starts_as_gap(mean_weight: float) -> None:
    gap, head = GAPHead(CHANNELS, LABELS), build(progress=0.0, width=0, num_heads=0, mean_weight=mean_weight).eval()
    gap.linear.weight.data.copy_((1 + mean_weight) * F.normalize(head.weight, dim=-1))
    gap.linear.bias.data.copy_(head.bias)
    torch.testing.assert_close(head(features()).logits, gap(features()).logits, rtol=0, atol=1e-6)


def test_silent_queries_leave_the_mixture_attention() -> None:
    both, mixture = build(alignment=1.0).eval(), build(num_heads=0).eval()
    both.queries.query.data.zero_()
    mixture.load_state_dict({k: v for k, v in both.state_dict().items() if not k.startswith("queries")})
    assert_same(both(features()), mixture(features()))


def test_unaligned_attention_is_multi_head_class_attention() -> None:
    """Against the fused attention of torch, with one-hot values so that its output is its weights."""
    head = build(alignment=0.0).eval()
    x = head.project(features()).flatten(2).transpose(1, 2)
    keys = head.queries.key(x).unflatten(-1, (4, -1)).transpose(1, 2)
    values = torch.eye(HEIGHT * WIDTH).expand(BATCH, 4, -1, -1)
    maps = F.scaled_dot_product_attention(head.queries.query.expand(BATCH, -1, -1, -1), keys, values).mean(1)
    torch.testing.assert_close(head(features()).attention.flatten(2), maps, rtol=0, atol=1e-6)


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_alignment_off_is_mixture_attention_off(progress: float) -> None:
    aligned = build(progress, alignment=0.0, bottleneck=0.0).eval()
    without = build(progress, mixture_attention=False, bottleneck=0.0).eval()
    without.load_state_dict(aligned.state_dict())
    assert_same(aligned(features()), without(features()))


def test_logit_is_what_the_contribution_map_sums_to() -> None:
    head = build(mean_weight=0.5).eval()
    output = head(features())
    x = head.project(features()).flatten(2)
    evidence = torch.einsum("lc,bcn->bln", head.weight / head.weight.norm(dim=1, keepdim=True), x)
    contributions = (0.5 / (HEIGHT * WIDTH) + output.attention.flatten(2)) * evidence
    torch.testing.assert_close(output.logits, contributions.sum(-1) + head.bias, rtol=0, atol=1e-6)


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", LABEL_BATCHES)
def test_every_parameter_has_a_gradient_in_every_combination(batch: str) -> None:
    y = LABEL_BATCHES[batch]
    for options in COMBINATIONS:
        head = build(0.3, **options).train()
        output = head(features(), y)
        total(output, y).backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, (options, name)
            assert parameter.grad.isfinite().all(), (options, name)
        assert (output.attention.sum((-2, -1)) - 1).abs().max() < 1e-5


def test_every_parameter_of_every_combination_learns() -> None:
    """No parameter is there for nothing: with labels and after the start each has a gradient that is not zero."""
    for options in COMBINATIONS:
        head = build(0.3, **options).train()
        total(head(features(), labels()), labels()).backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad.abs().max() > 0, (options, name)


def test_each_switch_takes_its_loss_and_parameters_away() -> None:
    names = {name.split(".")[0] for name, _ in build().named_parameters()}
    assert names == {"project", "weight", "bias", "queries", "encoder", "mixture"}
    everything = build(**EVERYTHING).train()(features(), labels()).losses
    assert set(everything) == {"bottleneck", "alignment", "contrast", "intervention"}
    for off, key in (("bottleneck", "bottleneck"), ("contrast", "contrast"), ("intervention", "intervention")):
        losses = build(**{**EVERYTHING, off: 0.0}).train()(features(), labels()).losses
        assert set(losses) == set(everything) - {key}
    assert "encoder.log_std.weight" not in dict(build(bottleneck=0.0).named_parameters())
    assert build(num_heads=0).queries is None
    assert build(mixture_attention=False, bottleneck=0.0).mixture is None


def test_weights_scale_their_loss() -> None:
    options = {"contrast": 0.1, "intervention": 0.2, "alignment_loss": 0.3, "bottleneck": 1e-3}
    results = []
    for factor in (1, 2):
        head = build(**{k: factor * v for k, v in options.items()}).train()
        torch.manual_seed(1)
        results.append(head(features(), labels()).losses)
    torch.testing.assert_close(results[1], {k: 2 * v for k, v in results[0].items()})


# --- schedule --------------------------------------------------------------------------------------------------------


def test_attention_starts_near_uniform() -> None:
    for progress, batch in ((0.0, features()), (1.0, features())):
        attention = IBCAHead(CHANNELS, LABELS).eval()
        attention.set_progress(progress)
        relative = attention(batch).attention * HEIGHT * WIDTH
        assert relative.min() > 0.5
        assert relative.max() < 2


def test_schedule_moves_attention_gradually() -> None:
    head = build(gradual=0.5, num_heads=0).eval()
    head.mixture.mean.data.normal_()
    maps = []
    for progress in (0.0, 0.1, 0.25, 0.5, 1.0):
        head.set_progress(progress)
        maps.append(head(features()).attention)
    distances = [(m - 1 / (HEIGHT * WIDTH)).abs().sum().item() for m in maps]
    assert distances[0] < 1e-5
    assert distances == sorted(distances)
    assert distances[2] < distances[3]
    torch.testing.assert_close(maps[3], maps[4], rtol=0, atol=0)  # t has reached 1


def test_without_gradual_the_progress_does_not_matter() -> None:
    start, end = build(0.0, gradual=0.0).eval(), build(1.0, gradual=0.0).eval()
    assert_same(start(features()), end(features()))
    assert start.train()(features(), labels()).losses["contrast"] > 0


def test_intervention_and_contrast_rise_with_the_schedule() -> None:
    values = []
    for progress in (0.0, 0.25, 0.5):
        head = build(progress, num_heads=4, alignment=0.0, gradual=0.5, **{"contrast": 0.1, "intervention": 0.1})
        torch.manual_seed(1)
        values.append(head.train()(features(), labels()).losses)
    for key in ("contrast", "intervention"):
        assert values[0][key] == 0
        torch.testing.assert_close(2 * values[1][key], values[2][key])
    torch.testing.assert_close(values[0]["bottleneck"], values[2]["bottleneck"])


# --- labels ----------------------------------------------------------------------------------------------------------


def test_unknown_label_moves_its_class_through_the_prior_only() -> None:
    y = torch.ones(BATCH, LABELS, dtype=torch.int8)
    y[:, 2] = -1
    head = build(0.7, **EVERYTHING).train()
    output = head(features(), y)
    rest = masked_bce(output.logits, y) + sum(v for k, v in output.losses.items() if k != "bottleneck")
    rest.backward(retain_graph=True)
    for parameter, axis in ((head.weight, 0), (head.bias, 0), (head.queries.query, 1), (head.mixture.mean, 0)):
        assert parameter.grad.select(axis, 2).abs().max() == 0
        assert parameter.grad.select(axis, 1).abs().max() > 0
    head.zero_grad()
    output.losses["bottleneck"].backward()
    assert head.mixture.mean.grad[2].abs().max() > 0
    assert head.mixture.class_log_weight.grad[2].abs() > 0


def test_negative_label_leaves_the_prior() -> None:
    y = torch.ones(BATCH, LABELS, dtype=torch.int8)
    y[:, 2] = 0
    head = build().train()
    head(features(), y).losses["bottleneck"].backward()
    assert head.mixture.mean.grad[2].abs().max() == 0
    assert head.mixture.mean.grad[1].abs().max() > 0


def test_bottleneck_takes_one_sample_in_training_and_the_mean_in_evaluation() -> None:
    head = build().train()
    first, second = head(features()).logits, head(features()).logits
    assert (first - second).abs().max() > 0
    head = build(bottleneck=0.0).train()
    torch.testing.assert_close(head(features()).logits, head(features()).logits, rtol=0, atol=0)


def test_it_learns_where_a_class_is() -> None:
    """One channel marks the class at one random position of half of the pictures; the attention must find it."""
    torch.manual_seed(0)
    y = (torch.rand(128, 2) < 0.5).to(torch.int8)
    x = 0.3 * torch.randn(128, 8, 16).relu()
    place = torch.randint(16, (128, 2))
    for label in (0, 1):
        x[torch.arange(128), label, place[:, label]] += 2.0 * y[:, label]
    head = IBCAHead(8, 2, width=16, gradual=0.3)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for step in range(150):
        head.set_progress(step / 150)
        optimizer.zero_grad()
        total(head.train()(x.unflatten(-1, (4, 4)), y), y).backward()
        optimizer.step()
    output = head.eval()(x.unflatten(-1, (4, 4)))
    share = output.attention.flatten(2).gather(2, place[:, :, None])[..., 0][y == 1].mean()
    assert ((output.logits > 0) == (y == 1)).float().mean() > 0.98
    assert share > 0.5  # uniform attention: 0.06


# --- size and errors -------------------------------------------------------------------------------------------------


def test_a_thousand_labels() -> None:
    head = IBCAHead(CHANNELS, 1000, width=64).train()
    head.set_progress(1.0)
    y = (torch.rand(4, 1000) < 0.1).to(torch.int8)
    output = head(torch.randn(4, CHANNELS, 12, 12), y)
    total(output, y).backward()
    assert output.logits.shape == (4, 1000)
    assert all(loss.isfinite() for loss in output.losses.values())


@pytest.mark.parametrize(
    "options",
    [
        {"width": 30, "num_heads": 4},
        {"width": -1},
        {"latent": 0},
        {"background": 0},
        {"bottleneck": -1.0},
        {"contrast": -0.1},
        {"gradual": 1.5},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options)) if "num_heads" not in options else "num_heads"):
        IBCAHead(CHANNELS, LABELS, **options)
