"""Which of the processes that `torchrun` or `srun` started this one is: both say it in the environment."""

import os
from pathlib import Path
from typing import NamedTuple

from ibca_lightning.system.errors import InputError

# SLURM_NTASKS would be no sign: the batch script, which is one process, has it too. TORCHELASTIC_RESTART_COUNT is none
# of the call: it differs between nodes, of which only one lost a process.
_TOLD = (
    (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("TORCHELASTIC_RUN_ID", "MASTER_PORT")),
    (
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
    ),
)


class Place(NamedTuple):
    """The place of a process among those that do one piece of work.

    Attributes:
        rank: From 0.
        of: How many there are.
        local: The rank among those of this machine.
        call: The same for all of one start of the launcher, and another for the next one as far as it tells them apart.
    """

    rank: int = 0
    of: int = 1
    local: int = 0
    call: str = ""

    def share(self, number: int) -> slice:
        """Which of so many things this process does: as many as the others, but for one, and in a row.

        Examples:
            >>> from ibca_lightning.system.launched import Place
            >>> [Place(rank, 3).share(10) for rank in range(3)]
            [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
        """
        return slice(number * self.rank // self.of, number * (self.rank + 1) // self.of)


def place() -> Place:
    """The place of this process; where no launcher started it, it is the only one.

    Raises:
        InputError: The environment says what cannot be.
    """
    for names, of_call in _TOLD:
        rank, of, local = (os.environ.get(name, "") for name in names)
        if rank and of:
            if not (rank.isdecimal() and of.isdecimal() and int(rank) < int(of)):
                fix = "start the processes by torchrun or srun, or unset both"
                raise InputError(f"{names[0]} from 0 to below {names[1]} in the environment", f"{rank}, {of}", fix)
            call = [os.environ.get(name, "") for name in of_call]
            if os.environ.get("GROUP_WORLD_SIZE") == "1":
                # A restart has the same id, and a start without one may have "none"; this folder is new for each.
                call.append(str(Path(os.environ.get("TORCHELASTIC_ERROR_FILE", "")).parent.parent))
            return Place(int(rank), int(of), int(local) if local.isdecimal() else 0, " ".join(call).strip())
    return Place()
