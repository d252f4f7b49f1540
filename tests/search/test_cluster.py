"""The scripts of `experiments/cluster`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibca_lightning.model.checkpoint import read_checkpoint
from tests.command_line import REPOSITORY, done, experiment, of_two_processes, rows, written
from tests.search.test_tune import small

SCRIPTS = REPOSITORY / "experiments" / "cluster"


@pytest.mark.slow
def test_two_nodes_train_one_run(tree: Path, here: Path) -> None:
    config = written(here / "e.yaml", experiment(tree, batch_size=2))
    command = [SCRIPTS / "two_nodes.sh", "--config", config, "--save_every_n_steps", "2"]
    result = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=500,
        env=of_two_processes() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (run,) = (here / "runs/e").iterdir()  # chosen once, whatever second each node starts in
    # 15 rows: two processes of 2 have 3 steps an epoch, one of 2 would have 7.
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 3
    assert len([row for row in rows(run / "metrics.csv") if row["val/mAP"]]) == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("epoch 1/1")]) == 1
    assert sorted(path.name for path in here.iterdir()) == ["e.yaml", "runs"]


def test_slurm_starts_a_run_requeues_it_and_goes_on_with_it(tmp_path: Path) -> None:
    for name, code in (("srun", "${CODE:-143}"), ("scontrol", "0")):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/bash\necho {name} "$@" >> {tmp_path}/calls\nexit {code}\n')
        stub.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "RUN": str(tmp_path / "a run"), "SLURM_NNODES": "2",
        "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_ID": "7",
    }  # fmt: skip

    def submit(code: str) -> tuple[int, list[str]]:
        (tmp_path / "calls").unlink(missing_ok=True)
        command = ["bash", str(SCRIPTS / "slurm.sh"), "--config", "e.yaml"]
        result = subprocess.run(command, check=False, env=environment | {"CODE": code}, capture_output=True, text=True)
        return result.returncode, (tmp_path / "calls").read_text().splitlines()

    code, calls = submit("143")
    assert code == 143
    assert f"--config e.yaml --run_dir {tmp_path}/a run --save_every_n_steps 500 " in calls[0]
    assert "--trainer.num_nodes 2 --trainer.devices 4" in calls[0]
    assert calls[1:] == ["scontrol requeue 7"]
    last = tmp_path / "a run/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    code, calls = submit("0")
    assert (code, len(calls)) == (0, 1)
    assert f"ibca fit --config {tmp_path}/a run/config.yaml --ckpt_path {last} " in calls[0]
    assert "--run_dir" not in calls[0]
    assert submit("1")[1][1:] == [], "what failed is not begun again"


@pytest.mark.slow
def test_the_tasks_of_a_sweep_run_side_by_side_and_are_collected(here: Path, tmp_path: Path) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, line in (("srun", 'exec "$@"'), ("ibca", f'exec {sys.executable} -m ibca_lightning.cli "$@"')):
        (bin_dir / name).write_text(f"#!/bin/bash\n{line}\n")
        (bin_dir / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    sweep = ["--config", str(small(here)), "--heads", "gap", "csra", "--seeds", "0", "--output", "out",
             "--trainer.max_epochs", "1"]  # fmt: skip
    count = int(done("sweep", *sweep, "--count").out)
    assert count == 2
    tasks = [
        subprocess.Popen(
            ["bash", SCRIPTS / "sweep.sh", *sweep], env=environment | {"SLURM_ARRAY_TASK_ID": str(task)},
            stderr=subprocess.PIPE, text=True,
        )
        for task in [*range(count), 0]  # a task that was sent twice is no failure
    ]  # fmt: skip
    told = [task.communicate(timeout=500)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0] * 3, told
    assert not (here / "out/sweep.csv").exists()
    assert "2 of 2 were done before" in done("sweep", *sweep).err
    assert [row["name"] for row in rows(here / "out/sweep.csv")] == ["gap", "csra"]
