"""1x1 convolutions in both layouts; batch normalisation, of a single value by the running statistics."""

import torch
from torch import nn

from ibca_lightning.heads.layers import Conv1x1, MapBatchNorm


def test_a_batch_is_normalised_as_by_torch() -> None:
    ours, theirs = MapBatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(2, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)


def test_a_single_value_is_read_against_the_running_statistics() -> None:
    norm = MapBatchNorm(1, eps=0.0)
    norm.running_mean.fill_(1.0)  # type: ignore[union-attr]
    norm.running_var.fill_(4.0)  # type: ignore[union-attr]
    got = norm.train()(torch.full((1, 1, 1, 1), 7.0))
    torch.testing.assert_close(got, torch.full((1, 1, 1, 1), 3.0))
    torch.testing.assert_close(norm.running_mean, torch.ones(1))


def test_a_convolution_of_1x1_is_that_of_torch_in_both_layouts() -> None:
    ours, theirs = Conv1x1(3, 4), nn.Conv2d(3, 4, 1)
    theirs.load_state_dict(ours.state_dict())
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
        torch.testing.assert_close(ours(x), theirs(x))
        assert ours(x).is_contiguous(memory_format=layout)
