"""wandb: on line where the user set it up, off line otherwise, always inside the run folder."""

import netrc
import os
from pathlib import Path
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import WandbLogger

from ibca_lightning.errors import InputError


def wandb_mode(asked: str) -> str:
    """Where wandb is to log: what was asked, and for `auto` what WANDB_MODE says, or on line if there is a key.

    Args:
        asked: `auto`, `online`, `offline` or `disabled`.

    Returns:
        `online`, `offline` or `disabled`.

    Raises:
        InputError: When WANDB_MODE is none of wandb's.
    """
    if asked == "auto":
        asked = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    # wandb's older names; Lightning leaves the first in the environment behind a run off line
    mode = {"dryrun": "offline", "run": "online"}.get(asked, asked)
    if mode not in ("online", "offline", "disabled"):
        raise InputError("WANDB_MODE as one of online, offline, disabled", mode, "correct it, or give --wandb")
    return mode


def wandb_logger(run_dir: str, mode: str, project: str, job_type: str) -> WandbLogger:
    """A logger that writes below `run_dir/wandb`.

    Args:
        run_dir: The run folder; its name is the run's name.
        mode: `online` or `offline`.
        project: Project on wandb.
        job_type: The subcommand.

    Returns:
        The logger.
    """
    logger = WandbLogger(
        name=Path(run_dir).name,
        project=project,
        save_dir=os.path.abspath(run_dir),  # wandb writes from a process of its own, whose current folder may differ
        job_type=job_type,
        mode=mode,
        offline=mode == "offline",
        settings=wandb.Settings(console="off", quiet=True, silent=mode != "online"),
    )
    logger._wandb_init.pop("anonymous", None)  # wandb warns of this setting, which Lightning always passes
    return logger


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
