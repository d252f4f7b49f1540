"""ML-GCN: classifiers that a graph of the labels makes, on a pooled map.

Chen et al., "Multi-Label Image Recognition with Graph Convolutional Networks", CVPR 2019, arXiv 1904.03582. Two graph
convolutions turn an embedding of each label into the weights of its classifier; the graph joins labels that come
together in the training split. A row that people ask for: skin lesions with such a graph are in GELN (2023), whose own
abstract finds that a graph alone hurts.

Different from the paper:

- The embeddings are learnt. Theirs are GloVe vectors of the label's name, which names of findings hardly have. They
  start at 0.3, the spread of GloVe's numbers, so that classifiers start at their scale.
- P(j | i) counts the pictures in which j is known; the paper has no unknown labels.
- Map and logits run in float32, and there is a `width`.

Same graph and logits as the authors' code with the same weights: the numbers in the test.

Shapes: B images, C channels, N = H x W positions, L labels, D hidden size.
"""
# ruff: noqa: N803, N806 - shape suffixes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.layers import positionwise
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.system.errors import InputError


class GCNHead(Head):
    """W = G LeakyReLU(G E W1) W2, with E an embedding and W a classifier a label; logit_l = w_l . max_n x_n.

    G is the normalised graph (`label_graph`): 1 on the diagonal, and `weight` shared among the labels i with P(j | i)
    at or above `threshold`. It is made of the labels of the training split (`see_labels`) and saved with the weights;
    without them no two labels are joined.

    Its attention is the softmax over the positions of w_l . x_n, as GAP's. The logit sums the maxima of the channels,
    each of which lies at one position: that is its contribution.

    Args:
        channels: C of the feature map.
        num_labels: L.
        hidden: D, of the embeddings and of the layer between.
        threshold: In (0, 1], of P(j | i).
        weight: In [0, 1), what neighbours weigh together beside the label itself.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import GCNHead
        >>> head = GCNHead(channels=8, num_labels=3)
        >>> head.see_labels(torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))  # the training split; `ibca fit` shows it
        >>> (head.links > 0).int().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """

    links: Tensor

    def __init__(
        self, channels: int, num_labels: int, hidden: int = 256, threshold: float = 0.4, weight: float = 0.25,
        width: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(channels, num_labels)
        self.require(1, hidden=hidden)
        self.require(0, below=1, weight=weight)
        if not 0 < threshold <= 1:
            raise InputError("GCNHead's threshold in (0, 1]", threshold, "the paper's is 0.4")
        self.threshold, self.neighbours = threshold, weight
        self.project, channels = projection(channels, width, "GCNHead")
        self.embedding = nn.Parameter(0.3 * torch.randn(num_labels, hidden))
        self.first = nn.Parameter(torch.empty(hidden, hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.second = nn.Parameter(torch.empty(hidden, channels).uniform_(-(channels**-0.5), channels**-0.5))
        self.register_buffer("links", torch.eye(num_labels))

    @property
    def needs_labels(self) -> bool:
        """Yes: they make the graph."""
        return True

    def see_labels(self, labels: Tensor) -> None:
        """Make the graph of the labels (N, L) of the training split."""
        present, known = (labels == 1).double(), (labels >= 0).double()
        self.links.copy_(label_graph(present.T @ present, present.T @ known, self.threshold, self.neighbours))
        self._told.add("see_labels")

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; no losses of its own."""
        if labels is not None and self.training:
            self.expect(
                "see_labels", lambda: self.links.count_nonzero() == self.num_labels, "its graph joins no labels"
            )
        x_BCN = self.project(features).flatten(2)
        with torch.autocast(x_BCN.device.type, enabled=False):
            x_BCN, graph_LL = x_BCN.float(), self.links.float()
            hidden_LD = F.leaky_relu(graph_LL @ (self.embedding.float() @ self.first.float()), 0.2)
            classifiers_LC = graph_LL @ (hidden_LD @ self.second.float())
            attention = positionwise(classifiers_LC, x_BCN).softmax(-1)
            largest, place = x_BCN.max(-1, keepdim=True)
            contribution = positionwise(classifiers_LC, torch.zeros_like(x_BCN).scatter(-1, place, largest))
            logits = contribution.sum(-1)
        grid = (-1, *logits.shape[1:], *features.shape[-2:])
        return HeadOutput(logits, attention.reshape(grid), {}, contribution.reshape(grid))


def label_graph(together_LL: Tensor, known_LL: Tensor, threshold: float, weight: float) -> Tensor:
    """The graph G of labels, (L, L): D^-1/2 A^T D^-1/2 with D the row sums of A; see `adjacency`.

    Args:
        together_LL: Pictures that have labels i and j.
        known_LL: Pictures that have i, and of which j is known.
        threshold: Of P(j | i).
        weight: What the neighbours of a label weigh together.
    """
    joined = adjacency(together_LL, known_LL, threshold, weight)
    scale = joined.sum(1).rsqrt()
    return scale[:, None] * joined.T * scale


def adjacency(together_LL: Tensor, known_LL: Tensor, threshold: float, weight: float) -> Tensor:
    """A_ij = weight [P(j | i) >= threshold] / (the number of i for this j) beside the diagonal, which is 1."""
    own = torch.eye(len(together_LL), dtype=torch.float64)
    edges = (together_LL.double() / known_LL.double().clamp(min=1) >= threshold) * (1 - own.to(together_LL.device))
    return edges * weight / (edges.sum(0) + 1e-6) + own.to(edges.device)
