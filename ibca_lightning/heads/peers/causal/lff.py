"""LfF: learning from failure, a debiasing method on global average pooling.

Nam et al., "Learning from Failure: Training Debiased Classifier from Biased Classifier", NeurIPS 2020, arXiv
2007.02561; code alinlab/LfF. A biased classifier is trained to trust what is easy, by the generalised cross-entropy;
the debiased one is weighted towards the examples on which the biased one fails.

Different from the paper:

- Multi-label: a softmax over classes becomes one sigmoid a class, so an "example" is a (picture, class) pair, and each
  pair has its own weight.
- One map for both: the paper's two networks are two linear layers here. The biased one reads the map without a gradient
  into it, so that, as in the paper, the debiased classifier's features are not shaped by the biased loss; but the
  biased classifier has no features of its own.
- Both losses are divided by the largest of their class and label value, as in the code: where positives are rare, the
  biased classifier fails on all of them, and without this the weight would only shift the logits up. The code averages
  the losses of each training example over the epochs and takes the largest of the training set; a head does not know
  which example it sees, so here it is the loss of this step and a maximum that decays by 1 % a step.
- The generalised cross-entropy is the paper's, (1 - p^q) / q; the code's gradient is q times as large.

Checked against the code (run beside ours): the gradients of both losses and the weights of a first step, the two
classes' logits there being (0, x) for our x.

Shapes: B images, C channels, H x W positions, L labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.heads.base import Head, HeadOutput
from ibca_lightning.heads.peers.pooling.gap import GAPHead
from ibca_lightning.heads.peers.projection import projection
from ibca_lightning.losses import masked_mean
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.processes import largest


class LfFHead(Head):
    """GAP, trained with weight L_b / (L_b + L_d) for each (picture, class).

    L_b and L_d are the binary cross-entropies of the biased and the debiased classifier, each as a share of the largest
    that it had lately on the same class and label value. The weight acts on the
    gradient of the logits (`weigh_gradient`), so any element-wise loss is weighted. At evaluation, and for attention,
    the head is the debiased GAP alone; the biased classifier exists in training only.

    Args:
        channels: C of the feature map.
        num_labels: L.
        q: Of the generalised cross-entropy, in (0, 1]: near 0 it is the cross-entropy, 1 is 1 - p. The larger, the less
            a hard example moves the biased classifier.
        width: Channels after a projection (1x1 convolution, GELU) in front; 0 for none, as in the paper.

    Raises:
        InputError: An argument is out of its range.

    Examples:
        >>> import torch
        >>> from ibca_lightning.heads import LfFHead
        >>> head, maps = LfFHead(channels=8, num_labels=3), torch.rand(2, 8, 6, 5)
        >>> torch.equal(head(maps, torch.tensor([[1, 0, -1]] * 2)).logits, head(maps).logits)  # labels change gradients
        True
    """

    def __init__(self, channels: int, num_labels: int, q: float = 0.7, width: int = 0) -> None:
        super().__init__(channels, num_labels)
        if not 0 < q <= 1:
            raise InputError("LfFHead's q in (0, 1]", q, "the paper's is 0.7")
        self.q = q
        self.project, channels = projection(channels, width, "LfFHead")
        self.debiased = GAPHead(channels, num_labels)
        self.biased = nn.Linear(channels, num_labels)
        self.biased_share, self.debiased_share = ShareOfLargest(num_labels), ShareOfLargest(num_labels)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """See `Head.forward`; the loss "biased" is the generalised cross-entropy of the biased classifier."""
        features = self.project(features)
        output: HeadOutput = self.debiased(features)
        if not self.training or labels is None:
            return output
        with torch.autocast(features.device.type, enabled=False):
            pooled = features.detach().flatten(2).mean(-1, dtype=torch.float32)
            biased = F.linear(pooled, self.biased.weight.float(), self.biased.bias.float())
            share_b = self.biased_share(-log_probability_of_truth(biased.detach(), labels), labels)
            share_d = self.debiased_share(-log_probability_of_truth(output.logits.detach().float(), labels), labels)
            weight = share_b / (share_b + share_d + 1e-8)
            loss = masked_mean(generalised_cross_entropy(biased, labels, self.q), labels >= 0)
        return output._replace(logits=weigh_gradient(output.logits, weight), losses={"biased": loss})


class ShareOfLargest(nn.Module):
    """Divides losses by the largest that was lately seen with the same class and label value.

    Each time that a class and value are in a batch, the largest that was seen is first multiplied by `decay`.
    """

    largest: Tensor

    def __init__(self, num_labels: int, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("largest", torch.zeros(2, num_labels))  # of the negatives, of the positives

    def forward(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Take in losses (B, L) of a batch and divide them: in [0, 1] where the label is known, finite elsewhere."""
        of_value = torch.stack([labels == 0, labels == 1])
        # -1 where there is none, in any process
        in_batch = largest(torch.where(of_value, losses, -1.0).amax(1))
        before = self.largest.float()
        lately = torch.where(in_batch >= 0, torch.maximum(self.decay * before, in_batch), before)
        self.largest.copy_(lately)
        return losses / torch.where(labels == 1, lately[1], lately[0]).clamp(min=1e-8)


def weigh_gradient(logits: Tensor, weight: Tensor) -> Tensor:
    """Return the logits, bit for bit, and multiply the gradient that flows back into them by a constant weight.

    For any loss that is a mean or a sum of one term a logit, this is exact example weighting: the gradient is that of
    the loss whose terms are multiplied by the weight, while the loss that is logged stays the unweighted one. So a head
    can weigh pictures and classes, whatever loss it is trained with.
    """
    constant = logits.detach()
    return constant + weight.detach().to(logits.dtype) * (logits - constant)


def log_probability_of_truth(logits: Tensor, labels: Tensor) -> Tensor:
    """Log p_t, the probability given to a label's true value; unknown ones count as 0, for the caller to leave out."""
    return F.logsigmoid(torch.where(labels == 1, logits, -logits))


def generalised_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """(1 - p_t^q) / q, whose gradient is p_t^q times that of the cross-entropy.

    Source: Zhang & Sabuncu, NeurIPS 2018, arXiv 1805.07836. Terms (B, L); those of unknown labels are to be left out.
    """
    return -torch.expm1(q * log_probability_of_truth(logits, labels)) / q
