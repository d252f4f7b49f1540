"""GLoRI against the authors' code, and what its global vector is."""

import pytest
import torch

from ibca_lightning.heads import GLoRIHead
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features
from tests.heads.reference import seeded

# Logits, and the cross attention of the first picture, of github.com/RPIDIAL/CheXFound (glori.py, cat_cls) on the
# case of `seeded`: two blocks of 6 channels and their class tokens. Its keys have a bias, which is 0 here.
LOGITS = [
    [1.5686269, 2.0314336, -3.7811885, 0.5421900, 1.6249768],
    [1.1858051, 2.6244888, -2.3222609, 2.2284267, 1.0298240],
]
ATTENTION = [
    [0.0405025, 0.1615038, 0.5989957, 0.0736630, 0.0621261, 0.0632089],
    [0.0576060, 0.1316835, 0.4331289, 0.0915532, 0.1456305, 0.1403979],
    [0.0810718, 0.2072884, 0.4437149, 0.1222172, 0.0725845, 0.0731233],
    [0.0797619, 0.1781188, 0.4273437, 0.1190442, 0.0983709, 0.0973604],
    [0.0626350, 0.2007142, 0.5282842, 0.1097976, 0.0486332, 0.0499358],
]


def test_same_weights_same_numbers_as_the_authors_code() -> None:
    head, x = seeded(GLoRIHead, 24, 5, (2, 3), width=8, num_heads=2, ffn=12, class_token=True)
    x[:, 12:] = x[:, 12:, :1, :1]  # the same at every position
    output = head(x)
    torch.testing.assert_close(output.logits, torch.tensor(LOGITS), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.attention[0].flatten(1), torch.tensor(ATTENTION), rtol=0, atol=1e-5)


def test_class_tokens_are_not_read_and_without_them_the_mean_is_the_global_vector() -> None:
    torch.manual_seed(0)
    head = GLoRIHead(CHANNELS, LABELS, class_token=True).eval()
    x = features()
    other = x.clone()
    other[:, CHANNELS // 2 :] += 1
    torch.testing.assert_close(head(other).attention, head(x).attention)
    step = head.classify_global.weight.sum(1)
    torch.testing.assert_close(head(other).logits, head(x).logits + step, rtol=0, atol=1e-4)
    whole = GLoRIHead(CHANNELS, LABELS).eval()
    before = whole(x).logits
    whole.classify_global.weight.data.zero_()
    whole.classify_global.weight.data[:, 3] = 1
    local = whole(x).logits - x[:, 3].mean((1, 2))[:, None]
    whole.classify_global.weight.data.zero_()
    torch.testing.assert_close(whole(x).logits, local, rtol=0, atol=1e-5)
    assert not torch.allclose(before, local)


def test_as_many_channels_of_tokens_as_of_patches() -> None:
    with pytest.raises(InputError, match=r"33 together; give model\.feature_blocks"):
        GLoRIHead(33, LABELS, class_token=True)
