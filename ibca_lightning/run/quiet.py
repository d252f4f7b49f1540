"""What a run of Lightning says: what a user can act on, and no advertisements."""

import logging
import warnings
from pathlib import Path

from ibca_lightning.run import run_folder
from ibca_lightning.system.terminal.foreign_words import Stderr, warning_line

_NOISE = (
    ".*does not have many workers.*",
    ".*This DataLoader will create .* worker processes.*",  # twice, where there are fewer cores than our four
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches.*",
    ".*lr_scheduler.step.*before.*optimizer.step.*",  # the first step of a resumed or fp16 run
    ".*instantiate_classes.*",  # Lightning calls a name that jsonargparse 4.49 deprecates
    ".*callbacks used to create the checkpoint need.*",
    ".*LeafSpec.*",
    ".*Skipping learning rate update.*",  # nothing has been validated yet
    ".*Unable to serialize instance.*",  # `resolved_yaml` leaves it out
    ".*It is recommended to use .*sync_dist=True.*",  # every process holds the same gathered figures
    ".*module\\(s\\) in eval mode.*",  # a frozen backbone is meant to be
    ".*Using `DistributedSampler` with the dataloaders.*",  # what it pads a set with is dropped again, by index
    ".*Grad strides do not match bucket view strides.*",  # NHWC maps under DDP; it costs a copy of a small gradient
)
_ASKED = ("callbacks", "profilers", "tuner")  # profiles, a summary, what `verbose: true` says


def quieten() -> None:
    """Keep what a user can act on: our own log, real warnings, what they asked Lightning for; no advertisements."""
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
        shared = logging.getLogger(f"lightning.{part}.utilities.rank_zero")  # of every part of Lightning
        shared.setLevel(logging.INFO)
        shared.addFilter(_asked_for)
    for part in _ASKED:
        logging.getLogger(f"lightning.pytorch.{part}").setLevel(logging.INFO)
    logger = logging.getLogger("ibca_lightning")
    if not logger.handlers and run_folder.process_rank() == 0:
        logger.addHandler(Stderr())
        logger.setLevel(logging.INFO)
    for text in _NOISE:
        warnings.filterwarnings("ignore", text)
    warnings.formatwarning = warning_line  # Lightning, which is imported by now, has one of its own


def _asked_for(record: logging.LogRecord) -> bool:
    """Whether it is a warning, or comes from a part of Lightning that speaks only when it was asked to."""
    return record.levelno >= logging.WARNING or Path(record.pathname).parent.name in _ASKED
