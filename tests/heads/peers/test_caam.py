"""CaaM against numbers of the authors' code, hand-worked losses, and who may move whom."""

import math

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.heads import CaaMHead
from ibca_lightning.heads.peers.causal.caam import _standardised, environment_loss, spread, variance_penalty
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels


def wave(*shape: int, phase: float = 0.0) -> torch.Tensor:
    """Numbers of both signs that no random generator has a part in."""
    return torch.sin(torch.arange(torch.Size(shape).numel()) * 1.7 + phase).reshape(shape)


def test_standardised_by_hand() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 30.0], [2.0, 20.0], [2.0, 20.0]])
    expected = math.sqrt(2) * torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(_standardised(values), expected, atol=1e-4, rtol=0)


def test_numbers_of_the_authors_code() -> None:
    head = CaaMHead(4, 2, environments=3, reduction=2, invariance=2.0)
    layers = ["channel_gate.0.", "channel_gate.2."]
    names = [layer + kind for layer in layers for kind in ("bias", "weight")]
    names += ["norm.bias", "norm.weight", "position_gate.weight", "weight"]
    for phase, name in enumerate(names):
        parameter = head.get_parameter(name)
        parameter.data.copy_(wave(*parameter.shape, phase=phase))
    head.weight.data.mul_(20)
    x = wave(2, 4, 3, 4, phase=0.5)
    output = head.train()(x, torch.zeros(2, 2))
    by_batch = torch.tensor([[-0.8811707, -1.4541147], [-0.7691209, -1.1265109]])
    torch.testing.assert_close(output.logits, by_batch, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.losses["invariance"], torch.tensor(2 * 0.0848980), rtol=0, atol=1e-5)
    by_running_statistics = torch.tensor([[-0.5573874, -0.9701046], [-0.5013725, -0.7994558]])
    torch.testing.assert_close(head.eval()(x).logits, by_running_statistics, rtol=0, atol=1e-5)


def test_the_first_mask_is_flat() -> None:
    """Half a channel gate and half a spatial one: the logit of a quarter of the mean."""
    head = CaaMHead(CHANNELS, LABELS)
    for parameter in head.channel_gate.parameters():
        parameter.data.zero_()
    expected = F.linear(features().mean((2, 3)) / 4, head.weight.mean(0))
    torch.testing.assert_close(head.train()(features()).logits, expected)


def test_attention_is_that_of_the_masked_class_map() -> None:
    head = CaaMHead(CHANNELS, LABELS).eval()
    head.norm.weight.data.fill_(3.0)
    gated, position = head._mask(features())
    activation = torch.einsum("lc,bchw->blhw", head.weight.mean(0), gated * position.unsqueeze(1))
    output = head(features())
    torch.testing.assert_close(output.logits, activation.mean((2, 3)))
    torch.testing.assert_close(output.attention.flatten(2), activation.flatten(2).softmax(-1))


@pytest.mark.parametrize("training", [True, False])
def test_the_contribution_sums_to_the_logit_less_its_bias(training: bool) -> None:
    head = CaaMHead(CHANNELS, LABELS).train(training)
    head.norm.weight.data.fill_(3.0)
    head.bias.data.copy_(wave(LABELS))
    output = head(features())
    assert output.contribution is not None
    assert output.contribution.shape == output.attention.shape
    torch.testing.assert_close(output.contribution.sum((-2, -1)), output.logits - head.bias)
    # the softmax of that map scaled up is the attention, so its places are right too
    places = features()[0, 0].numel()
    torch.testing.assert_close((places * output.contribution).flatten(2).softmax(-1), output.attention.flatten(2))


def test_the_environments_share_the_bias() -> None:
    head = CaaMHead(CHANNELS, LABELS).train()
    head.weight.data.zero_()
    head.bias.data.fill_(2.0)
    loss = head(features(), torch.ones(len(features()), LABELS)).losses["environment"]
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)), abs=1e-6)


def test_first_attention_is_near_uniform() -> None:
    torch.manual_seed(0)
    attention = CaaMHead(512, LABELS)(torch.randn(2, 512, 4, 4).relu()).attention * 16
    assert attention.min() > 0.2
    assert attention.max() < 5


def test_spread_by_hand() -> None:
    weight = torch.tensor([[[3.0, 1.0]], [[1.0, -1.0]]])
    # mean (2, 0), so both lie at (1, 1): 2 / 4² and 2 / 2²
    torch.testing.assert_close(spread(weight), torch.tensor((2 / 16 + 2 / 4) / 2))
    assert spread(weight[:1].expand(3, -1, -1)) == 0


def test_environment_loss_by_hand() -> None:
    logits = torch.tensor([[[0.0], [9.0], [9.0]], [[2.0], [9.0], [9.0]], [[9.0], [-1.0], [9.0]], [[5.0], [5.0], [5.0]]])
    targets = torch.tensor([[1], [1], [0], [-1]])
    # pictures 0 and 1 in the first environment, 2 in the second, the unknown one alone in the third
    first = (math.log(2) + math.log1p(math.exp(-2))) / 2
    second = math.log1p(math.exp(-1))
    got = environment_loss(logits, targets, torch.tensor([0, 0, 1, 2]))
    torch.testing.assert_close(got, torch.tensor((first + second) / 2))


def test_variance_penalty_is_that_of_autograd() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 2), torch.tensor([[1, 0], [1, -1], [0, 1], [0, 0], [1, 1], [-1, 0]])
    environment = torch.tensor([0, 1, 0, 1, 1, 0])
    expected = torch.tensor(0.0)
    for e in (0, 1):
        for l in (0, 1):  # noqa: E741
            here = (environment == e) & (targets[:, l] >= 0)
            stretch = torch.ones((), requires_grad=True)
            loss = F.binary_cross_entropy_with_logits(stretch * logits[here, l], targets[here, l].float())
            expected = expected + here.sum() * torch.autograd.grad(loss, stretch)[0] ** 2
    got = variance_penalty(logits, targets, F.one_hot(environment, 2).float())
    torch.testing.assert_close(got, expected / (targets >= 0).sum())


def test_partition_parts_the_pictures_that_the_spurious_features_get_wrong() -> None:
    """The mark (channel 1) keeps the label company in 48 of 64 pictures; the split finds those where it does not."""
    torch.manual_seed(0)
    target = torch.arange(64) % 2
    deceived = torch.arange(64) >= 48
    mark = torch.where(deceived, 1 - target, target)
    spurious = torch.stack([mark.float(), deceived.float()], 1)  # what the mark says, and a hint of the context
    biased = (4 * mark - 2).float().unsqueeze(1)
    split = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(split.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (-variance_penalty(biased, target.unsqueeze(1), split(spurious).softmax(-1))).backward()
        optimizer.step()
    side = split(spurious).argmax(-1)
    assert (side[deceived] == side[deceived][0]).all()
    assert (side[~deceived] == 1 - side[deceived][0]).all()


def test_the_search_for_environments_moves_neither_mask_nor_map() -> None:
    head = CaaMHead(CHANNELS, LABELS).train()
    x = features().requires_grad_()
    losses = head(x, labels()).losses
    for own in ("partition", "spurious"):  # the partition is parted by the biased classifier, and does not move it
        head.zero_grad()
        losses[own].backward()
        moved = {name.split(".")[0] for name, p in head.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {own}
    assert x.grad is None


def test_classifiers_start_alike_and_unknown_labels_part_nothing() -> None:
    losses = CaaMHead(CHANNELS, LABELS).train()(features(), -torch.ones(4, LABELS)).losses
    assert all(loss == 0 for loss in losses.values())


@pytest.mark.parametrize("options", [{"environments": 1}, {"invariance": -1.0}, {"reduction": 0}])
def test_option_out_of_its_range(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="CaaMHead's " + next(iter(options))):
        CaaMHead(CHANNELS, LABELS, **options)
