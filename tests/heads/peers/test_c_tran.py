"""C-Tran against the authors' code, and its label-mask training."""

import pytest
import torch

from ibca_lightning.heads import CTranHead
from ibca_lightning.heads.peers.decoders.c_tran import draw_given
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels
from tests.heads.reference import seeded, shuffled

# Logits of github.com/QData/C-Tran on `seeded`'s case with nothing given and with GIVEN given, and the first picture's
# last attention of label tokens on feature tokens, nothing given, scaled to sum 1. Its parameters are ours by other
# names, except that the bias of the keys and the embedding of the state "hidden" are random there, the latter taken
# from the labels' embeddings and added to the two other states'.
LOGITS = [[0.7095597, 1.2176858, -0.3835405], [0.7176829, 1.2207732, -0.3689474]]
GIVEN = [[1, -1, 0], [0, -1, 1]]
LOGITS_GIVEN = [[0.6916912, 1.2227761, -0.3740840], [0.7110196, 1.2239028, -0.3547519]]
ATTENTION = [
    [0.1630842, 0.1680572, 0.1704745, 0.1717056, 0.1626156, 0.1640630],
    [0.1643834, 0.1643351, 0.1690169, 0.1729608, 0.1675123, 0.1617914],
    [0.1650563, 0.1627575, 0.1681667, 0.1731841, 0.1700713, 0.1607640],
]


def test_same_weights_same_numbers_as_the_authors_code() -> None:
    head, x = seeded(CTranHead, 8, 3, (2, 3), width=0, num_heads=2, ffn=12, layers=2)
    output = head(x)
    torch.testing.assert_close(output.logits, torch.tensor(LOGITS), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.attention[0].flatten(1), torch.tensor(ATTENTION), rtol=0, atol=1e-5)
    logits, _ = head.read(x.flatten(2).mT, torch.tensor(GIVEN))
    torch.testing.assert_close(logits, torch.tensor(LOGITS_GIVEN), rtol=0, atol=1e-5)


def test_given_labels_and_unknown_ones_have_no_part_in_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = CTranHead(CHANNELS, LABELS, dropout=0.0).train()
    given = torch.tensor([[True, False, True, False, False]] * 4)
    monkeypatch.setattr("ibca_lightning.heads.peers.decoders.c_tran.draw_given", lambda *_: given)
    head(features(), labels().clamp(min=0).masked_fill(torch.arange(5) == 3, -1)).losses["label_mask"].backward()
    used = head.classify.bias.grad
    assert used is not None
    assert (used != 0).tolist() == [False, True, False, False, True]


def test_loss_is_weighted_and_can_be_turned_off() -> None:
    losses = []
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        head = CTranHead(CHANNELS, LABELS, label_mask=weight).train()
        losses.append(head(features(), labels()).losses["label_mask"])
    torch.testing.assert_close(losses[1], losses[0] / 4)
    off = CTranHead(CHANNELS, LABELS, label_mask=0.0).train()
    assert off(features(), labels()).losses == {}
    assert off.state is None


def test_a_label_learns_from_another_that_is_given() -> None:
    """Pictures say nothing; label 1 is label 0, label 2 its contrary."""
    torch.manual_seed(0)
    head = CTranHead(4, 3, width=16, num_heads=2, ffn=32, dropout=0.0).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    x = torch.zeros(32, 4, 1, 2)
    for _ in range(60):
        first = torch.randint(0, 2, (32, 1))
        output = head(x, torch.cat((first, first, 1 - first), 1))
        loss = output.losses["label_mask"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # knowing nothing costs log 2
    assert masked_bce(output.logits, torch.cat((first, first, 1 - first), 1)).item() > 0.5, "the logits are not told"


def test_draw_is_between_one_and_most_and_never_unknown() -> None:
    torch.manual_seed(0)
    given = draw_given(torch.zeros(6000, 4, dtype=torch.int8), 3)
    counts = given.sum(1).bincount(minlength=5).tolist()
    assert counts[0] == counts[4] == 0
    assert all(abs(count - 2000) < 200 for count in counts[1:4])
    assert all(abs(share - 0.5) < 0.03 for share in given.float().mean(0).tolist())
    some = torch.tensor([[1, -1, 0, -1]]).repeat(500, 1)
    assert not draw_given(some, 3)[some < 0].any()
    assert not draw_given(some, 0).any()


@pytest.mark.parametrize("layers", [1, 2])
def test_places_are_not_told_apart(layers: int) -> None:
    torch.manual_seed(0)
    head = CTranHead(CHANNELS, LABELS, layers=layers).eval()
    x, order = shuffled(features())
    here, there = head(features()), head(x)
    torch.testing.assert_close(there.logits, here.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(there.attention.flatten(2), here.attention.flatten(2)[..., order], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layers": 0}, "layers >= 1"), ({"label_mask": -1.0}, "label_mask >= 0"), ({"most_given": 1.0}, "most_given"),
     ({"num_heads": 7}, "divides the width 256"), ({"dropout": 1.0}, "dropout"), ({"ffn": 0}, "ffn >= 1"),
     ({"width": -1}, "width >= 0")],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CTranHead(CHANNELS, LABELS, **options)
