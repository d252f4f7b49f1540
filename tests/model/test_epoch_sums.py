"""The mean of an epoch that several processes take up is that of its samples, each counted once."""

import pytest
import torch

from ibca_lightning.model.epoch_sums import EpochSums


@pytest.mark.parametrize(("samples", "processes"), [(13, 4), (2, 4), (8, 4), (5, 2), (7, 1)])
def test_the_samples_of_an_epoch_are_shared_out_without_rest(samples: int, processes: int) -> None:
    saved = EpochSums()
    saved.add("loss", torch.tensor(2.0), samples)
    parts = []
    for rank in range(processes):
        taken = EpochSums()
        taken.load_state_dict(saved.state_dict(), processes, rank)
        parts.append(taken.add("loss", torch.tensor(5.0), 3))
        assert taken.add("loss", torch.tensor(5.0), 3) is None
    shares = [part.samples for part in parts if part is not None]
    assert sum(shares) == samples
    assert max(shares) - min(shares) <= 1
    assert all(float(part.mean) == 2 for part in parts if part is not None)


def test_a_long_epoch_of_half_precision_losses_keeps_its_samples() -> None:
    sums = EpochSums()
    for _ in range(1001):
        sums.add("loss", torch.tensor(0.5, dtype=torch.bfloat16), 3)
    assert sums.state_dict() == {"loss": [1501.5, 3003.0]}
