"""Ends a run that is asked to end: the step is finished, `last.ckpt` saved, the exit code that of the signal."""

import os
import shlex
import signal
import threading
import time
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ibca_lightning.run.callbacks.last_checkpoint import LastCheckpoint
from ibca_lightning.run.callbacks.progress import say

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is what SLURM is told to send before its limit
_STOPPING = b"stopping after this step (within a validation: after it); Ctrl-C again stops at once\n"


class StopSignals(Callback):
    """While training, SIGTERM, SIGUSR1 and a first Ctrl-C end the run between two steps, in all processes at the same.

    A second Ctrl-C ends it at once. A validation is finished first: there is no going on in the middle of one. Outside
    of training every signal ends the command at once. Lightning would save to a file of its own, in SLURM alone, and
    tell the other processes from within the signal handler, where a collective operation may be under way.
    """

    def __init__(self) -> None:
        self._asked: int = 0
        self._passed, self._every, self._last = 0, 1, 0.0  # places to stop at since all were asked, and the clock
        self._says = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over; the trainer gives them back at its end."""
        self._says = trainer.is_global_zero
        self._take(self._ask)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over."""
        self._take(_stop)

    on_predict_start = on_test_start

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over, where this is not part of training."""
        if trainer.state.fn == "validate":
            self._take(_stop)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End the run here, if any process was asked to and nothing is pending."""
        saver = next((c for c in trainer.checkpoint_callbacks if isinstance(c, LastCheckpoint)), None)
        if saver is not None and not saver.can_save(trainer, batch_idx):
            return
        asked = self._asked if trainer.world_size == 1 else self._asked_anywhere(trainer)
        if not asked:
            return
        if saver is not None:
            saver.save_before(trainer, batch_idx)
            if saver.best_model_path:
                last = os.path.relpath(saver.best_model_path)
                config = os.path.join(os.path.dirname(os.path.dirname(last)), "config.yaml")
                say(f"saved; to go on: ibca fit --config {shlex.quote(config)} --ckpt_path {shlex.quote(last)}")
        _stop(asked)

    def _asked_anywhere(self, trainer: pl.Trainer) -> int:
        """What any process was asked; on GPUs about once a second, as each time all wait for all.

        When they ask again is counted in places where they could stop, by the slowest, so that all do so at the same.
        """
        self._passed += 1
        if self._passed < self._every:
            return 0
        now = time.monotonic()
        took = (now - self._last) / self._passed
        shared = torch.tensor([self._asked, took], device=trainer.strategy.root_device)
        asked, slowest = trainer.strategy.reduce(shared, reduce_op="max").tolist()
        if trainer.strategy.root_device.type != "cpu":
            self._every = min(max(round(1 / slowest), 1), 2 * self._every)
        self._passed, self._last = 0, now
        return int(asked)

    def _take(self, handler: Any) -> None:
        self._asked, self._passed, self._every, self._last = 0, 0, 1, time.monotonic()
        for number in _SIGNALS if threading.current_thread() is threading.main_thread() else ():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as of a job in the background
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked:
            raise KeyboardInterrupt
        if not self._asked and self._says:
            os.write(2, _STOPPING)  # not sys.stderr, which may be in the middle of a line
        self._asked = max(self._asked, number)


def _stop(number: int, frame: FrameType | None = None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SIGTERMException(signal.Signals(number).name)
