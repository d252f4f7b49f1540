"""How long each command takes until it answers, as a whole process."""

import statistics
import subprocess
import sys
import time

COMMANDS = (
    ["--help"],
    ["--version"],
    ["fit", "--help"],
    ["test", "--help"],
    ["predict", "--images", "x", "--help"],
)


def main(repeats: int = 3) -> None:
    """Print the median wall time of each command."""
    print(f"start-up, wall seconds, median of {repeats}")
    for arguments in COMMANDS:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "ibca_lightning.cli", *arguments], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        print(f"ibca {' '.join(arguments):<28}{statistics.median(times):>8.2f}")


if __name__ == "__main__":
    main()
