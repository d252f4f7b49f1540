"""A worker process that only reads: one thread, and no ear for signals."""

import signal

import cv2


def quiet_worker(worker: int) -> None:
    """Run at the start of a worker process, whose number changes nothing."""
    cv2.setNumThreads(0)  # the workers already fill the cores
    # A terminal, SLURM and `timeout` signal whole groups: the main process decides, and may still need a batch.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
