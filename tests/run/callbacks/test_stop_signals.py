"""How often several processes ask each other whether one was to stop; stops themselves: tests/run/test_resume.py."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ibca_lightning.run.callbacks import stop_signals
from ibca_lightning.run.callbacks.stop_signals import StopSignals


@pytest.mark.parametrize(("device", "every"), [("meta", 10), ("cpu", 1)])
def test_processes_ask_each_other_once_a_second_where_asking_waits_for_a_device(
    device: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = [0.0], []

    def reduce(values: Any, reduce_op: str) -> torch.Tensor:
        asked.append(clock[0])
        return torch.tensor([15.0 if clock[0] > 8 else 0.0, 0.1])  # a step of the slowest takes 0.1 s

    monkeypatch.setattr(stop_signals.time, "monotonic", lambda: clock[0])
    strategy = SimpleNamespace(root_device=torch.device(device), reduce=reduce)
    trainer: Any = SimpleNamespace(
        is_global_zero=True, world_size=2, checkpoint_callbacks=[], strategy=strategy, accumulate_grad_batches=1
    )
    stop = StopSignals()
    monkeypatch.setattr(stop, "_take", lambda handler: None)
    stop.on_train_start(trainer, None)  # type: ignore[arg-type]

    def steps() -> None:
        for batch in range(200):
            clock[0] += 0.1
            stop.on_train_batch_start(trainer, None, None, batch)  # type: ignore[arg-type]

    with pytest.raises(stop_signals.SIGTERMException):
        steps()
    gaps = [round((b - a) / 0.1) for a, b in itertools.pairwise(asked)]
    assert gaps[-1] == max(gaps) == every
    assert 8 < asked[-1] < 10
