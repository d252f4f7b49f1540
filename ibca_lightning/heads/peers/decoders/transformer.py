"""What the transformer heads share: multi-head attention with its maps, blocks round it, a linear layer a label.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762. Different from
`torch.nn.MultiheadAttention`:

- the softmax is written out in float32, so that the maps cost nothing more and are exact under autocast;
- keys have no bias: it adds the same to all positions, which the softmax removes.

Shapes: B images, T tokens that ask, N tokens that are asked, C channels, A heads, E = C / A channels of a head, L
labels.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.system.errors import InputError


class MultiHeadAttention(nn.Module):
    """softmax(q k' / sqrt(E)) v of every head, side by side, then one linear layer.

    Args:
        width: C.
        num_heads: A >= 1, a divisor of C.
        dropout: Share in [0, 1) of the attention weights that training leaves out.
        bias: Whether queries and values have a bias.

    Raises:
        InputError: An argument is out of its range.
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        if num_heads < 1 or width % num_heads:
            raise InputError(f"num_heads that divides the width {width}", num_heads, "change num_heads or width")
        self.num_heads, self.dropout = num_heads, dropout_layer(dropout)
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width)
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight, gain=0.5**0.5)  # small enough for first maps that are near uniform
        for part in (self.query, self.value, self.output):
            if part.bias is not None:
                nn.init.zeros_(part.bias)

    def forward(self, query_BTC: Tensor, key_BNC: Tensor, value_BNC: Tensor) -> tuple[Tensor, Tensor]:
        """Ask: the answers (B, T, C), and the maps (B, T, N) of where they come from: float32, mean over the heads."""
        query_BATE, key_BANE = self._split(self.query(query_BTC)), self._split(self.key(key_BNC))
        value_BANE = self._split(self.value(value_BNC))
        with torch.autocast(query_BATE.device.type, enabled=False):
            scaled = query_BATE.float() * query_BATE.shape[-1] ** -0.5
            attention_BATN = (scaled @ key_BANE.float().mT).softmax(-1)
        kept_BATN = self.dropout(attention_BATN)
        answer_BTC: Tensor = self.output(self._join(kept_BATN.to(value_BANE.dtype) @ value_BANE))
        return answer_BTC, attention_BATN.mean(1)

    def mix(self, query_BNC: Tensor, value_BNC: Tensor) -> Tensor:
        """Let many tokens ask one another, without maps: N x N of them a head would fill the memory.

        For the same reason the attention weights see no dropout here.
        """
        query_BANE, key_BANE = self._split(self.query(query_BNC)), self._split(self.key(query_BNC))
        value_BANE = self._split(self.value(value_BNC))
        answer_BNC: Tensor = self.output(self._join(F.scaled_dot_product_attention(query_BANE, key_BANE, value_BANE)))
        return answer_BNC

    def _split(self, x_BTC: Tensor) -> Tensor:
        """(B, T, C) to (B, A, T, E)."""
        batch, tokens, channels = x_BTC.shape
        return x_BTC.reshape(batch, tokens, self.num_heads, channels // self.num_heads).transpose(1, 2)

    def _join(self, x_BATE: Tensor) -> Tensor:
        """(B, A, T, E) to (B, T, C)."""
        return x_BATE.transpose(1, 2).flatten(2)


class ReadBlock(nn.Module):
    """Tokens ask others, then a feed-forward net, each added and normed: a decoder layer without self-attention.

    x = norm(x + attention(x asks key, value)); x = norm(x + W relu(V x)). Dropout on attention weights, hidden channels
    and what is added to x.
    """

    def __init__(self, width: int, num_heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, num_heads, dropout)
        self.add = _AddAndFeed(width, ffn, dropout)

    def forward(
        self, x_BTC: Tensor, key_BNC: Tensor, value_BNC: Tensor, query_BTC: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read once: the new tokens, and the maps (B, T, N). Without a query the tokens themselves ask."""
        answer_BTC, attention_BTN = self.attention(x_BTC if query_BTC is None else query_BTC, key_BNC, value_BNC)
        return self.add(x_BTC, answer_BTC), attention_BTN


class MixBlock(nn.Module):
    """Tokens ask one another, then a feed-forward net, each added and normed: an encoder layer, without maps.

    Dropout on hidden channels and what is added to x.
    """

    def __init__(self, width: int, num_heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, num_heads)
        self.add = _AddAndFeed(width, ffn, dropout)

    def forward(self, x_BNC: Tensor, query_BNC: Tensor | None = None) -> Tensor:
        """Mix once: the new tokens. What asks and is compared is the query, without one the tokens themselves."""
        answer_BNC = self.attention.mix(x_BNC if query_BNC is None else query_BNC, x_BNC)
        mixed_BNC: Tensor = self.add(x_BNC, answer_BNC)
        return mixed_BNC


class _AddAndFeed(nn.Module):
    """x = norm(x + answer); x = norm(x + W relu(V x)): the norms behind, as in the first transformer."""

    def __init__(self, width: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.ffn_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = feed_forward(width, ffn, dropout, nn.ReLU())
        self.dropout = dropout_layer(dropout)

    def forward(self, x_BTC: Tensor, answer_BTC: Tensor) -> Tensor:
        x_BTC = self.norm(x_BTC + self.dropout(answer_BTC))
        result_BTC: Tensor = self.ffn_norm(x_BTC + self.dropout(self.ffn(x_BTC)))
        return result_BTC


def dropout_layer(share: float) -> nn.Dropout:
    """Dropout that refuses to drop everything.

    Raises:
        InputError: The share is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError("dropout in [0, 1)", share, "0 turns it off")
    return nn.Dropout(share)


def feed_forward(width: int, hidden: int, dropout: float, activation: nn.Module) -> nn.Sequential:
    """Two linear layers with an activation and dropout between them.

    Raises:
        InputError: There are no hidden channels, or the dropout is out of its range.
    """
    if hidden < 1:
        raise InputError("ffn >= 1", hidden, "two to four times the width is usual")
    return nn.Sequential(nn.Linear(width, hidden), activation, dropout_layer(dropout), nn.Linear(hidden, width))


class LabelLinear(nn.Module):
    """logit_l = w_l . x_l + b_l, in float32."""

    def __init__(self, num_labels: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_labels, width))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)

    def forward(self, x_BLC: Tensor) -> Tensor:
        """(B, L, C) to (B, L)."""
        return (x_BLC.float() * self.weight).sum(-1) + self.bias


def projection(channels: int, width: int) -> nn.Module:
    """A linear layer from the backbone's channels to the width; none where the width is 0.

    Raises:
        InputError: The width is below 0.
    """
    if width < 0:
        raise InputError("width >= 0", width, "0 keeps the feature map's channels")
    return nn.Linear(channels, width) if width else nn.Identity()
