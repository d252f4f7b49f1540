"""What IBCAHead makes of its parts: reductions, switches, schedule, unknown labels, causes beside marks."""

import itertools
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal

from ibca_lightning.heads import GAPHead, Head, HeadOutput, IBCAHead, MILAttentionHead, PairHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError
from tests.heads.contract import BATCH, CHANNELS, HEIGHT, LABEL_BATCHES, LABELS, WIDTH, features, labels

POSITIONS = HEIGHT * WIDTH
# The parts, each with the argument that turns it off or on.
SWITCHES: dict[str, list[Any]] = {
    "num_heads": [1, 3],
    "evidence_attention": [0.0, 1.0],
    "hidden": [0, 8],
    "alignment": [0.0, 1.0],
    "bottleneck": [0.0, 1e-3],
    "contrast": [0.0, 0.1],
}
COMBINATIONS = [dict(zip(SWITCHES, values, strict=True)) for values in itertools.product(*SWITCHES.values())]
COMBINATIONS.append({"class_components": 2})
EVIDENCE_ALONE = {"hidden": 0, "alignment": 0.0, "contrast": 0.0}


def build(progress: float = 1.0, seed: int = 0, **options: Any) -> IBCAHead:
    torch.manual_seed(seed)
    small = {"width": 16, "num_heads": 3, "hidden": 8, "latent": 6, "background": 3}
    head = IBCAHead(CHANNELS, LABELS, **{**small, **options})
    head.set_progress(progress)
    return head


def awake(head: IBCAHead) -> IBCAHead:
    """The head with numbers that a start near 0 would hide: scales that differ, a bias, queries that look somewhere."""
    torch.manual_seed(1)
    for parameter in head.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return head


def projected(head: IBCAHead) -> Tensor:
    """x (B, C, N), the one projection of the map, by matrix products."""
    flat = features().flatten(2)
    first, second = ((layer.weight.flatten(1), layer.bias[:, None]) for layer in (head.project, head.refine))
    f = F.gelu(first[0] @ flat + first[1])
    return f + F.gelu(second[0] @ f + second[1])


def total(output: HeadOutput, y: Tensor) -> Tensor:
    return masked_bce(output.logits, y) + sum(output.losses.values())


def assert_same(a: HeadOutput, b: HeadOutput, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.logits, b.logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(a.attention, b.attention, rtol=0, atol=tolerance)


# --- the formula, and reductions to simpler heads ---------------------------------------------------------------------


def test_prediction_is_the_formula_of_the_docstring() -> None:
    """One picture, class and kind after the other, the mixture by torch.distributions."""
    options = {"evidence_attention": 0.7, "alignment": 0.5, "gradual": 0.5}
    head = awake(build(progress=0.2, **options)).eval()
    assert head.encoder is not None
    assert head.mixture is not None
    output, x_all = head(features()), projected(head)
    log_pi, scale = head.mixture.log_weight, (3 * torch.tanh(head.mixture.raw_log_std / 3)).exp()
    for b, c in itertools.product(range(BATCH), range(LABELS)):
        x = x_all[b].T
        components = [Independent(Normal(m, s), 1) for m, s in zip(head.mixture.mean, scale, strict=True)]
        joint = torch.stack([d.log_prob(head.encoder.mean(x)) for d in components]) + log_pi[:, None]
        mixture = joint[c] - joint[LABELS:].logsumexp(0)
        logit, maps = head.bias[c], []
        for a in range(3):
            w = head.evidence.weight[a, c]
            evidence = head.evidence.scale[a, c] * (x @ w) / w.norm()
            # t = 0.2 / 0.5
            maps.append((x @ head.queries.query[a, c] + 0.7 * evidence + 0.5 * 0.4 * mixture).softmax(0))
            logit = logit + (maps[-1] * evidence).sum() / 3
        attention = torch.stack(maps).mean(0)
        logit = logit + head.attended((attention @ x).expand(1, LABELS, -1))[0, c]
        torch.testing.assert_close(output.attention[b, c].flatten(), attention, rtol=0, atol=1e-5)
        torch.testing.assert_close(output.logits[b, c], logit, rtol=0, atol=1e-5)


def step_by_step(head: IBCAHead, y: Tensor) -> dict[str, Tensor]:
    """A training step as it was written before it was made of few kernels: one part after the other, means as means."""
    x, evidence = projected(head), head.evidence
    c = torch.einsum("alc,bcn->baln", F.normalize(evidence.weight, dim=-1), x) * evidence.scale[..., None]
    score = torch.einsum("alc,bcn->baln", head.queries.query, x) + head.evidence_attention * c
    mean, raw = (F.conv1d(x, of.weight[..., None], of.bias) for of in (head.encoder.mean, head.encoder.log_std))
    log_std, scale = 3 * torch.tanh(raw / 3), (3 * torch.tanh(head.mixture.raw_log_std / 3)).exp()

    def joint(z: Tensor) -> Tensor:
        density = Independent(Normal(head.mixture.mean, scale), 1).log_prob(z.mT[:, :, None])
        return (density + head.mixture.log_weight).mT

    e = joint(mean)[:, :LABELS] - joint(mean)[:, LABELS:].logsumexp(1, keepdim=True)
    sample = joint(mean + log_std.exp() * torch.randn(mean.mT.shape).mT)  # drawn before the classifier drops
    score = score + head.alignment * head.schedule * e[:, None]
    attention = score.softmax(-1).mean(1)
    logits = (score.softmax(-1) * c).mean(1).sum(-1) + head.bias + head.attended(attention @ x.mT)
    allowed = torch.cat([y != 0, y.new_ones(len(y), len(head.mixture.background_log_weight), dtype=torch.bool)], 1)
    sample = sample.masked_fill(~allowed[..., None], -torch.inf)
    total_weight = head.mixture.log_weight.expand_as(allowed).masked_fill(~allowed, -torch.inf).logsumexp(1)
    prior = sample.logsumexp(1) - total_weight[:, None]
    bottleneck = -(Normal(0.0, log_std.exp()).entropy().sum(1) + prior).mean()
    fixed, s, a = x.detach().mT, c.mean(1).softmax(-1).detach(), attention.detach()
    relative = s / s.amax(-1, keepdim=True)
    spurious = a * (1 - relative) + 1e-3 / a.shape[-1]
    background = 1 - torch.where((y != 0)[..., None], relative, 0.0).amax(1, keepdim=True) + 1e-3
    anchor, *rest = (F.normalize(m @ fixed, dim=-1) for m in (attention, s, spurious, background))
    reference, present = rest[0] * (y == 1)[..., None], (y == 1).sum(0)
    similar = anchor @ F.normalize(reference.sum(0), dim=-1).T
    similar = similar.masked_fill(torch.eye(LABELS, dtype=torch.bool) | (present == 0), -torch.inf)
    own = [F.normalize(reference.sum(0) - reference, dim=-1), rest[1], rest[2]]
    similar = torch.cat([*((anchor * of).sum(-1, keepdim=True) for of in own), similar], -1) / 0.2
    pairs = (similar.logsumexp(-1) - similar[..., 0]) * logits.sigmoid().detach()
    contrast = pairs[(y == 1) & (present > 1)].mean()
    losses = {"bottleneck": head.bottleneck_weight * bottleneck, "contrast": 0.2 * head.schedule * contrast}
    return {"logits": logits, "attention": attention.view(BATCH, LABELS, HEIGHT, WIDTH), **losses}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_step_and_its_gradients_are_those_of_the_parts_one_by_one_and_draw_the_same(layout: Any) -> None:
    steps = []
    for fast in (True, False):
        head = awake(build(0.2, gradual=0.5)).train()
        torch.manual_seed(3)
        if fast:
            output = head(features().contiguous(memory_format=layout), labels())
            found = {"logits": output.logits, "attention": output.attention, **output.losses}
        else:
            found = step_by_step(head, labels())
        (masked_bce(found["logits"], labels()) + 10 * found["bottleneck"] + found["contrast"]).backward()
        slopes = {name: parameter.grad for name, parameter in head.named_parameters()}
        steps.append({**found, **slopes, "next": torch.rand(2)})
    for name, expected in steps[1].items():
        torch.testing.assert_close(
            steps[0][name], expected, rtol=1e-4, atol=2e-6, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_uniform_attention_leaves_pooled_evidence() -> None:
    """The mean over kinds of GAP on unit weights."""
    head = awake(build(evidence_attention=0.0, **EVIDENCE_ALONE)).eval()
    head.queries.query.data.zero_()
    gap = GAPHead(16, LABELS)
    scaled = head.evidence.scale[..., None] * F.normalize(head.evidence.weight, dim=-1)
    gap.linear.weight.data.copy_(scaled.mean(0))
    gap.linear.bias.data.copy_(head.bias)
    output = head(features())
    torch.testing.assert_close(output.logits, gap(projected(head)[..., None]).logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(output.attention, torch.full_like(output.attention, 1 / POSITIONS))


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_one_kind_that_weighs_itself_is_mil_attention(progress: float) -> None:
    head = awake(build(progress, num_heads=1, evidence_attention=1.0, **EVIDENCE_ALONE)).eval()
    head.queries.query.data.zero_()
    head.evidence.scale.data.fill_(1.0)
    mil = MILAttentionHead(16, LABELS)
    mil.weight.data.copy_(F.normalize(head.evidence.weight[0], dim=-1))
    mil.bias.data.copy_(head.bias)
    assert_same(head(features()), mil(projected(head).unflatten(-1, (HEIGHT, WIDTH))))


def test_kinds_that_are_equal_are_one() -> None:
    one, three = awake(build(num_heads=1)).eval(), build(num_heads=3).eval()
    state = one.state_dict()
    for name in ("queries.query", "evidence.weight", "evidence.scale"):
        state[name] = state[name].repeat(3, *[1] * (state[name].ndim - 1))
    three.load_state_dict(state)
    assert_same(three(features()), one(features()))
    for head in (one, three):  # the contrast's reference too is a mean over kinds, of which a sum would be sharper
        head.train().attended.dropout.p = 0.0
    contrasts = [head(features(), labels()).losses["contrast"] for head in (one, three)]
    torch.testing.assert_close(contrasts[1], contrasts[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("without", [{"alignment": 0.0}, {"progress": 0.0}])
def test_alignment_off_is_the_schedules_start(without: dict[str, float]) -> None:
    reduced = build(**without).eval()
    reduced.load_state_dict({k: v for k, v in awake(build()).state_dict().items() if k in reduced.state_dict()})
    reduced.set_progress(without.get("progress", 1.0))
    start = awake(build(progress=0.0)).eval()
    assert_same(reduced(features()), start(features()))
    start.set_progress(1.0)
    assert (start(features()).attention - reduced(features()).attention).abs().max() > 1e-3


def test_silent_classifier_leaves_the_evidence() -> None:
    both, evidence = awake(build()).eval(), build(hidden=0).eval()
    both.attended.output.data.zero_()
    evidence.load_state_dict({k: v for k, v in both.state_dict().items() if not k.startswith("attended")})
    assert_same(both(features()), evidence(features()))


def test_without_classifier_the_contribution_sums_to_the_logit() -> None:
    head = awake(build(hidden=0)).eval()
    output = head(features())
    assert output.contribution is not None
    torch.testing.assert_close(output.contribution.sum((-2, -1)) + head.bias, output.logits, rtol=0, atol=1e-5)
    assert head.bias.abs().min() > 0
    assert build(hidden=8).eval()(features()).contribution is None


# --- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", LABEL_BATCHES)
def test_every_parameter_has_a_finite_gradient_in_every_combination(batch: str) -> None:
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
    def parameters(**options: Any) -> set[str]:
        return {name for name, _ in build(**options).named_parameters()}

    def losses(**options: Any) -> set[str]:
        return set(build(**options).train()(features(), labels()).losses)

    everything = parameters()
    assert {name.split(".")[0] for name in everything} == {
        "project", "refine", "evidence", "queries", "attended", "bias", "encoder", "mixture",
    }  # fmt: skip
    assert everything - parameters(hidden=0) == {name for name in everything if name.startswith("attended.")}
    assert everything - parameters(alignment=0.0) == {
        name for name in everything if name.startswith(("encoder.", "mixture."))
    }
    assert everything - parameters(bottleneck=0.0) == {
        "encoder.log_std.weight", "encoder.log_std.bias", "mixture.class_log_weight",
    }  # fmt: skip
    assert losses() == {"bottleneck", "contrast"}
    assert losses(bottleneck=0.0) == losses(alignment=0.0) == {"contrast"}
    assert losses(contrast=0.0) == {"bottleneck"}
    assert losses(contrast=0.0, alignment=0.0) == set()


def test_a_class_of_equal_looks_is_one_of_one_look() -> None:
    one, three = awake(build()).train(), build(class_components=3).train()
    state = one.state_dict()
    assert list(state) == list(three.state_dict())
    for name in ("mixture.mean", "mixture.raw_log_std"):
        classes, background = state[name][:LABELS], state[name][LABELS:]
        state[name] = torch.cat([classes.repeat_interleave(3, 0), background])
    three.load_state_dict(state)
    outputs = []
    for head in (one, three):
        torch.manual_seed(2)
        outputs.append(head(features(), labels()))
    assert_same(*outputs)
    torch.testing.assert_close(outputs[0].losses, outputs[1].losses)
    three.mixture.mean.data[::2] += 1  # looks that differ
    torch.manual_seed(2)
    assert not torch.allclose(three(features(), labels()).attention, outputs[0].attention)


def test_weights_scale_their_loss() -> None:
    results = []
    for factor in (1, 2):
        head = build(contrast=factor * 0.1, bottleneck=factor * 1e-3).train()
        torch.manual_seed(1)
        results.append(head(features(), labels()).losses)
    assert min(results[0].values()) > 0
    torch.testing.assert_close(results[1], {k: 2 * v for k, v in results[0].items()})


def test_dropout_is_of_the_classifier_and_of_training_alone() -> None:
    options = {"bottleneck": 0.0, "dropout": 0.5}
    for head, drops in ((build(**options), True), (build(**{**options, "dropout": 0.0}), False),
                        (build(**options, hidden=0), False)):  # fmt: skip
        awake(head).train()
        assert torch.equal(head(features()).logits, head(features()).logits) != drops
        assert torch.equal(head.eval()(features()).logits, head(features()).logits)


# --- schedule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_attention_starts_near_uniform(progress: float) -> None:
    torch.manual_seed(0)
    head = IBCAHead(CHANNELS, LABELS).eval()
    head.set_progress(progress)
    relative = head(features()).attention * POSITIONS
    assert relative.min() > 0.5
    assert relative.max() < 2


def test_alignment_moves_attention_gradually() -> None:
    head = build(gradual=0.5, evidence_attention=0.0).eval()
    head.queries.query.data.zero_()
    head.mixture.mean.data.normal_()
    maps = []
    for progress in (0.0, 0.1, 0.25, 0.5, 1.0):
        head.set_progress(progress)
        maps.append(head(features()).attention)
    distances = [(m - 1 / POSITIONS).abs().sum().item() for m in maps]
    assert distances[0] < 1e-5
    assert distances == sorted(distances)
    assert distances[2] < distances[3]
    torch.testing.assert_close(maps[3], maps[4])  # t has reached 1


def test_contrast_rises_with_the_schedule_and_the_bottleneck_does_not() -> None:
    values = []
    for progress in (0.0, 0.125, 0.25, 0.5, 1.0):
        head = build(progress, gradual=0.5)
        head.alignment = 0.0  # so that the maps stay, and only the weight moves
        torch.manual_seed(1)
        values.append(head.train()(features(), labels()).losses)
    contrast, bottleneck = (torch.stack([v[key] for v in values]) for key in ("contrast", "bottleneck"))
    torch.testing.assert_close(contrast, contrast[-1] * torch.tensor([0.0, 0.25, 0.5, 1.0, 1.0]))
    torch.testing.assert_close(bottleneck, bottleneck[-1].expand(5))
    assert contrast[-1] > 0


def test_without_gradual_the_progress_does_not_matter() -> None:
    start, end = build(0.0, gradual=0.0).eval(), build(1.0, gradual=0.0).eval()
    assert_same(start(features()), end(features()))
    assert start.train()(features(), labels()).losses["contrast"] > 0


def warned(head: Head, *given: Tensor) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        head(*given)
    return [str(warning.message) for warning in found]


@pytest.mark.parametrize("make", [IBCAHead, PairHead], ids=lambda head: head.__name__)
def test_a_loop_that_never_says_how_far_it_is_is_told_once(make: type[Head]) -> None:
    head = make(CHANNELS, LABELS)
    assert not warned(head.eval(), features(), labels()) + warned(head.train(), features())
    (said,) = warned(head, features(), labels())
    assert said.startswith("IBCAHead: the mixture stays out of its attention and its contrast is 0")
    assert "nobody called set_progress; call it before each step, from 0 at the first to 1" in said
    assert not warned(head, features(), labels())


def test_who_says_it_or_has_it_from_a_checkpoint_or_needs_it_not_is_told_nothing() -> None:
    at_start = IBCAHead(CHANNELS, LABELS)
    at_start.set_progress(0.0)
    restored = IBCAHead(CHANNELS, LABELS)
    state = restored.state_dict()
    assert {"progress", "bias"} <= set(state)
    restored.load_state_dict(state | {"progress": torch.tensor(0.3)})
    others = [IBCAHead(CHANNELS, LABELS, gradual=0.0), IBCAHead(CHANNELS, LABELS, alignment=0.0, contrast=0.0)]
    for head in (at_start, restored, *others):
        assert not warned(head.train(), features(), labels())


# --- what the contrast moves ------------------------------------------------------------------------------------------


def gradients_of_contrast(head: IBCAHead) -> dict[str, float]:
    """The largest gradient of the contrast alone at each parameter, 0 where none arrives."""
    head.train()(features(), labels()).losses["contrast"].backward()
    return {name: 0.0 if p.grad is None else p.grad.abs().max().item() for name, p in head.named_parameters()}


def test_contrast_moves_where_a_class_looks() -> None:
    moved = {name for name, value in gradients_of_contrast(awake(build())).items() if value > 0}
    assert moved >= {"queries.query", "evidence.weight", "evidence.scale", "mixture.mean", "encoder.mean.weight"}
    assert not {name for name in moved if name.startswith("attended.") or name == "bias"}


def test_contrast_moves_evidence_through_attention_alone() -> None:
    moved = gradients_of_contrast(awake(build(evidence_attention=0.0)))
    assert moved["queries.query"] > 0
    assert moved["evidence.weight"] == moved["evidence.scale"] == 0


def test_contrast_does_not_move_what_the_features_mean() -> None:
    """With scores that do not depend on x, all that is left of x is what is pooled."""
    head = awake(build(evidence_attention=0.0, alignment=0.0))
    head.queries.query.data.zero_()
    moved = gradients_of_contrast(head)
    assert moved["queries.query"] > 0
    assert {name for name, value in moved.items() if value > 0} == {"queries.query"}


def test_contrast_counts_a_pair_by_the_probability_of_its_class() -> None:
    losses = []
    for bias in (-30.0, 0.0, 30.0):
        head = awake(build(evidence_attention=0.0)).train()
        for parameter in (head.evidence.scale, head.attended.output):
            parameter.data.zero_()  # so that the bias is the logit
        head.bias.data.fill_(bias)
        losses.append(head(features(), labels()).losses["contrast"])
    nothing, half, whole = losses
    assert nothing < 1e-9
    torch.testing.assert_close(half, whole / 2)
    assert whole > 1e-3


def test_without_the_intervention_the_contrast_alone_is_lower() -> None:
    """It has one negative less, and all else is the same."""
    outputs = [awake(build(intervention=on)).train()(features(), labels()) for on in (True, False)]
    assert outputs[0].losses["contrast"] > outputs[1].losses["contrast"] > 0
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits)
    torch.testing.assert_close(outputs[0].attention, outputs[1].attention)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_unknown_label_moves_its_class_through_the_prior_only() -> None:
    y = torch.ones(BATCH, LABELS, dtype=torch.int8)
    y[:, 2] = -1
    head = build(0.7).train()
    output = head(features(), y)
    (masked_bce(output.logits, y) + output.losses["contrast"]).backward(retain_graph=True)
    for parameter, axis in (
        (head.evidence.weight, 1), (head.evidence.scale, 1), (head.bias, 0), (head.queries.query, 1),
        (head.attended.output, 0), (head.mixture.mean, 0),
    ):  # fmt: skip
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


def test_the_bottleneck_takes_a_sample_and_the_attention_the_mean() -> None:
    head = build(dropout=0.0).train()
    first, second = head(features(), labels()), head(features(), labels())
    assert first.losses["bottleneck"] != second.losses["bottleneck"]
    for output in (second, head.eval()(features())):
        torch.testing.assert_close(output.logits, first.logits)
        torch.testing.assert_close(output.attention, first.attention)


# --- what it learns ---------------------------------------------------------------------------------------------------


def trained(head: IBCAHead, x: Tensor, y: Tensor, steps: int = 150, rate: float = 1e-2) -> IBCAHead:
    """The head after full-batch steps on maps (B, C, 16), in evaluation mode."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    for step in range(steps):
        head.set_progress(step / (steps - 1))
        optimizer.zero_grad()
        total(head.train()(x.unflatten(-1, (4, 4)), y), y).backward()
        optimizer.step()
    return head.eval()


def test_it_learns_where_a_class_is() -> None:
    """One channel marks the class at one random position of half of the pictures; the attention must find it."""
    torch.manual_seed(0)
    y = (torch.rand(128, 2) < 0.5).to(torch.int8)
    x = 0.3 * torch.randn(128, 8, 16).relu()
    place = torch.randint(16, (128, 2))
    for label in (0, 1):
        x[torch.arange(128), label, place[:, label]] += 2.0 * y[:, label]
    output = trained(IBCAHead(8, 2, width=16, hidden=16), x, y)(x.unflatten(-1, (4, 4)))
    share = output.attention.flatten(2).gather(2, place[:, :, None])[..., 0][y == 1].mean()
    assert ((output.logits > 0) == (y == 1)).float().mean() > 0.98
    assert share > 0.5  # uniform attention: 0.06


def shares_of_cause_and_mark(contrast: float, seed: int) -> tuple[float, float]:
    """Two classes, each with a cause and, in 95 of 100 pictures alike, a mark as strong at another position."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(128, 2, generator=generator) < 0.5
    marked = torch.where(torch.rand(128, 2, generator=generator) < 0.95, y, ~y)
    x = 0.3 * torch.randn(128, 8, 16, generator=generator).relu()
    place = torch.rand(128, 16, generator=generator).argsort(1)[:, :4]
    for channel, present in enumerate(torch.cat([y, marked], dim=1).T):
        x[torch.arange(128), channel, place[:, channel]] += 2.0 * present
    torch.manual_seed(seed)
    head = IBCAHead(8, 2, width=16, num_heads=2, hidden=16, contrast=contrast)
    attention = trained(head, x, y.to(torch.int8), steps=120)(x.unflatten(-1, (4, 4))).attention.flatten(2)
    cause, mark = (attention.gather(2, place[:, at, None])[..., 0][y & marked].mean().item() for at in ([0, 1], [2, 3]))
    return cause, mark


@pytest.mark.slow
def test_contrast_gathers_attention_on_the_cause_beside_a_mark_as_strong() -> None:
    """Not beside any mark: what the evidence favours is what the contrast gathers on, a mark too, if far stronger."""
    without, shares = ([shares_of_cause_and_mark(contrast, seed) for seed in range(3)] for contrast in (0.0, 0.05))
    assert all(cause > 0.8 > 0.1 > mark for cause, mark in shares)
    assert sum(cause for cause, _ in shares) > sum(cause for cause, _ in without) + 0.1


# --- size and errors --------------------------------------------------------------------------------------------------


def test_a_thousand_labels() -> None:
    head = IBCAHead(CHANNELS, 1000, width=64).train()
    head.set_progress(1.0)
    y = (torch.rand(4, 1000) < 0.1).to(torch.int8)
    output = head(torch.randn(4, CHANNELS, 12, 12), y)
    total(output, y).backward()
    assert output.logits.shape == (4, 1000)
    assert all(loss.isfinite() for loss in output.losses.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0), ("num_heads", 0), ("evidence_attention", -1.0), ("hidden", -1), ("dropout", -0.1),
        ("dropout", 1.0), ("alignment", -1.0), ("latent", 0), ("background", 0), ("bottleneck", -1.0),
        ("contrast", -0.1), ("gradual", -0.1), ("gradual", 1.5), ("class_components", 0),
    ],
)  # fmt: skip
def test_wrong_options_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        IBCAHead(CHANNELS, LABELS, **{name: value})
