"""What the items of a batch draw at random, and what that leaves of the run's random numbers."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ibca_lightning.data import loader
from ibca_lightning.data.loader import Guard, make_loader
from ibca_lightning.data.sampling import EpochSampler


class Draws(Dataset[Any]):
    """Items that draw from every generator there is."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, torch.rand(()).item(), np.random.rand(), random.random()])  # noqa: NPY002


def test_a_batch_draws_what_its_items_would_and_puts_the_runs_numbers_aside_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aside, isolate = [], loader.isolate_rng

    def counted(**options: Any) -> Any:
        aside.append(1)
        return isolate(**options)

    monkeypatch.setattr(loader, "isolate_rng", counted)
    guard = Guard(Draws())
    one_by_one = torch.stack([guard[draw] for draw in EpochSampler(Draws(), 0)])
    assert len(aside) == 8
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    batches = list(make_loader(Draws(), 4, 0, sampler=EpochSampler(Draws(), 0)))
    assert len(aside) == 8 + 2
    assert torch.equal(torch.cat(batches), one_by_one)
    assert len({float(value) for value in one_by_one[:, 1]}) == 8, "drawn alike"
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002


def test_rows_that_are_no_draws_take_the_runs_numbers() -> None:
    torch.manual_seed(5)
    found = Guard(Draws()).__getitems__([0, 1])
    torch.manual_seed(5)
    expected = [torch.rand(()).item() for _ in range(2)]
    assert [item[1].item() for item in found] == pytest.approx(expected)
