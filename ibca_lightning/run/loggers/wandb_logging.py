"""wandb: on line where the user set it up, off line otherwise, always inside the run folder."""

import logging
import netrc
import os
import uuid
from pathlib import Path
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_bytes
from ibca_lightning.system.whole_files import write_text

log = logging.getLogger(__name__)


def wandb_mode(asked: str) -> str:
    """Where wandb is to log: what was asked.

    For `auto` that is what WANDB_MODE says, or `wandb offline` and `wandb disabled` did, or on line if there is a key.

    Raises:
        InputError: When WANDB_MODE is none of wandb's.
    """
    if asked == "auto":
        asked = os.environ.get("WANDB_MODE") or _less_than_online() or ("online" if _has_key() else "offline")
    # wandb's older names; Lightning leaves the first in the environment behind a run off line
    mode = {"dryrun": "offline", "run": "online"}.get(asked, asked)
    if mode not in ("online", "offline", "disabled"):
        raise InputError("WANDB_MODE as one of online, offline, disabled", mode, "correct it, or give --wandb")
    return mode


def wandb_logger(
    run_dir: str, mode: str, project: str, job_type: str, goes_on: bool = False, hide: bool = False
) -> WandbLogger:  # fmt: skip
    """A logger of the mode `online` or `offline` that writes below `run_dir/wandb`; the folder's name is the run's.

    Where the run of this folder is taken up (`goes_on`), its wandb run is, too. Off line that begins a second folder of
    the same run, which `wandb sync` joins to the first. Under an agent of a sweep, or where WANDB_RUN_ID names a run,
    everything goes into that run, from whatever command; WANDB_PROJECT and WANDB_NAME go before what is given here.
    With `hide` it is told neither the command, nor the folder, nor the names of user and machine.

    Raises:
        InputError: When wandb cannot write there; it would choose a temporary folder by itself.
    """
    _make_folder(Path(run_dir) / "wandb")
    of_agent = os.environ.get("WANDB_RUN_ID")
    said = {key: value for key in ("project", "name") if (value := os.environ.get(f"WANDB_{key.upper()}"))}
    if said:
        log.info("wandb %s, as the environment says", ", ".join(f"{key} {value}" for key, value in said.items()))
    logger = WandbLogger(
        id=_run_id(run_dir, goes_on, of_agent) if job_type == "fit" else of_agent,
        resume="allow" if goes_on or of_agent else None,
        name=said.get("name", Path(run_dir).name),
        project=said.get("project", project),
        save_dir=os.path.abspath(run_dir),  # wandb writes from a process of its own, whose current folder may differ
        job_type=job_type,
        mode=mode,
        offline=mode == "offline",
        settings=wandb.Settings(
            console="off",
            quiet=True,
            silent=mode != "online",
            x_disable_meta=hide,
            x_disable_machine_info=hide,
            host="hidden" if hide else None,
        ),
    )
    logger._wandb_init.pop("anonymous", None)  # wandb warns of this setting, which Lightning always passes
    return logger


def remove_logs(folder: str) -> None:
    """Remove what wandb logs of itself, which names the run's folder, in a `wandb` folder of runs that have ended."""
    for own in Path(folder).rglob("debug*.log"):
        own.unlink(missing_ok=True)


@rank_zero_only
def _make_folder(path: Path) -> None:
    fix = "remove it, give another --run_dir, or --wandb disabled"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"a folder to write in at {path}", error.strerror, fix) from error
    if not os.access(path, os.W_OK):
        raise InputError(f"a folder to write in at {path}", "a read-only one", fix)


@rank_zero_only
def _run_id(run_dir: str, goes_on: bool, of_agent: str | None) -> str:
    """The id of a run's training on wandb, which is kept in `wandb/fit_id`; only the first process logs."""
    path = Path(run_dir) / "wandb" / "fit_id"
    if goes_on and path.is_file() and not of_agent:
        return read_bytes(path).decode(errors="replace").strip()
    run_id = of_agent or uuid.uuid4().hex[:8]
    write_text(path, run_id)
    return run_id


def _less_than_online() -> str | None:
    """What the user told wandb's own commands, or libraries that know WANDB_DISABLED; None for nothing of that kind."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on"):
        return "disabled"
    mode = _settings_files().get("mode")
    return mode if mode in ("offline", "dryrun", "disabled") else None


def _has_key() -> bool:
    """Whether there is a key for the server, in one of the places where wandb looks for it."""
    files = _settings_files()
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or files.get("api_key"):
        return True
    default = wandb.Settings().base_url
    server = os.environ.get("WANDB_BASE_URL") or files.get("base_url") or default
    machines = [urlparse(server).netloc] + (["api.wandb.ai"] if server == default else [])  # its name of before 0.31
    try:
        named = os.environ.get("NETRC")
        keys = netrc.netrc(os.path.expanduser(named) if named else None)
        return any(keys.authenticators(machine) for machine in machines)
    except (OSError, netrc.NetrcParseError):
        return False


def _settings_files() -> dict[str, str]:
    """What wandb's settings say: the user's, and above them those of the current folder."""
    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.join("~", ".config", "wandb")
    own = os.path.join(os.path.expanduser(folder), "settings")
    return wandb.Settings(settings_system=own).read_system_settings().all()
