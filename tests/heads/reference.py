"""Small seeded cases whose expected numbers come from the authors' own code, run once with the weights mapped over."""

from typing import TypeVar

import torch
from torch import Tensor

from ibca_lightning.heads import Head

AnyHead = TypeVar("AnyHead", bound=Head)


def seeded(
    head_class: type[AnyHead], channels: int, num_labels: int, size: tuple[int, int], **options: object
) -> tuple[AnyHead, Tensor]:
    """A head in evaluation mode and two feature maps, all numbers from one generator with seed 0.

    First the features, the positive part of normal numbers (2, C, H, W); then the state (parameters and fixed queries,
    not the schedule) in the alphabetical order of its names: half of normal numbers, in the shape of each.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, channels, *size, generator=generator).relu()
    head = head_class(channels, num_labels, **options).eval()
    state = head.state_dict()
    for name in sorted(state.keys() - {"progress"}):
        state[name].copy_(0.5 * torch.randn(state[name].shape, generator=generator))
    return head, features


def shuffled(features: Tensor) -> tuple[Tensor, Tensor]:
    """The same positions in another order, and that order (N,)."""
    order = torch.randperm(features[0, 0].numel(), generator=torch.Generator().manual_seed(1))
    return features.flatten(2)[..., order].reshape(features.shape), order
