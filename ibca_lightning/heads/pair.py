"""Two pictures of a case, side by side in one map, under any other head.

Three branches (left, right, fused) as networks for dermoscopic and clinical photographs have them (GELN, 2023; two
paths: MS two-path CNN, 2020). Ours: their texts are public in part, and they have classifiers, and backbones, for each
branch; here one head reads all branches, so that any head can take part.

Shapes: B images, C channels, H x W positions of the whole map, L labels.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.ibca import IBCAHead
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.system.errors import InputError

Fusion = Literal["three", "gate", "concat", "sum"]


class _Branch(NamedTuple):
    """A map that the head reads, and which share of each position lies left and right, (B, 1, H, W/2) or a number."""

    features: Tensor
    left: Tensor | float
    right: Tensor | float


class PairHead(Head):
    """The mean of one head's answers on maps that two halves a (left) and b (right) give.

    | `fusion` | the head reads |
    |---|---|
    | `three` | a, b, and the fused map F_a a + F_b b |
    | `gate` | a 2 sigma(G_a [a; b]) and b 2 sigma(G_b [b; a]) |
    | `concat` | the fused map alone |
    | `sum` | a + b |

    Convolutions are 1x1. F_a and F_b start as half the identity, G_a and G_b at 0: left and right are treated alike at
    first, and which of them came first (prior, current) can be learnt; but `sum` never knows.

    Attention and contribution are the mean over the branches, each laid where its map comes from. A position of a fused
    map is divided by the lengths of the two vectors that it is the sum of: what is masked has no share. Of an odd
    number of columns both halves have the middle one.

    Args:
        channels: C of the feature map.
        num_labels: L.
        head: What reads each branch.
        fusion: See above.
        width: Channels after a projection of both halves (1x1 convolution, GELU); 0 for none.

    Raises:
        InputError: `width` is negative, or there is no such fusion.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import GAPHead, PairHead
        >>> output = PairHead(channels=8, num_labels=3, head=GAPHead, fusion="gate")(torch.rand(2, 8, 6, 12))
        >>> output.attention.shape, round(output.attention[0, 0, :, :6].sum().item(), 1)  # half of it on each picture
        (torch.Size([2, 3, 6, 12]), 0.5)
    """

    def __init__(
        self, channels: int, num_labels: int, head: Callable[[int, int], Head] = IBCAHead, fusion: Fusion = "three",
        width: int = 256,
    ) -> None:  # fmt: skip
        super().__init__(channels, num_labels)
        if fusion not in get_args(Fusion):
            raise InputError(f"PairHead's fusion {', '.join(get_args(Fusion))}", fusion, "choose one")
        self.fusion = fusion
        self.project, channels = projection(channels, width, "PairHead")
        self.head = head(channels, num_labels)
        path = f"{type(self.head).__module__}.{type(self.head).__qualname__}"
        self.options["head"] = {"class_path": path, "init_args": self.head.options}  # plain, for the checkpoint
        if fusion in ("three", "concat"):
            self.fuse = nn.Parameter(torch.eye(channels).div(2).repeat(2, 1, 1)[..., None, None])
        if fusion == "gate":
            self.gates = nn.ModuleList(nn.Conv2d(2 * channels, channels, 1) for _ in range(2))
            for parameter in self.gates.parameters():
                nn.init.zeros_(parameter)

    @property
    def needs_labels(self) -> bool:
        """Whether the head of the branches does."""
        return self.head.needs_labels

    def see_labels(self, labels: Tensor) -> None:
        """Hand them to the head of the branches."""
        self.head.see_labels(labels)

    def set_progress(self, progress: float) -> None:
        """Also of the head of the branches."""
        super().set_progress(progress)
        self.head.set_progress(progress)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; the losses are those of the head, to which each branch is a picture."""
        columns = features.shape[-1]
        half = (columns + 1) // 2
        features = self.project(features)
        branches = self._branches(features[..., :half], features[..., columns - half :])
        count, every = len(branches), torch.cat([branch.features for branch in branches])
        output: HeadOutput = self.head(every, None if labels is None else labels.repeat(count, 1))

        def placed(maps: Tensor) -> Tensor:
            wide = [
                F.pad(each * branch.left, (0, columns - half)) + F.pad(each * branch.right, (columns - half, 0))
                for each, branch in zip(maps.chunk(count), branches, strict=True)
            ]
            return torch.stack(wide).mean(0)

        logits = torch.stack(output.logits.chunk(count)).mean(0)
        contribution = None if output.contribution is None else placed(output.contribution)
        return HeadOutput(logits, placed(output.attention), output.losses, contribution)

    def _branches(self, left: Tensor, right: Tensor) -> list[_Branch]:
        if self.fusion == "gate":
            gates = (self.gates[0](torch.cat([left, right], 1)), self.gates[1](torch.cat([right, left], 1)))
            opened = [half * 2 * gate.sigmoid() for half, gate in zip((left, right), gates, strict=True)]
            return [_Branch(opened[0], 1.0, 0.0), _Branch(opened[1], 0.0, 1.0)]
        parts = (left, right) if self.fusion == "sum" else (F.conv2d(left, self.fuse[0]), F.conv2d(right, self.fuse[1]))
        with torch.no_grad():
            lengths = [part.float().norm(dim=1, keepdim=True) for part in parts]
            total = lengths[0] + lengths[1]
            share = torch.where(total > 0, lengths[0] / total, 0.5)
        fused = _Branch(parts[0] + parts[1], share, 1 - share)
        return [_Branch(left, 1.0, 0.0), _Branch(right, 0.0, 1.0), fused] if self.fusion == "three" else [fused]
