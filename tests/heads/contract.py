"""What every head is tested with: the heads themselves and small batches."""

import torch
from torch import Tensor

from ibca_lightning import heads
from ibca_lightning.heads import Head

BATCH, CHANNELS, LABELS, HEIGHT, WIDTH = 4, 32, 5, 4, 6

# Every head that the package offers; one added to `heads.__all__` is covered without a change here.
HEADS: list[type[Head]] = [
    value
    for value in (getattr(heads, name) for name in heads.__all__)
    if isinstance(value, type) and issubclass(value, Head) and value is not Head
]


def features(batch: int = BATCH, scale: float = 1.0, seed: int = 0) -> Tensor:
    """A feature map as a backbone gives it: after a rectifier."""
    return scale * torch.randn(batch, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)).relu()


def labels() -> Tensor:
    """Positives shared by two pictures, a picture without any, unknown labels, a wholly unknown picture."""
    return torch.tensor([[1, 1, 0, -1, 0], [1, 0, 1, 0, -1], [0, 0, 0, 0, 0], [-1, -1, -1, -1, -1]], dtype=torch.int8)


LABEL_BATCHES = {
    "mixed": labels(),
    "no positive": torch.zeros(BATCH, LABELS, dtype=torch.int8),
    "all positive": torch.ones(BATCH, LABELS, dtype=torch.int8),
    "all unknown": -torch.ones(BATCH, LABELS, dtype=torch.int8),
}
