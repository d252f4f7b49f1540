"""A worker process that only reads: one thread, no ear for signals, and no life after its main process."""

import atexit
import multiprocessing
import signal
from functools import cache

import cv2


def quiet_worker(worker: int) -> None:
    """Run at the start of a worker process, whose number changes nothing."""
    cv2.setNumThreads(0)  # the workers already fill the cores
    # A terminal, SLURM and `timeout` signal whole groups: the main process decides, and may still need a batch.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@cache
def end_workers_at_exit() -> None:
    """Have the workers that are left at the end of this process killed; call it before they start.

    Python ends them by SIGTERM, to which a quiet worker does not listen, and would wait for them for ever.
    """

    def kill() -> None:
        for child in multiprocessing.active_children():
            if child.daemon:
                child.kill()

    atexit.register(kill)
