"""Two pictures in one map: what equal, swapped and masked halves give, under every other head."""

from functools import partial

import pytest
import torch

from ibca_lightning.heads import CSRAHead, GAPHead, GCNHead, Head, IBCAHead, PairHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.model.checkpoint import build_head, head_spec
from ibca_lightning.system.errors import InputError
from tests.heads.contract import BATCH, CHANNELS, HEADS, HEIGHT, LABELS, WIDTH, features, labels

FUSIONS = ("three", "gate", "concat", "sum")
HALF = WIDTH // 2
fusions = pytest.mark.parametrize("fusion", FUSIONS)


def build(fusion: str, head: type[Head] = CSRAHead, width: int = 0, channels: int = CHANNELS) -> PairHead:
    torch.manual_seed(0)
    made = PairHead(channels, LABELS, head, fusion, width).eval()
    if isinstance(made.head, CSRAHead):
        made.head.temperature = 4.0
    return made


def swapped(x: torch.Tensor) -> torch.Tensor:
    return x.roll(HALF, -1)


def learnt(head: PairHead) -> PairHead:
    """Left and right are no longer treated alike."""
    for parameter in head.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return head


@fusions
def test_equal_halves_have_equal_branches(fusion: str) -> None:
    head = build(fusion)
    half = features()[..., :HALF]
    output, alone = head(torch.cat([half, half], -1)), head.head(half * (2 if fusion == "sum" else 1))
    torch.testing.assert_close(output.logits, alone.logits)
    for part in (output.attention, output.contribution):
        torch.testing.assert_close(part[..., :HALF], part[..., HALF:])
    torch.testing.assert_close(output.attention[..., :HALF], alone.attention / 2)
    torch.testing.assert_close(output.contribution.sum((2, 3)), output.logits)


@fusions
def test_swapped_halves_have_swapped_maps_until_their_order_is_learnt(fusion: str) -> None:
    head = build(fusion)
    before, after = head(features()), head(swapped(features()))
    torch.testing.assert_close(after.logits, before.logits)
    torch.testing.assert_close(after.attention, swapped(before.attention))
    torch.testing.assert_close(after.contribution, swapped(before.contribution))
    head = learnt(head)
    difference = (head(features()).logits - head(swapped(features())).logits).abs().max()
    assert (difference > 1e-3) == (fusion != "sum")


@fusions
def test_a_masked_half_contributes_nothing(fusion: str) -> None:
    head, x = learnt(build(fusion)), features()
    x[..., :HALF] = 0
    output = head(x)
    assert output.contribution[..., :HALF].abs().max() == 0
    assert output.contribution[..., HALF:].abs().max() > 0
    torch.testing.assert_close(output.contribution.sum((2, 3)), output.logits)
    if fusion in ("concat", "sum"):
        assert output.attention[..., :HALF].abs().max() == 0


def test_three_branches_are_read_by_one_head_and_averaged() -> None:
    head, x = learnt(build("three")), features()
    left, right = x[..., :HALF], x[..., HALF:]
    fused = torch.nn.functional.conv2d(torch.cat([left, right], 1), torch.cat([*head.fuse], 1))
    outputs = [head.head(part) for part in (left, right, fused)]
    torch.testing.assert_close(head(x).logits, sum(output.logits for output in outputs) / 3)
    maps = head(x).attention
    both = maps[..., :HALF] + maps[..., HALF:]
    torch.testing.assert_close(both, sum(output.attention for output in outputs) / 3)


def test_a_gate_opens_by_what_the_other_half_shows() -> None:
    head, x = build("gate"), features()
    head.gates[0].bias.data.fill_(-1e4)  # left is shut, whatever it shows
    torch.testing.assert_close(head(x).logits, head.head(x[..., HALF:]).logits / 2)
    head.gates[0].bias.data.fill_(torch.tensor(3.0).log())
    output = head.head(1.5 * x[..., :HALF]).logits + head.head(x[..., HALF:]).logits
    torch.testing.assert_close(head(x).logits, output / 2)


@fusions
@pytest.mark.parametrize("columns", [1, 5])
def test_an_odd_number_of_columns_shares_the_middle_one(fusion: str, columns: int) -> None:
    output = build(fusion)(torch.rand(2, CHANNELS, 3, columns))
    torch.testing.assert_close(output.attention.sum((2, 3)), torch.ones(2, LABELS))
    torch.testing.assert_close(output.contribution.sum((2, 3)), output.logits)


@fusions
@pytest.mark.parametrize("inner", [head for head in HEADS if head is not PairHead], ids=lambda head: head.__name__)
def test_every_head_reads_pairs(fusion: str, inner: type[Head]) -> None:
    head = build(fusion, inner, width=8).train()
    head.set_progress(0.7)
    assert head.head.progress == head.progress
    for _ in range(2):
        output = head(features(), labels())
        (masked_bce(output.logits, labels()) + sum(output.losses.values())).backward()
    assert output.attention.shape == (BATCH, LABELS, HEIGHT, WIDTH)
    torch.testing.assert_close(output.attention.sum((2, 3)), torch.ones(BATCH, LABELS), rtol=0, atol=1e-5)
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@fusions
def test_a_checkpoint_names_the_head_of_the_branches(fusion: str) -> None:
    head = PairHead(CHANNELS, LABELS, partial(IBCAHead, width=16, hidden=0), fusion, width=8).eval()
    spec = head_spec(head)
    inner = spec["init_args"]["head"]
    assert (inner["class_path"], inner["init_args"]["width"]) == ("ibca_lightning.heads.IBCAHead", 16)
    other = build_head(spec, CHANNELS, LABELS).eval()
    assert head_spec(other) == spec
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(other(features()).logits, head(features()).logits)


def test_the_head_of_the_branches_may_want_labels() -> None:
    assert not build("three", GAPHead).needs_labels
    head = build("three", GCNHead)
    assert head.needs_labels
    head.see_labels(torch.ones(3, LABELS))
    assert (head.head.links > 0).all()


@pytest.mark.parametrize(("record", "said"), [
    ({"class_path": "clinic.OwnHead"}, "--trust clinic"),
    ({"init_args": 3, "class_path": "x"}, "options of the checkpoint"),
])  # fmt: skip
def test_a_wrong_head_of_the_branches_is_named(record: dict, said: str) -> None:
    spec = head_spec(build("sum"))
    spec["init_args"]["head"] = record
    with pytest.raises(InputError, match=said):
        build_head(spec, CHANNELS, LABELS)


def test_a_wrong_fusion_is_named() -> None:
    with pytest.raises(InputError, match="PairHead's fusion three, gate, concat, sum, got mean"):
        PairHead(CHANNELS, LABELS, fusion="mean")  # type: ignore[arg-type]
