"""Attentive pooling against timm's own module."""

import torch
from timm.layers import AttentionPoolLatent
from torch import nn

from ibca_lightning.heads import AttentivePoolHead
from tests.heads.contract import CHANNELS, LABELS, features
from tests.heads.reference import seeded


def test_same_weights_same_logits_as_behind_timms_pooling() -> None:
    head, x = seeded(AttentivePoolHead, 8, 5, (2, 3), width=0, num_heads=2, ffn=32)
    theirs = AttentionPoolLatent(8, num_heads=2, norm_layer=nn.LayerNorm).eval()
    own = head.state_dict()
    attention = {name: own[f"pool.{name}.weight"] for name in ("query", "key", "value", "output")}
    theirs.load_state_dict({
        "latent": own["query"][None], "q.weight": attention["query"], "q.bias": own["pool.query.bias"],
        "kv.weight": torch.cat([attention["key"], attention["value"]]),
        "kv.bias": torch.cat([torch.zeros(8), own["pool.value.bias"]]),
        "proj.weight": attention["output"], "proj.bias": own["pool.output.bias"],
        "norm.weight": own["norm.weight"], "norm.bias": own["norm.bias"],
        "mlp.fc1.weight": own["mlp.0.weight"], "mlp.fc1.bias": own["mlp.0.bias"],
        "mlp.fc2.weight": own["mlp.3.weight"], "mlp.fc2.bias": own["mlp.3.bias"],
    })  # fmt: skip
    expected = nn.functional.linear(theirs(x.flatten(2).mT), own["classify.weight"], own["classify.bias"])
    torch.testing.assert_close(head(x).logits, expected, rtol=0, atol=1e-5)


def test_a_class_map_says_what_the_class_reads_where_the_query_looks() -> None:
    """Without the MLP and with one head a logit is the sum of what is read at each position, weighed by the look."""
    torch.manual_seed(0)
    head = AttentivePoolHead(CHANNELS, LABELS, num_heads=1).eval()
    for layer in (head.mlp[3], head.pool.output):
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(head.mlp[3].weight)
    nn.init.zeros_(head.classify.bias)
    output, x = head(features()), features().flatten(2)
    read = torch.stack([head(place[..., None, None]).logits for place in x.unbind(-1)], -1)  # of each place by itself
    looks = torch.log(output.attention.flatten(2)) - read
    looks = (looks - looks.logsumexp(-1, keepdim=True)).exp()
    torch.testing.assert_close(looks, looks[:, :1].expand_as(looks), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close((looks * read).sum(-1), output.logits, rtol=1e-3, atol=1e-4)
