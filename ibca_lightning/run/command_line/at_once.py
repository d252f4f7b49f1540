"""What is wrong with a command line as far as it can be told before torch is imported, which takes seconds."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ibca_lightning.run.command_line.config_files import check_config_files
from ibca_lightning.run.command_line.shipped import with_recipe_files
from ibca_lightning.run.command_line.unknown_names import refuse_unknown
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import given_values
from ibca_lightning.system.strangers import read_text
from ibca_lightning.system.whole_files import remove_parts

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # in Lightning's order


def restarts() -> bool:
    """Whether `torchrun --max-restarts` runs this command, which starts it again, as it is, when a process dies."""
    return os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") not in ("", "0")


def require_own_store() -> None:
    """Refuse a start by `torchrun --max-restarts` of several processes that would keep the addresses of dead ones.

    The agent of torchrun lends its key-value store to all starts. There, under the same keys, processes that are
    started again may read where those listened that are gone, and wait for them: half an hour, seen with torch 2.15.

    Raises:
        InputError: The store is lent.
    """
    lent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if restarts() and lent and os.environ.get("WORLD_SIZE", "1") != "1":
        variable = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
        fix = f"export {variable}=1 before torchrun: processes that are started again may wait for dead ones"
        raise InputError(f"{variable}=1 for torchrun --max-restarts", os.environ.get(variable), fix)


def gone_on(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a `fit` that is started again: with the `last.ckpt` of its `--run_dir`, where there is one."""
    run_dir = _run_dir(arguments)
    last = Path(run_dir, "checkpoints", "last.ckpt")
    goes_on = command == "fit" and restarts() and run_dir and last.is_file()
    return [*arguments, *(("--ckpt_path", str(last)) if goes_on else ())]


def refuse_at_once(command: str, arguments: Sequence[str]) -> None:
    """Refuse YAML files that are none, names that nobody knows, for `fit` a taken `--run_dir`, and what may hang.

    Raises:
        InputError: Where one is such.
    """
    given = with_recipe_files(list(arguments))
    check_config_files(given)
    refuse_unknown(given, command)
    if command == "fit":
        require_own_store()
    run_dir = _run_dir(given)
    # A child process of the same run meets the folder that its parent has just begun.
    first = next((os.environ[name] for name in _RANKS if name in os.environ), "0") == "0"
    if command == "fit" and run_dir and first and not _goes_on(given):
        refuse_taken(run_dir)


def refuse_taken(run_dir: str) -> None:
    """Refuse a folder that holds a run; what a start left there that `restarts` is cleared away."""
    path = Path(run_dir)
    taken = [name for name in ("config.yaml", "checkpoints", "metrics.csv") if (path / name).exists()]
    if taken and restarts():
        remove_parts(path / "checkpoints")  # of one that was being written: a name that ends in .ckpt, too
    if taken and restarts() and not any(path.glob("checkpoints/*.ckpt")):  # killed before its first checkpoint
        for name in taken:
            with suppress(OSError):
                (path / name).rmdir() if name == "checkpoints" else (path / name).unlink()
        taken = [name for name in taken if (path / name).exists()]
    if taken:
        last = next((f for name in ("last", "best") if (f := path / "checkpoints" / f"{name}.ckpt").exists()), None)
        fix = f"go on with --ckpt_path {last}" if last else "remove it: there is no checkpoint to go on from"
        raise InputError(
            f"--run_dir {run_dir} without a run", f"{', '.join(taken)} of an earlier one",
            f"give another --run_dir, or {fix}",
        )  # fmt: skip


def _goes_on(arguments: Sequence[str]) -> bool:
    """Whether a checkpoint may be named, behind an option or in a YAML: the parser knows then."""
    files = given_values(arguments, "--config", "-c")
    texts = [*arguments, *(read_text(file) for file in files)]
    return any("ckpt_path" in text for text in texts)


def _run_dir(arguments: Sequence[str]) -> str:
    """What is given last; blank where nothing is."""
    return ["", *given_values(arguments, "--run_dir")][-1]
