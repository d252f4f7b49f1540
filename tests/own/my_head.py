import torch
from torch import nn

from ibca_lightning.heads import Head, HeadOutput


class MaxHead(Head):
    def __init__(self, channels: int, num_labels: int, dropout: float = 0.0) -> None:
        super().__init__(channels, num_labels)
        self.maps = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_labels, 1))

    def forward(self, features: torch.Tensor, labels: torch.Tensor | None = None) -> HeadOutput:
        maps = self.maps(features)
        return HeadOutput(maps.amax((2, 3)), maps.flatten(2).softmax(-1).view_as(maps), {})
