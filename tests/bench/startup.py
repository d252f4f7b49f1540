"""CPU time of each command until it answers, as a whole process; that of importing torch and timm beside it.

`python -m tests.bench.startup CKPT FOLDER` also predicts the pictures of a folder.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence

COMMANDS = (
    ["--help"],
    ["--version"],
    ["list"],
    ["fit", "--help"],
    ["predict", "--help"],
    ["fit", "--help", "model"],
)


def main(arguments: Sequence[str] = (), repeats: int = 3) -> None:
    """Print the median of user and system time together, which a busy machine changes less than the clock."""
    print(f"start-up, seconds of CPU, median of {repeats}")
    python = [sys.executable, "-m", "ibca_lightning.cli"]
    commands = {f"ibca {' '.join(each)}": [*python, *each] for each in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            given = ["--ckpt_path", arguments[0], "--images", arguments[1]]
            commands["ibca predict"] = [*python, "predict", *given, "--output"]
        commands["import torch, timm"] = [sys.executable, "-c", "import torch, timm"]
        for name, command in commands.items():
            times = [_seconds(command, f"{folder}/{at}") for at in range(repeats)]
            print(f"{name:<28}{statistics.median(times):>8.2f}")


def _seconds(command: list[str], output: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, output] if command[-1] == "--output" else command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(sys.argv[1:])
