"""The GPUs and cores that runs side by side may use, found without torch, which their parent never imports."""

import os
import re
import subprocess
from itertools import takewhile
from typing import Any


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """What may stand in `CUDA_VISIBLE_DEVICES`, one index or UUID a GPU: what stands there already, or all there are.

    Of a GPU that is cut into MIG slices, the UUIDs of the slices.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:  # CUDA itself reads no further than a name that is none
        return list(takewhile(lambda name: name not in ("", "-1"), (name.strip() for name in given.split(","))))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = re.findall(r"UUID: ((?:GPU|MIG)-[^)\s]+)", listed)
    behind = [*names[1:], ""]
    return [n for n, after in zip(names, behind, strict=True) if not (n.startswith("GPU") and after.startswith("MIG"))]


def places(asked: int | None, devices: Any, accelerator: Any, cores: int) -> list[str | None]:
    """Where runs go on side by side: as many GPUs to each as its trainer asks for, no GPU to two where it can be.

    A recipe that asks for two devices gets two GPUs a run, and half as many runs at a time. One that names its GPUs
    (`[0, 1]`, `0,1`) or takes all (`-1`) sees all of them, and is alone unless `asked` says otherwise.

    Args:
        asked: How many at a time; None: as many as there are shares of GPUs, or else of cores.
        devices: `trainer.devices` of the recipe; None where it has none, which is one.
        accelerator: `trainer.accelerator` likewise.
        cores: That there are.

    Returns:
        For each run at a time its `CUDA_VISIBLE_DEVICES`; None leaves that as it is.
    """
    each = 1 if devices in (None, "auto") else int(devices) if re.fullmatch(r"[1-9]\d*", str(devices)) else None
    if each is None:
        return [None] * (asked or 1)
    gpus = visible_gpus() if accelerator in (None, "auto", "gpu", "cuda") else []
    shares = [",".join(gpus[at : at + each]) for at in range(0, len(gpus) - each + 1, each)]
    if not shares:  # no GPU, or too few, which Lightning will say
        return [None] * (asked or (1 if gpus else max(1, cores // each)))
    return [shares[at % len(shares)] for at in range(asked or len(shares))]
