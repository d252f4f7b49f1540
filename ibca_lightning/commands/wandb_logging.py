"""wandb: on line where the user set it up, off line otherwise, always inside the run folder."""

import netrc
import os
from pathlib import Path
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import WandbLogger


def wandb_logger(run_dir: str, mode: str, project: str, job_type: str) -> WandbLogger:
    """A logger that writes below `run_dir/wandb`.

    Args:
        run_dir: The run folder; its name is the run's name.
        mode: `online`, `offline`, or `auto`: as WANDB_MODE says, else on line if there is a key, else off line.
        project: Project on wandb.
        job_type: The subcommand.

    Returns:
        The logger.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    logger = WandbLogger(
        name=Path(run_dir).name,
        project=project,
        save_dir=run_dir,
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
