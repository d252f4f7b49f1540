"""Every error of a command as one line on stderr and an exit code.

Nothing heavy is imported: errors of other libraries are told by their names and texts.
"""

import os
import re
from traceback import walk_tb

from ibca_lightning.system.errors import (
    DisagreementError,
    InputError,
    NonFiniteError,
    causes,
    input_error_behind,
    refusal,
)
from ibca_lightning.system.imports.users_code import last_words, users_line
from ibca_lightning.system.output import write_err

_NO_MEMORY = ("out of memory", "DefaultCPUAllocator: ", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
_LOST_WORKER = (
    "data workers that live as long as the run, got {} killed, as where memory runs out; lower "
    "--data.num_workers or --data.batch_size, and go on with --ckpt_path RUN/checkpoints/last.ckpt"
)


def exit_code(error: BaseException, debug: bool = False) -> int:
    """Say in one line what ended a command; with `debug`, raise an error again instead, for its traceback.

    Returns:
        The exit code of the contract: 2 wrong input, 130 or 143 stopped by a signal, 1 anything else; that of a
        SystemExit as it is.
    """
    if isinstance(error, InputError):
        return _failed(error, 2, debug)
    if isinstance(error, NonFiniteError | DisagreementError):
        return _failed(error, 1, debug)
    if isinstance(error, KeyboardInterrupt):
        return _stopped("Ctrl-C", 130)
    if isinstance(error, SystemExit):
        return _of_exit(error)
    if not isinstance(error, Exception):
        raise error
    return _unexpected(error, debug)


def _failed(error: object, code: int, debug: bool) -> int:
    if debug and isinstance(error, BaseException):
        raise error
    write_err(f"error: {' '.join(str(error).split())}\n")
    return code


def _stopped(by: object, code: int) -> int:
    """Say it once: the processes of a distributed run stop together."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return _failed(f"stopped by {by}", code, False) if all(rank == "0" for rank in ranks) else code


def _of_exit(stop: SystemExit) -> int:
    # Lightning answers Ctrl-C with SystemExit(1) and SIGTERM with a SystemExit of its own.
    if type(stop).__name__ == "SIGTERMException":
        return _stopped(stop.code or "SIGTERM", 143)
    if isinstance(stop.__context__, KeyboardInterrupt):
        return _stopped("Ctrl-C", 130)
    return stop.code if isinstance(stop.code, int) else 1 if stop.code else 0


def _unexpected(error: Exception, debug: bool) -> int:
    if (cause := input_error_behind(error)) is not None:  # jsonargparse wraps what a constructor raises
        return _failed(cause, 2, debug)
    if "InputError: " in str(error):  # raised in a worker process, and wrapped on the way
        return _failed(InputError(str(error)), 2, debug)
    if "killed by signal: Terminated" in str(error):  # SLURM and `timeout` end the workers together with their parent
        return _stopped("SIGTERM", 143)
    if type(error).__module__.startswith("wandb.") and type(error).__name__ == "UsageError":  # no key, above all
        wanted = InputError("wandb to be set up for --wandb online", str(error), "or give --wandb offline or disabled")
        return _failed(wanted, 2, debug)
    if (refused := refusal(error)) is not None:
        return _failed(refused, 2, debug)
    if "embedded null" in str(error):
        return _failed(InputError("paths of text", "one that holds a zero byte", "correct that option"), 2, debug)
    if (lost := _lost_worker(error)) is not None:
        return _failed(_LOST_WORKER.format(lost), 1, debug)
    if any(_of_memory(cause) for cause in causes(error)):
        return _failed(_too_large(error), 1, debug)
    code = 2 if type(error).__name__ == "MisconfigurationException" else 1
    if debug:
        raise error
    hint = "run again with --debug for the traceback"
    return _failed(f"{last_words(error)}{users_line(error)}; {hint}", code, debug)


def _lost_worker(error: Exception) -> str | None:
    """The data worker that a batch was waited for in vain, where that is what the error says."""
    if match := re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error)):
        return f"process {match[1]}"
    # Killed between the word that a batch is there and the batch itself, which is fetched from the worker by a socket.
    passed = {frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__)}
    if isinstance(error, ConnectionError | EOFError) and "torch.multiprocessing.reductions" in passed:
        return "one"
    return None


def _of_memory(error: BaseException) -> bool:
    """Whether torch, numpy or Python says that a device, or this machine, had no memory left."""
    told = isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)
    return told or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _too_large(error: Exception) -> InputError:
    first = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return InputError(
        "enough memory for a batch",
        first if len(first) <= 200 else first[:197] + "...",
        "lower --data.batch_size (--trainer.accumulate_grad_batches makes up for it in the step) or --data.image_size, "
        "or give --trainer.precision bf16-mixed; --batch_size where a command has it",
    )
